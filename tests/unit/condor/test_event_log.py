"""Events are read as HTCondor's own reader reads them, once each, however the file grows; nothing unbounded."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.condor import event_log, passages
from roost.condor.event_log import Follower
from roost.host.files import UnfitFileError

LOG = """\
000 (012.000.000) 2026-11-26 17:47:13 Job submitted from host: <127.0.0.1:9618?addrs=127.0.0.1-9618>
...
001 (012.000.000) 2026-11-26 17:47:14 Job executing on host: <127.0.0.1:9618>
\tSlotName: slot1_1@pool
...
012 (012.001.000) 2026-11-26 17:47:20 Job was held.
\tTransfer input files failure at access point pool while sending files to the execution point. \
Details: reading from file /home/u/extra: (errno 2) No such file or directory
\tCode 13 Subcode 2
...
009 (012.002.000) 2026-11-26 17:48:00 Job was aborted.
\tThe job attribute PeriodicRemove expression 'JobStatus == 2' evaluated to TRUE
...
005 (012.000.000) 2026-11-26 17:49:14 Job terminated.
\t(1) Normal termination (return value 0)
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Local Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Total Remote Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Total Local Usage
\t0  -  Run Bytes Sent By Job
\t0  -  Run Bytes Received By Job
\t0  -  Total Bytes Sent By Job
\t0  -  Total Bytes Received By Job
...
"""


def test_events_are_those_of_htcondors_own_reader(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    path.write_text(LOG)
    with _quiet():
        import htcondor
    theirs = [(int(one.type), f"{one.cluster}.{one.proc}") for one in htcondor.JobEventLog(str(path)).events(0)]
    ours = [(int(one.number), one.job) for one in Follower(path).events()]
    assert ours == theirs
    assert len(ours) == 5


def _quiet() -> warnings.catch_warnings[None]:
    return warnings.catch_warnings(action="ignore")


def test_reasons(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    path.write_text(LOG)
    by_number = {event.number: event for event in Follower(path).events()}
    held, aborted = by_number[passages.HELD], by_number[passages.ABORTED]
    assert held.reason.endswith("/home/u/extra: (errno 2) No such file or directory")
    assert aborted.reason == "The job attribute PeriodicRemove expression 'JobStatus == 2' evaluated to TRUE"
    assert held.when is not None and held.when.isoformat() == "2026-11-26T17:47:20"


@given(st.lists(st.integers(1, 200), max_size=12))
def test_each_event_is_read_once_however_the_file_grows(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "log"
        follower, data, seen = Follower(path), LOG.encode(), []
        for size in [*sizes, len(data)]:
            with path.open("ab") as file:
                file.write(data[:size])
            data = data[size:]
            seen += [event.number for event in follower.events()]
        assert seen == ["000", "001", "012", "009", "005"]
        assert list(follower.events()) == []


@given(st.binary(max_size=2000))
def test_any_bytes_are_read(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "log"
        path.write_bytes(data + b"\n...\n" + LOG.encode())
        events = list(Follower(path).events())
        assert [event.number for event in events][-5:] == ["000", "001", "012", "009", "005"]
        assert all(event.reason.isprintable() for event in events)


def test_what_never_ends_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "log"
    follower = Follower(path)
    for _ in range(3):
        with path.open("ab") as file:
            file.write(b"000 (001.000.000) " + b"x" * (1 << 20))
        assert list(follower.events()) == []
    assert len(follower._left) <= event_log.EVENT


def test_no_file_yet_and_no_file_at_all(tmp_path: Path) -> None:
    assert list(Follower(tmp_path / "log").events()) == []
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UnfitFileError):
        list(Follower(tmp_path / "fifo").events())


def test_a_log_begun_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(LOG)
    follower = Follower(path)
    assert len(list(follower.events())) == 5
    path.write_text(LOG[: LOG.index("...") + 4])
    assert [event.number for event in follower.events()] == ["000"]


@pytest.mark.parametrize(
    "head",
    ["11/26 17:47:13", "11/26/26 17:47:13", "2026-11-26T17:47:13.123Z", "2026-11-26 17:47:13.5"],
)
def test_every_form_of_time(head: str) -> None:
    event = event_log.parse(f"005 (012.003.000) {head} Job terminated.\n")
    assert event is not None and event.job == "12.3"
    assert event.when is not None and (event.when.month, event.when.day, event.when.hour) == (11, 26, 17)
