"""The pools' LIBVIRT_XML_SCRIPT: guests boot in turn, one for each place; those of a late pool let others go first."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "pool/files/usr/local/libexec/domain-xml"
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return what starts the script for a guest, as condor_vm-gahp does, where there is one place."""
    (tmp_path / "places").mkdir()
    (tmp_path / "places/0").touch()
    for late, name in ((False, "domain-xml"), (True, "late-xml")):
        text = SCRIPT.read_text().replace("/usr/libexec/condor/libvirt_simple_script.awk", "cat")
        text = text.replace("/var/log/domains", str(tmp_path / "domains")).replace("/run/places", f"{tmp_path}/places")
        text = text.replace("[ -e /run/late ]", str(late).lower()).replace('"$(id -u)" -eq 0', "1 -eq 1")
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    begun: list[subprocess.Popen[str]] = []

    def begin(guest: str, *, memory: int = 256, late: bool = False) -> subprocess.Popen[str]:
        script = tmp_path / ("late-xml" if late else "domain-xml")
        one = subprocess.Popen(
            [script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        begun.append(one)
        assert one.stdin is not None
        one.stdin.write(f'VMPARAM_VM_NAME = "{guest}"\nJobVMMemory = {memory}\n')
        one.stdin.close()
        return one

    yield begin
    for one in begun:
        (tmp_path / "domains").mkdir(exist_ok=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)
        one.wait()
    for guest in "abcdef":
        (tmp_path / f"domains/{guest}.console").write_text("roost: job started\n")


def _domain(one: subprocess.Popen[str]) -> str:
    """Return what the script says until the end of its output, which condor_vm-gahp waits for."""
    assert one.stdout is not None
    return one.stdout.read()


def test_a_guest_boots_when_the_one_before_has_booted(start: Start, tmp_path: Path) -> None:
    assert "VMPARAM_VM_NAME" in _domain(start("a"))
    second = start("b")
    time.sleep(1)
    assert second.poll() is None
    (tmp_path / "domains/a.console").write_text("Linux\nroost: job started\n")
    assert "VMPARAM_VM_NAME" in _domain(second)


def test_small_guests_do_not_wait(start: Start) -> None:
    _domain(start("a"))
    assert "VMPARAM_VM_NAME" in _domain(start("b", memory=64))


def test_of_late_pools_one_guest_at_a_time_is_in_the_queue(start: Start, tmp_path: Path) -> None:
    _domain(start("a"))
    late = [start("b", late=True), start("c", late=True)]
    time.sleep(2)
    other = start("d")
    time.sleep(1)
    # Whichever of the two came first: it goes before the other pool's guest, and the second one after that.
    for guest in "abc":
        (tmp_path / f"domains/{guest}.console").write_text("roost: job started\n")
    assert "VMPARAM_VM_NAME" in _domain(other)
    assert sorted(one.poll() is None for one in late) == [False, True]
