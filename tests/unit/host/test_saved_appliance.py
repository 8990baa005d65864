"""Which openings restore a saved appliance, and that each fault of one ends in a boot."""

from __future__ import annotations

import os
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from roost.errors import ToolError
from roost.host import appliance, guestfs, guestfs_qemu, saved_appliance, saved_machines

QUICK, RESTORED = "quick", "restored"
MiB = 1 << 20


class Host:
    """A host whose appliance boots, and whose saved machine does as `fault` says."""

    def __init__(self, folder: Path, fault: str) -> None:
        self.quick, self.fault, self.up, self.saves = folder / "quick", fault, list[str](), 0
        self.quick.mkdir()
        self.log = folder / "log"

    @contextmanager
    def started(
        self, _fixed: Path | None, _accelerator: str, _log: Path, _ends: float, qemu: Path | None = None
    ) -> Iterator[Worker]:
        """Stand in for `guestfs_process.started`."""
        # Two threads may open disks at once.
        own = Path(tempfile.mkdtemp(prefix="own-", dir=self.quick.parent))
        yield Worker(self, own, qemu)

    def save(self, _quick: Path, _request: dict[str, Any], place: Path, _how: object) -> None:
        """Stand in for the boot that is saved."""
        self.saves += 1
        if self.fault == "busy":
            raise saved_machines.BusyError
        if self.fault == "full":
            raise OSError(28, "No space left on device")
        place.mkdir(parents=True)
        (place / guestfs_qemu.RECORD).touch()

    @property
    def marks(self) -> list[Path]:
        """What says that nothing is to be saved for a while."""
        return list((self.quick / saved_machines.DIRECTORY).glob("*.unusable"))


class Worker:
    """A worker that opens disks, restored or booted."""

    def __init__(self, host: Host, directory: Path, qemu: Path | None) -> None:
        self.host, self.directory, self.qemu = host, directory, qemu
        self.disks: list[dict[str, Any]] = []

    def ask(self, request: dict[str, Any], within: float | None = None) -> Any:
        """Open, or tell the sectors of the disks."""
        fault = self.host.fault
        if request.get("call") == "debug":
            assert within is not None
            assert within <= saved_appliance.RESTORE
            sectors = [Path(disk["path"]).stat().st_size // 512 for disk in self.disks]
            if fault == "size":
                sectors[-1] = 2048
            lines = [f"sd{letter} {size}" for letter, size in zip("abcdefgh", [*sectors, 2 * MiB], strict=False)]
            return "date: garbage" if fault == "garbage" else "\n".join(lines)
        self.disks = request["disks"]
        if self.qemu is not None:
            if fault == "hang":
                raise ToolError("libguestfs did not answer in time", argv=["libguestfs"], returncode=None)
            if fault in {"refused", "image"}:
                raise guestfs.GuestfsError("libguestfs: guestfs_launch failed")
            if fault != "not restored":
                (self.directory / guestfs_qemu.RESTORED).touch()
        elif fault == "image":
            raise guestfs.GuestfsError("libguestfs: guestfs_launch failed")
        self.host.up.append(QUICK if self.qemu is None else RESTORED)
        return None


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return a raw disk."""
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.truncate(3 * MiB)
    return path


def opened(host: Host, images: list[Path], monkeypatch: pytest.MonkeyPatch, **options: Any) -> str:
    """Open disks on this host; return what was up in the end."""
    monkeypatch.setattr(guestfs, "started", host.started)
    monkeypatch.setattr(saved_appliance, "started", host.started)
    monkeypatch.setattr(saved_appliance, "_save", host.save)
    monkeypatch.setattr(saved_appliance, "_QEMU", Path("/bin/sh"))
    monkeypatch.setattr(appliance, "path", lambda _log: host.quick)
    disks = [(image, "raw") for image in images]
    with guestfs.open_readonly(disks, **{"accelerator": "tcg", "log": host.log, **options}):
        return host.up[-1]


def test_it_is_saved_once_for_a_number_of_disks(tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, "")
    for images in ([image], [image], [image, image], [image], [image, image]):
        assert opened(host, images, monkeypatch) == RESTORED
    assert host.saves == 2
    assert not host.marks


@pytest.mark.parametrize("fault", ["full", "hang", "refused", "not restored", "size", "garbage"])
def test_whatever_fails_the_appliance_boots_and_an_hour_nothing_is_saved(
    fault: str, tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path, fault)
    assert opened(host, [image], monkeypatch) == QUICK
    assert "the saved appliance is not used" in host.log.read_text()
    (mark,) = host.marks
    assert not mark.with_suffix("").exists()
    assert opened(host, [image], monkeypatch) == QUICK
    assert host.saves == 1
    host.fault = ""
    before = time.time() - appliance.GIVEN_UP - 1
    os.utime(mark, (before, before))
    assert opened(host, [image], monkeypatch) == RESTORED
    assert host.saves == 2


def test_one_that_this_process_saves_is_waited_for(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, begun, save = Host(tmp_path, ""), threading.Event(), Host.save

    def slowly(*words: Any) -> None:
        begun.set()
        time.sleep(0.2)
        save(host, *words)

    monkeypatch.setattr(host, "save", slowly)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(opened, host, [image], monkeypatch)
        assert begun.wait(10)
        assert opened(host, [image], monkeypatch) == first.result() == RESTORED
    assert host.saves == 1


def test_it_is_prepared_for_a_number_of_disks_without_any(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path, "")
    monkeypatch.setattr(appliance, "path", lambda _log: host.quick)
    monkeypatch.setattr(saved_appliance, "_save", host.save)
    monkeypatch.setattr(saved_appliance, "_QEMU", Path("/bin/sh"))
    for accelerator in ("kvm", "tcg", "tcg"):
        guestfs.prepare(2, accelerator=accelerator, log=host.log)
    assert (host.saves, host.up) == (1, [])
    assert opened(host, [image, image], monkeypatch) == RESTORED
    assert host.saves == 1


def test_another_that_saves_is_not_waited_for(tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, "busy")
    assert opened(host, [image], monkeypatch) == QUICK
    assert not host.marks
    assert not host.log.exists()


def test_disks_that_nothing_opens_say_nothing_of_the_machine(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path, "")
    assert opened(host, [image], monkeypatch) == RESTORED
    host.fault = "image"
    monkeypatch.setattr(guestfs, "_launch_stock", lambda worker, request, _log: worker.ask(request))
    with pytest.raises(guestfs.GuestfsError):
        opened(host, [image], monkeypatch)
    assert not host.marks
    host.fault = ""
    assert opened(host, [image], monkeypatch) == RESTORED
    assert host.saves == 1


def test_an_opening_with_little_time_saves_nothing(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path, "")
    assert opened(host, [image], monkeypatch, deadline=saved_appliance.LEISURE - 1) == QUICK
    assert (host.saves, host.marks) == (0, [])


def test_under_kvm_and_for_empty_and_too_many_disks_the_appliance_boots(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path, "")
    empty = tmp_path / "empty.raw"
    empty.touch()
    assert opened(host, [image], monkeypatch, accelerator="kvm") == QUICK
    assert opened(host, [image, empty], monkeypatch) == QUICK
    assert opened(host, [image] * (saved_appliance.MOST + 1), monkeypatch) == QUICK
    assert host.saves == 0


@pytest.mark.parametrize(
    "change",
    [
        {"clock": 0},
        {"network": True},
        {"disks": [{"path": "/x", "format": "raw", "readonly": False}]},
        {"disks": [{"path": "/x", "format": "raw", "readonly": True}, {"path": "/y", "format": "raw"}]},
    ],
)
def test_what_is_written_to_is_never_restored(change: dict[str, Any], tmp_path: Path) -> None:
    request = {"disks": [{"path": "/x", "format": "raw", "readonly": True}], "memory": 512, "clock": None}
    assert saved_appliance._place(tmp_path, request, "tcg") is not None or not saved_appliance._QEMU.exists()
    changed = {**request, **change}
    for disk in changed["disks"]:
        disk.setdefault("readonly", False)
    assert saved_appliance._place(tmp_path, changed, "tcg") is None


def test_another_qemu_is_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = {"disks": [{"path": "/x", "format": "raw", "readonly": True}], "memory": 512, "clock": None}
    qemu = tmp_path / "qemu"
    monkeypatch.setattr(saved_appliance, "_QEMU", qemu)
    assert saved_appliance._place(tmp_path, request, "tcg") is None
    qemu.write_text("one")
    os.utime(qemu, (1, 1))
    first = saved_appliance._place(tmp_path, request, "tcg")
    assert first == saved_appliance._place(tmp_path, request, "tcg")
    qemu.write_text("two")
    os.utime(qemu, (2, 2))
    assert first != saved_appliance._place(tmp_path, request, "tcg") is not None
    assert saved_appliance._place(tmp_path, {**request, "memory": 768}, "tcg") not in {first, None}


def test_sizes_are_those_that_a_guest_sees(tmp_path: Path) -> None:
    raw, image, other = tmp_path / "odd.raw", tmp_path / "image.qcow2", tmp_path / "other"
    raw.write_bytes(bytes(1000))
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 16, 5 * MiB, 0, 1, 0, 0, 0, 0, 0)
    image.write_bytes(header.ljust(104, b"\0"))
    other.write_bytes(bytes(512))
    disks = [{"path": str(raw), "format": "raw"}, {"path": str(image), "format": "qcow2"}]
    assert saved_appliance._sizes(disks) == [2, 5 * MiB // 512]
    for bad in (
        {"path": str(other), "format": "vmdk"},
        {"path": str(raw), "format": "qcow2"},
        {"path": str(tmp_path / "absent"), "format": "raw"},
    ):
        assert saved_appliance._sizes([*disks, bad]) is None
