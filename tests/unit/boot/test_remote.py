"""A login by ssh: the script in the guest, what is heard of it, and the client's call."""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.boot import plant, remote
from roost.boot.console import Console
from roost.boot.remote import Guest, Heard, Login
from roost.boot.session import Session
from roost.errors import ImageError, UsageError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "aB3/+" * 8 + "xyz"
OTHER = KEY.replace("xyz", "zzz")


def script(key: str = "ssh-ed25519 AAAA") -> str:
    return remote.planted(Guest(key, "roost-ssh-1", "52:54:00:AB:CD:EF", 2.0), hint="add it").text


def test_it_is_a_script_whatever_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "init").write_text(script("x'; touch owned; '"))
    subprocess.run(["sh", "-n", "init"], cwd=tmp_path, check=True, timeout=20)
    if shellcheck := shutil.which("shellcheck"):
        subprocess.run([shellcheck, "-s", "sh", "-S", "warning", "init"], cwd=tmp_path, check=True, timeout=60)


def test_it_goes_on_with_the_systems_own_start_and_knows_its_card() -> None:
    text = script()
    assert text.splitlines()[-1] == f'exec {plant.KEPT} "$@"'
    assert "= 52:54:00:ab:cd:ef ]" in text, "sysfs has lower-case letters"
    assert f'"$seconds" -lt {round(remote.SETTLED * 2)} ]' in text


def test_what_the_machine_says_is_heard_in_pieces_and_amid_other_words() -> None:
    heard = Heard("roost-ssh-1")
    for piece in (b"[    1.0] x\r\nroost-ssh-1 ssh-", b"ed25519 oops\r\n", f"roost-ssh-1 {KEY}".encode()):
        heard.feed(piece)
        assert heard.key is None, "no line that has ended"
    heard.feed(b"\r\n")
    assert heard.key == KEY
    heard.feed(f"roost-ssh-1 {OTHER}\r\n".encode())
    assert heard.key == KEY, "the first is the one"


@pytest.mark.parametrize(
    "said",
    [
        f"roost-ssh-2 {KEY}",
        f"roost-ssh-1 {KEY} evil",
        f"roost-ssh-1 x {KEY}",
        f"roost-ssh-1 {KEY.replace('ssh-ed25519', 'ssh-rsa')}",
        f"roost-ssh-1 {KEY[:60]}[    9.1] usb 1-1: new{KEY[60:]}",
    ],
)
def test_no_other_line_is_a_host_key(said: str) -> None:
    heard = Heard("roost-ssh-1")
    heard.feed(said.encode() + b"\r\n")
    assert heard.key is None


@given(st.lists(st.binary(max_size=6000), max_size=8))
def test_a_console_that_says_anything_is_never_a_key_and_takes_no_room(data: list[bytes]) -> None:
    heard = Heard("roost-ssh-1")
    for piece in data:
        heard.feed(piece)
    assert heard.key is None and len(heard._recent) <= remote._RECENT


def test_why_it_failed_is_safe_to_show() -> None:
    heard = Heard("roost-ssh-1")
    heard.feed(b"roost-ssh-1 failed: no \x1b[31mcard\x07\r\n")
    assert heard.failed is not None and heard.failed.isprintable() and "card" in heard.failed


def _session(*, console: bytes = b"", off: bool = False, starved: float = 0.0) -> Session:
    serial = Console()
    serial.feed(console, 1.0)
    times = iter(range(1000))

    class Stub(SimpleNamespace):
        @property
        def now(self) -> float:
            return float(next(times))

        async def wait(self, seconds: float) -> None: ...

    return cast("Session", cast(Any, Stub(serial=serial, over=off, starved=starved)))


@pytest.mark.parametrize(
    ("console", "failed", "off", "said"),
    [
        (b"Kernel panic - not syncing: VFS\r\n", None, False, "it is not up"),
        (b"", "the image has no driver for the network card (virtio_net)", False, "virtio_net"),
        (b"", None, True, "powered off"),
        (b"", None, False, "it is not up"),
    ],
)
def test_a_machine_without_a_login_is_reported_with_its_console(
    console: bytes, failed: str | None, off: bool, said: str
) -> None:
    heard = Heard("m")
    heard.failed = failed
    with pytest.raises(ImageError, match="no login by ssh after") as caught:
        asyncio.run(remote.ready(_session(console=console, off=off), heard, 1.0))
    assert said in str(caught.value)
    assert console.decode().strip() in str(caught.value)


@pytest.mark.parametrize(("starved", "seconds"), [(0.0, 120), (60.0, 180)])
def test_seconds_without_a_core_do_not_count_while_a_login_is_awaited(starved: float, seconds: int) -> None:
    with pytest.raises(ImageError) as caught:
        asyncio.run(remote.ready(_session(starved=starved), Heard("m"), 1.0))
    (said,) = re.findall(r"no login by ssh after (\d+) s", str(caught.value))
    # The stub's clock goes on by a second whenever it is read.
    assert seconds <= int(said) <= seconds + 2


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=2, max_size=4))
def test_several_words_reach_the_guests_shell_as_these_words(words: list[str]) -> None:
    assert shlex.split(remote.line(words)) == words


def test_one_word_is_a_line_for_the_guests_shell() -> None:
    assert remote.client(40000, Login("root", ("ls | wc -l",)), terminal=False)[-2:] == ["--", "ls | wc -l"]
    assert remote.client(40000, Login(), terminal=True)[-1] == "127.0.0.1"


def test_the_client_reads_nothing_of_the_users_and_trusts_one_host_key() -> None:
    argv = remote.client(40000, Login("job", ("-x",)), terminal=False)
    done = subprocess.run([argv[0], "-G", *argv[1:]], capture_output=True, text=True, check=True, timeout=20)
    seen = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert seen["user"] == "job" and seen["port"] == "40000" and seen["hostname"] == "127.0.0.1"
    assert seen["stricthostkeychecking"] == "true" and seen["userknownhostsfile"] == remote.KNOWN
    assert seen["identityfile"] == remote.KEY and seen["identitiesonly"] == "yes" and seen["batchmode"] == "yes"
    assert seen["hostkeyalgorithms"] == "ssh-ed25519"
    assert remote.known(40000, KEY) == f"[127.0.0.1]:40000 {KEY}\n"


@pytest.mark.parametrize("user", ["", "-oProxyCommand=x", "a b", "A", "x" * 40, "root\n"])
def test_who_is_not_an_account_is_a_wrong_call(user: str) -> None:
    with pytest.raises(UsageError, match="not the name of an account"):
        Login(user)
