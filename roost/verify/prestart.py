"""The appliance of the read-back, started while the disks that it will read are still being written.

Booting it takes longer than reading. The sizes of the disks are known from the last build, and are usually the same
after a change to one file: so empty files of those sizes are opened, and the writer fills these files. A disk of
another size is a different file, and the read-back then opens the finished ones as usual.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from roost.errors import RoostError
from roost.host import guestfs
from roost.host.accelerator import ApplianceAccelerator
from roost.host.guestfs import Guest

#: Seconds for starting the appliance and for the parallel part of the build.
DEADLINE = 900.0


@dataclass(slots=True)
class Prestarted:
    """A starting appliance: `files` are the empty files, by the disk's name."""

    files: Mapping[str, Path]
    _identities: Mapping[str, tuple[int, int, int]]
    _started: Future[Guest] = field(default_factory=Future)
    _over: Event = field(default_factory=Event)

    def take(self, written: Mapping[str, Path]) -> Guest | None:
        """Return the open disks, in the order of `files`, if these are the files that were written; else None."""
        if {name: _identity(path) for name, path in written.items()} != dict(self._identities):
            self.release()
            return None
        complete = time.monotonic()
        try:
            guest = self._started.result()
            guest.reread(complete)
        except RoostError:
            # Any failure will be reported by the appliance started instead.
            self.release()
            return None
        return guest

    def release(self) -> None:
        """Let the appliance end."""
        self._over.set()

    def run(self, images: list[tuple[Path, str]], accelerator: ApplianceAccelerator, log: Path) -> None:
        """Start the appliance, and keep it until it is released."""
        try:
            with guestfs.open_readonly(images, accelerator=accelerator.kind, log=log, deadline=DEADLINE) as guest:
                self._started.set_result(guest)
                self._over.wait()
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)


def _identity(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size


@contextmanager
def start(
    sizes: Mapping[str, int], directory: Path, accelerator: ApplianceAccelerator, log: Path
) -> Iterator[Prestarted]:
    """Yield an appliance on empty files in `directory` of these sizes, in bytes by the disk's name; gone afterwards."""
    files = {name: directory / f".{name}.raw.prestart" for name in sizes}
    try:
        for name, path in files.items():
            with path.open("xb") as file:
                file.truncate(sizes[name])
        with opening({name: (path, "raw") for name, path in files.items()}, accelerator, log) as prestarted:
            yield prestarted
    finally:
        for path in files.values():
            path.unlink(missing_ok=True)


@contextmanager
def opening(
    images: Mapping[str, tuple[Path, str]], accelerator: ApplianceAccelerator, log: Path
) -> Iterator[Prestarted]:
    """Yield an appliance on these disks, (path, format) by name, some of which are yet to be written; gone afterwards.

    They are read only once they have been taken.
    """
    files = {name: path for name, (path, _) in images.items()}
    prestarted = Prestarted(files, {name: _identity(path) for name, path in files.items()})
    thread = Thread(target=prestarted.run, args=(list(images.values()), accelerator, log), name="prestart", daemon=True)
    thread.start()
    try:
        yield prestarted
    finally:
        prestarted.release()
        thread.join()
