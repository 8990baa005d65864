"""What QEMU's monitor says, as its versions say it."""

from __future__ import annotations

import pytest

from roost.boot.monitor import parse_forwarded

#: QEMU 7.2's words.
USERNET = (
    "Hub -1 (net0):\r\n"
    "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
    "  TCP[ESTABLISHED]   27       127.0.0.1  1234       10.0.2.15  5678     0     0\r\n"
    "  TCP[HOST_FORWARD]  14       127.0.0.1 41733       10.0.2.15 22022     0     0\r\n"
)


def test_the_port_of_loopback_that_leads_into_the_guest() -> None:
    assert parse_forwarded(USERNET) == 41733


@pytest.mark.parametrize("text", ["", "Hub -1 (net0):\r\n", USERNET.replace("127.0.0.1 4", "0.0.0.0 4")])
def test_no_port_is_none(text: str) -> None:
    assert parse_forwarded(text) is None
