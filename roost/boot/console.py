"""What a console says: bytes in, clean lines, signs and times out. Pure; made for consoles that lie.

A guest may write anything at any length: escape sequences, no line ends, invalid UTF-8. Lines are cleaned one
by one and forgotten, but for the last ones; what matters is kept as signs, each with its time and its line.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Longer lines are cut into pieces of this many bytes.
LINE = 4096
TAIL = 400

#: Moves of the cursor start a new line of text (GRUB and full-screen programs draw with them); others vanish.
_MOVE = re.compile(rb"\x1b\[[0-9;]*[ABHJfd]|\r+")
_ESCAPE = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # control sequences
    rb"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)"  # strings: titles, links, device control
    rb"|[ -/]*[0-~]?)"
)

#: Signs on the serial console, by kind. The first alternative that matches a line gives its kind; texts are the
#: kernel's (kernel/panic.c, init/do_mounts.c, kernel/reboot.c), initramfs-tools', dracut's, GRUB's and roost's own.
SERIAL: Mapping[str, str] = {
    "panic": r"Kernel panic - not syncing: ?.*",
    "no-root": r"VFS: (?:Cannot open root device|Unable to mount root fs).*|ALERT! +\S+ does not exist.*"
    r"|Gave up waiting for root.*|Unable to find a medium containing a live.*|mount: mounting \S+ on /root failed.*"
    r"|Target filesystem doesn't have requested .*|dracut.*: (?:Warning: .*does not exist|FATAL: .*root).*"
    r"|roost: (?:cannot find|no) (?:the )?root.*",
    "no-init": r"No init found\. Try passing init=.*|switch_root: .*(?:failed|can't).*|run-init: .*",
    "initrd-shell": r"\(initramfs\)|Entering emergency mode.*|dropping to (?:a )?shell.*",
    "halted": r"reboot: System halted|^System halted\.?$",
    "power-down": r"reboot: Power down|acpi_power_off called",
    "restarting": r"reboot: Restarting system.*",
    "job-started": r"roost: job started",
    "job-finished": r"roost: job finished: exit (?P<exit>-?\d+).*",
    "job-timed-out": r"roost: job timed out.*",
    "loader-error": r"^error: .*|grub rescue>.*|^grub> *$|Missing operating system.*|Operating system not found.*"
    r"|(?:Could not|cannot) (?:find|open|load) (?:kernel|ramdisk|vmlinuz).*|[Nn]o (?:DEFAULT or UI|bootable) .*",
    "emergency": r"You are in (?:emergency|rescue) mode.*",
    "out-of-memory": r"Out of memory: Killed process.*|.*invoked oom-killer.*",
    "unit-failed": r"\[FAILED\] .*",
    "disk-seen": r"(?:\b|\[)(?P<disk>(?:[vsh]|xv)d[a-z])(?:: (?:[vsh]|xv)d[a-z]\d|\] [\d,]+ 512-byte logical blocks).*",
    "kernel": r"Linux version \d.*|Decompressing Linux.*",
    "initrd": r"Run /init as init process|Loading, please wait.*|^Begin: .*",
    "init": r"Run /(?:sbin|usr|lib|etc|bin)\S* as init process|systemd\[1\]: systemd \S+ running in system mode.*"
    r"|systemd \S+ running in system mode.*|INIT: version .*|Welcome to .*!|init started: BusyBox.*|OpenRC .*",
    "login": r"(?<!Last )\blogin: ?$",
    "shutting-down": r"Reached target (?:poweroff|shutdown|halt|reboot)\S*.*|Will now (?:halt|restart|power).*"
    r"|The system is going down.*",
    "kernel-line": r"^\[ {0,4}\d+\.\d{6}\] ",
}

#: Signs that stand in a line without an end.
PROMPTS = frozenset({"login", "initrd-shell", "loader-error"})

#: Signs of SeaBIOS on its debug port (boot.c).
FIRMWARE: Mapping[str, str] = {
    "firmware": r"SeaBIOS \(version .*",
    "boot-sector": r"Booting from (?:0000:7c00|07c0:0000).*",
    "direct-kernel": r"Booting from ROM.*",
    "boot-disk": r"Booting from (?:Hard Disk|DVD/CD|Floppy).*",
    "not-bootable": r"No bootable device.*|Boot failed: .*",
}


@dataclass(frozen=True, slots=True)
class Sign:
    """The first line of its kind: when it came (seconds after the start) and what it said."""

    kind: str
    seconds: float
    text: str


def clean(line: bytes) -> str:
    """Return one line as text that is safe to show: no escape sequences, no control characters."""
    if b"\x1b" in line:
        line = _ESCAPE.sub(b"", line)
    text = line.decode("utf-8", "replace")
    if text.isprintable():
        return text.rstrip()
    return "".join(
        char if char.isprintable() else " " if char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in text
    ).rstrip()


class Console:
    """Follows one console. `patterns` are regular expressions that the expectations look for, line by line.

    `exits` are the exit statuses of all lines that say that the job finished, `disks` what the kernel calls the
    disks it found, `matched` the line in which each pattern was first seen, `last_byte` when the last byte came.
    """

    def __init__(self, signs: Mapping[str, str] = SERIAL, patterns: Sequence[str] = ()) -> None:
        self.signs: dict[str, Sign] = {}
        self.matched: dict[str, str] = {}
        self.size = 0
        self.last_byte: float | None = None
        self.exits: list[int] = []
        self.disks: set[str] = set()
        self._kinds = re.compile("|".join(f"(?P<{kind.replace('-', '_')}>{text})" for kind, text in signs.items()))
        self._names = {kind.replace("-", "_"): kind for kind in signs}
        self._waiting = {pattern: re.compile(pattern) for pattern in patterns}
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._rest = b""

    def feed(self, data: bytes, seconds: float) -> None:
        """Take what came, at `seconds` after the start. A line counts when it has ended, or at `settle`."""
        self.size += len(data)
        self.last_byte = seconds
        *lines, self._rest = _MOVE.sub(b"\n", self._rest + data).split(b"\n")
        for line in lines:
            for start in range(0, len(line), LINE):
                self._line(clean(line[start : start + LINE]), seconds)
        while len(self._rest) > LINE:
            self._line(clean(self._rest[:LINE]), seconds)
            self._rest = self._rest[LINE:]

    def settle(self, seconds: float) -> None:
        """Look at the line that has not ended as it stands: a prompt, when nothing has come for a while."""
        if self._rest:
            self._line(clean(self._rest), seconds, whole=False)

    def close(self, seconds: float) -> None:
        """Take the last line, which has no end."""
        if self._rest:
            self._line(clean(self._rest), seconds)
            self._rest = b""

    def has(self, kind: str) -> bool:
        """Return whether a sign of this kind was seen."""
        return kind in self.signs

    @property
    def open_line(self) -> str:
        """The line that has not ended: a prompt, as a rule."""
        return clean(self._rest)

    @property
    def missing(self) -> bool:
        """Whether a pattern has not been seen yet."""
        return bool(self._waiting)

    def tail(self, lines: int = 40) -> str:
        """Return the last lines, clean; with the line that has not ended."""
        last = [*self._tail, self.open_line] if self._rest else list(self._tail)
        return "\n".join([line for line in last if line.strip()][-lines:])

    def _line(self, text: str, seconds: float, *, whole: bool = True) -> None:
        if not text:
            return
        if whole:
            self._tail.append(text)
        match = self._kinds.search(text)
        while match:
            kind = self._names[str(match.lastgroup)]
            if whole or kind in PROMPTS:
                self.signs.setdefault(kind, Sign(kind, seconds, text[:400]))
            if kind == "job-finished" and whole:
                self.exits.append(int(match["exit"]))
            elif kind == "disk-seen":
                self.disks.add(match["disk"])
            match = self._kinds.search(text, match.end()) if match.end() > match.start() else None
        for pattern in [name for name, compiled in self._waiting.items() if compiled.search(text)]:
            self.matched[pattern] = text[:400]
            del self._waiting[pattern]
