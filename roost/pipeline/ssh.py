"""The steps of `inv ssh`: a login by ssh into a throw-away machine of a built image, whose own system starts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from roost.boot import accelerator as accelerators
from roost.boot import kvm, overlays, plant, qemu, remote
from roost.boot import start as starting
from roost.boot.backends import Channels, direct_kernel
from roost.boot.remote import Guest, Heard, Login
from roost.boot.session import Session
from roost.boot.start import Listening
from roost.condor.hardware import hardware
from roost.errors import ImageError
from roost.events import Events, Stages
from roost.host import files, paths, process
from roost.pipeline import boot as booting
from roost.pipeline import shell
from roost.pipeline.boot import Options
from roost.pipeline.context import accelerator
from roost.recipe import loader
from roost.store import lease, staging
from roost.store.scratch import scratch_directory

#: Bytes kept of each of a command's two output streams for --json, and of memory for the client then.
OUTPUT, MEMORY = 4 << 20, 1 << 30
#: Seconds for the client to exit by itself after the machine has ended, and (scaled) for the machine to power off after
#: a shell's connection was closed.
GRACE, OFF = 2.0, 10.0
_PACKAGE = "openssh-client"
#: Files of the command's output.
_STREAMS = ("stdout.txt", "stderr.txt")
#: How to add a server to an image: the key for a suite, then what works for a tree or an existing image.
LACKING = (
    "add `os: {debian: {packages: [openssh-server]}}` and build again; to an existing tree or image, "
    'add `run: [{command: "apt-get install -y openssh-server", network: true}]`'
)
#: The exit status of ssh(1) for a failed connection.
LOST = 255


@dataclass(frozen=True, slots=True)
class Ended:
    """How a login ended: the command's exit status (255: the connection's), the host key, the seconds of each phase.

    `stdout` and `stderr` are the command's, if requested.
    """

    name: str
    exit_code: int
    host_key: str
    seconds: dict[str, float]
    stdout: str | None = None
    stderr: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of `inv ssh NAME --json -- COMMAND`."""
        return asdict(self)


def ssh(name: str, login: Login, *, events: Events, options: Options, captured: bool = False) -> Ended:
    """Log in to a throw-away machine of a built image, or run a command there; the image does not change.

    With `captured` the command's output is returned, else it goes to this process's own. Raises `UsageError` for an
    image that is not built, `ImageError` for one without a server or whose system does not come up, `HostError` if this
    host has no client.
    """
    for tool in ("ssh", "ssh-keygen"):
        process.require(tool, _PACKAGE)
    loaded = replace(loader.load(name, paths.project_root()), called=name)
    record, vm = booting.bootable(loaded, "kvm", events)
    closed = vm.network == "none"
    vm = replace(vm, network="user", mac=vm.mac or remote.MAC)
    stages = Stages(events)
    with (
        staging.lock(loaded.build, lambda: events.note(staging.in_use(loaded.build))),
        lease.held(),
        scratch_directory() as scratch,
    ):
        chosen = accelerators.choose(options.accel, require_kvm=options.require_kvm, events=events)
        shape = hardware(vm, options.how.machine)
        places = overlays.make(shape, loaded.build, scratch)
        heard = Heard(f"roost-ssh-{secrets.token_hex(8)}")
        with stages.stage("prepare", "a layer that is thrown away, and a key for this login"):
            guest = Guest(_key(scratch), heard.mark, vm.mac or remote.MAC, chosen.factor)
            what = remote.planted(guest, hint=LACKING)
            log = scratch / "log" / "plant.log"
            plant.plant(shape, places, what, accelerator=accelerator().kind, log=log, root=shell.root(record))
        program, direct = qemu.program(), direct_kernel(loaded.build, shape)

        def argv(channels: Channels) -> Sequence[str]:
            words = kvm.qemu_argv(shape, chosen, program, places, channels, direct)
            return kvm.reached(words, remote.PORT, closed=closed)

        async def live() -> tuple[int, str]:
            listening = Listening(scratch / "log/serial.log", scratch / "log/qemu.log", scratch, echo=heard.feed)
            async with starting.start(argv, listening) as session:
                with stages.stage("boot", "until a login is possible"):
                    await session.resume()
                    key = await remote.ready(session, heard, chosen.factor)
                    port = await session.forwarded()
                if port is None:
                    raise ImageError("QEMU does not say which port leads into the guest")
                (scratch / remote.KNOWN).write_text(remote.known(port, key))
                if not login.command and sys.stdin.isatty():
                    _note_copying(events, scratch, port, login)
                start = time.monotonic()
                status = await _logged_in(session, port, login, scratch, captured=captured)
                stages.seconds["login"] = round(time.monotonic() - start, 3)
                if status == LOST and not login.command:
                    # `poweroff` closes the connection before the machine is off.
                    await _off(session, OFF * chosen.factor)
                if session.over:
                    events.note("the machine powered off")
                    # A shell that ends with the machine has ended as requested.
                    status = status if login.command else 0
                await session.quit()
                return status, key

        status, key = asyncio.run(live())
        out, err = (_read_output(scratch / name) if captured else None for name in _STREAMS)
        return Ended(name, status, key, dict(stages.seconds), out, err)


def _key(scratch: Path) -> str:
    """Make the key of this login; return its public half."""
    path = scratch / remote.KEY
    process.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], deadline=60, log=scratch / "log/key.log"
    )
    return files.read_text(path.with_suffix(".pub"), 4096).strip()


def _note_copying(events: Events, scratch: Path, port: int, login: Login) -> None:
    """Show how to copy files from another terminal."""
    words = ["-F", "none", "-i", str(scratch / remote.KEY), "-o", f"UserKnownHostsFile={scratch / remote.KNOWN}"]
    if re.fullmatch(r"[A-Za-z0-9_./-]+", str(scratch)):
        copying = shlex.join(["scp", *words, "-P", str(port), "FILE", f"{login.user}@127.0.0.1:"])
        events.note(f"files from another terminal: {copying}")


async def _logged_in(session: Session, port: int, login: Login, scratch: Path, *, captured: bool) -> int:
    """Run the client until it or the machine ends; return its exit status."""
    terminal = not login.command and sys.stdin.isatty() and sys.stdout.isatty()
    argv = remote.client(port, login, terminal=terminal)
    with contextlib.ExitStack() as stack:
        out, err = sys.stdout.fileno(), sys.stderr.fileno()
        if captured:
            argv = process.bounded(argv, memory=MEMORY, output=OUTPUT)
            out, err = (stack.enter_context((scratch / name).open("wb")).fileno() for name in _STREAMS)
        stack.enter_context(_terminal())
        started = process.spawn(
            argv,
            stdin=sys.stdin.fileno(),
            stdout=out,
            stderr=err,
            cwd=scratch,
            env={"TERM": os.environ.get("TERM", "vt100")},
        )
        client = stack.enter_context(started)
        stack.enter_context(_resized(client))
        while client.poll() is None and not session.over:
            await session.wait(0.1)
        with contextlib.suppress(subprocess.TimeoutExpired):
            # A machine that powered off does not close the connection.
            client.wait(GRACE)
        status = client.poll()
    if status == -signal.SIGXFSZ:
        raise ImageError(f"the command wrote more than {files.size_in_words(OUTPUT)}", hint="leave --json out")
    return LOST if status is None or status < 0 else status


async def _off(session: Session, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and not session.over:
        await session.wait(0.5)


@contextmanager
def _terminal() -> Iterator[None]:
    """Restore the terminal's settings, however the client ends."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor) if sys.stdin.isatty() else None
    try:
        yield
    finally:
        if before is not None:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _resized(client: subprocess.Popen[bytes]) -> Iterator[None]:
    """Forward terminal size changes: the kernel signals only this process, as the client is in the background."""
    loop = asyncio.get_running_loop()
    # For a client that has ended, `send_signal` does nothing.
    loop.add_signal_handler(signal.SIGWINCH, client.send_signal, signal.SIGWINCH)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


def _read_output(path: Path) -> str:
    return files.read_bytes(path, OUTPUT).decode("utf-8", "replace")
