"""The tasks `boot`, `shell` and `ssh`: the test boot, the guest's console while it runs, and interactive use."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import dataclass

from roost.cli import terminal
from roost.cli.verb import after_dashes, finish, verb
from roost.errors import UsageError


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of `boot`."""

    accel: str = "auto"
    hypervisor: str = ""
    machine: str = "pc"
    interactive: bool = False
    console: bool = False
    keep: bool = False
    require_kvm: bool = False
    evict: bool = False
    no_evict: bool = False


@verb(
    positional=("name",),
    help={
        "accel": "auto, kvm or tcg",
        "hypervisor": "kvm or xen; default: that of the description or the recipe",
        "machine": "pc or q35",
        "interactive": "the console on this terminal; changes are thrown away, unless --keep",
        "console": "show the guest's console while it boots: on standard output, with --json on standard error",
        "keep": "with --interactive: the changed disks go into a new directory, NAME.kept; the image stays as it was",
        "evict": "press the power button while the job runs, as HTCondor's eviction does: the guest must obey",
        "no-evict": "do not try the eviction, whatever the recipe says",
        "require-kvm": "fail instead of using TCG where KVM does not work",
    },
)
def boot(_context: object, name: str, flags: Flags, json: bool = False) -> None:
    """Test boot NAME, or the disks of a submit description FILE.sub, as HTCondor would run it."""
    from roost.boot import follow
    from roost.cli import show
    from roost.pipeline import boot as story

    if flags.keep and not flags.interactive:
        raise UsageError("--keep needs --interactive", hint="inv boot NAME --interactive --keep")
    if flags.console and flags.interactive:
        raise UsageError(
            "--console and --interactive cannot be used together", hint="--interactive shows the console too"
        )
    evict = True if flags.evict else False if flags.no_evict else None
    options = story.Options(flags.accel, flags.hypervisor or None, flags.machine, flags.require_kvm, evict)
    if flags.interactive:
        # No live progress between the user and the guest's console.
        story.interact(name, events=terminal.PlainEvents(sys.stderr), options=options, keep=flags.keep)
        return
    # A live progress line and the guest's own lines would overwrite each other.
    plain = nullcontext(terminal.PlainEvents(sys.stderr))
    shown = (sys.stderr if json else sys.stdout) if flags.console else None
    with plain if flags.console else terminal.events() as events, follow.following(shown) as echo:
        result = story.boot(name, events=events, options=options, echo=echo)
    terminal.write_json(result.to_json()) if json else terminal.write_text(show.boot(result))
    finish(result.passed)


@dataclass(frozen=True, slots=True)
class Carry:
    """The flags of `shell`."""

    accel: str = "auto"
    in_: list[str] | None = None
    out: list[str] | None = None


@verb(
    positional=("name",),
    help={
        "accel": "auto, kvm or tcg",
        "in_": "a file or directory that the guest finds in $ROOST_INPUT; may be repeated",
        "out": "a new directory for what is in $ROOST_OUTPUT at the end; PATH:DIR copies a path of the guest there too",
    },
)
def shell(_context: object, name: str, flags: Carry) -> None:
    """Start a root shell in a throw-away guest of NAME, on this terminal.

    The machine is that of the test boot; instead of the system's start it runs a shell: no service, no job, no
    password. `exit` or Ctrl-] ends it, and the image stays as it was. `boot --interactive` starts the system itself.
    """
    from roost.pipeline import boot as booting
    from roost.pipeline import shell as story

    carried = story.carried(flags.in_ or [], flags.out or [])
    story.shell(name, carried, events=terminal.PlainEvents(sys.stderr), options=booting.Options(flags.accel, "kvm"))


@dataclass(frozen=True, slots=True)
class Visit:
    """The flags of `ssh`."""

    accel: str = "auto"
    machine: str = "pc"
    user: str = "root"


@verb(
    positional=("name",),
    help={
        "accel": "auto, kvm or tcg",
        "machine": "pc or q35",
        "user": "the account of the image to log in as",
        "json": "one JSON object on standard output, with the exit status and the output of the command",
    },
)
def ssh(_context: object, name: str, flags: Visit, json: bool = False) -> None:
    """Log in by ssh to a throw-away guest of NAME, or run the command after -- in it.

    The system starts as it does in the pool, only its job does not. Its sshd lets in one key, made for this login; the
    host key is read from the guest itself. The guest reaches no network unless the recipe gives it one. The exit status
    is the command's. Several words are passed on as they are; a single one is a line for the guest's shell.
    """
    from roost.boot.remote import Login
    from roost.pipeline import boot as booting
    from roost.pipeline import ssh as story

    login = Login(flags.user, tuple(after_dashes()))
    if json and not login.command:
        raise UsageError("--json needs a command", hint=f"inv ssh {name} --json -- uname -a")
    options = booting.Options(flags.accel, "kvm", flags.machine)
    ended = story.ssh(name, login, events=terminal.PlainEvents(sys.stderr), options=options, captured=json)
    if json:
        terminal.write_json(ended.to_json())
    finish(ended.exit_code == 0, ended.exit_code)
