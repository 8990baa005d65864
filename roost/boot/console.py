"""A guest's console: bytes in; clean lines, signs and times out. Pure; does not trust the guest.

A guest may write anything at any length: escape sequences, no line ends, invalid UTF-8. Lines are cleaned one by one
and only the last ones are kept; what matters is kept as signs, each with its time and its line.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from roost.boot.waits import Waits
from roost.host.safetext import clean
from roost.recipe.patterns import Searches, TooSlowError, compiled

#: Longer lines are cut into pieces of this many bytes.
LINE = 4096
TAIL = 400
#: How many lines of a job are kept.
JOB_LINES = 40

#: Cursor movements start a new line of text (GRUB and full-screen programs draw with them); other sequences are
#: removed.
_MOVE = re.compile(rb"\x1b\[[0-9;]*[ABHJfd]|\r+")


class Kind(NamedTuple):
    """How to detect a kind of sign: one of `hints` is in the line (fast), and `pattern` matches (exact)."""

    hints: tuple[str, ...]
    pattern: re.Pattern[str]


def kind(pattern: str, *hints: str) -> Kind:
    """Return a kind of sign from its pattern and hints."""
    return Kind(hints, re.compile(pattern))


#: Signs on the serial console; the texts are those of the kernel (kernel/panic.c, init/do_mounts.c, init/main.c,
#: kernel/reboot.c), initramfs-tools, dracut, systemd, GRUB and SYSLINUX, and roost's own.
SERIAL: Mapping[str, Kind] = {
    "panic": kind(r"Kernel panic - not syncing", "Kernel panic - not syncing"),
    # The last line of a kernel that neither reboots nor dumps (kernel/panic.c): from then on it does nothing.
    "panic-end": kind(r"---\[ end Kernel panic - not syncing", "---[ end Kernel panic"),
    "no-root": kind(
        r"VFS: (?:Cannot open root device|Unable to mount root fs)|ALERT! +\S+ does not exist"
        r"|Gave up waiting for root|Unable to find a medium containing a live|mount: mounting \S+ on /root failed"
        r"|Target filesystem doesn't have requested|dracut\S*: Warning: .*does not exist|roost: no root file system",
        "root",
        "ALERT!",
        "Unable to find",
        "requested",
        "dracut",
    ),
    # The kernel's message for a mounted file system of a type that holds people's files (fs/ext4/super.c and the like).
    "mounted": kind(
        r"(?:EXT[234]-fs|F2FS-fs|erofs|XFS) \(.*(?:mounted (?:filesystem|with)|Mounting V\d)|BTRFS info",
        "mounted",
        "Mounting",
        "BTRFS info",
    ),
    "no-init": kind(
        r"No init found\. Try passing init=|switch_root: .*(?:failed|can't)|run-init: "
        r"|roost: no root file system: \S+ has no ",
        "No init found",
        "switch_root",
        "run-init",
        "roost: no root",
    ),
    "initrd-shell": kind(
        r"\(initramfs\)|Entering emergency mode|[Dd]ropping to (?:a )?shell",
        "(initramfs)",
        "Entering emergency mode",
        "ropping to",
    ),
    "halted": kind(r"reboot: System halted|^System halted", "System halted"),
    "power-down": kind(r"reboot: Power down|acpi_power_off called", "Power down", "acpi_power_off"),
    "restarting": kind(r"reboot: Restarting system", "Restarting system"),
    "job-started": kind(r"roost: job started", "roost: job started"),
    "job-finished": kind(r"roost: job finished: exit (?P<exit>-?\d{1,9})", "roost: job finished"),
    "job-not-run": kind(r"roost: the job was not run: (?P<why>.+)", "roost: the job was not run"),
    "job-timed-out": kind(r"roost: job timed out", "roost: job timed out"),
    "loader-error": kind(
        r"^error: |grub rescue>|^grub> *$|Missing operating system|Operating system not found"
        r"|(?:Could not|cannot) (?:find|open|load) (?:kernel|ramdisk|vmlinuz)|No DEFAULT or UI",
        "error: ",
        "grub",
        "perating system",
        "kernel",
        "ramdisk",
        "vmlinuz",
        "No DEFAULT",
    ),
    "emergency": kind(r"You are in (?:emergency|rescue) mode", "You are in"),
    "out-of-memory": kind(r"Out of memory: Killed process|invoked oom-killer", "Out of memory", "oom-killer"),
    "unit-failed": kind(r"\[FAILED\] ", "[FAILED] "),
    "disk-seen": kind(
        r"(?:\b|\[)(?P<disk>(?:[vsh]|xv)d[a-z])(?:: (?:[vsh]|xv)d[a-z]\d|\] [\d,]+ 512-byte logical blocks"
        # Xen's disks may have no partition table: xvda1 can be a disk.
        r"|(?<=blkfront: xvd[a-z])\d*: )",
        "blkfront: ",
        "512-byte",
        "da: ",
        "db: ",
        "dc: ",
        "dd: ",
    ),
    "kernel": kind(r"Linux version \d|Decompressing Linux", "Linux version", "Decompressing Linux"),
    "initrd": kind(
        r"Run /init as init process|Loading, please wait|^Begin: ", "Run /init", "Loading, please", "Begin: "
    ),
    "init": kind(
        r"Run /(?:sbin|usr|lib|etc|bin)\S* as init process|systemd \S+ running in system mode|INIT: version "
        r"|Welcome to .*!|init started: BusyBox|^OpenRC ",
        "as init process",
        "running in system mode",
        "INIT: version",
        "Welcome to",
        "init started",
        "OpenRC",
    ),
    "login": kind(r"(?<!Last )\blogin: ?$", "login:"),
    "shutting-down": kind(
        r"Reached target (?:poweroff|shutdown|halt|reboot)|Reached target .*(?:Power.Off|Reboot|Halt)"
        # An initrd of dracut stops targets too, but none of these. The last pattern is roost's own guest.
        r"|The system is going down|Stopped target .*(?:[Mm]ulti-[Uu]ser|[Gg]raphical|getty|Login Prompts)"
        r"|roost: power (?:button|off)",
        "Reached target",
        "going down",
        "Stopped target",
        "roost: power",
    ),
    "kernel-line": kind(r"^\[ {0,4}\d+\.\d{6}\] ", "] "),
}

#: Signs in a line that has not ended.
PROMPTS = frozenset({"login", "initrd-shell", "loader-error"})

#: Signs of SeaBIOS on its debug port (boot.c).
FIRMWARE: Mapping[str, Kind] = {
    "firmware": kind(r"SeaBIOS \(version ", "SeaBIOS"),
    "boot-sector": kind(r"Booting from (?:0000:7c00|07c0:0000)", "7c0"),
    "direct-kernel": kind(r"Booting from ROM", "Booting from ROM"),
    "boot-disk": kind(r"Booting from (?:Hard Disk|DVD/CD|Floppy)", "Booting from"),
    "not-bootable": kind(r"No bootable device|Boot failed: ", "No bootable", "Boot failed"),
}


@dataclass(frozen=True, slots=True)
class Sign:
    """The first line of its kind: its time (seconds after the start) and text."""

    kind: str
    seconds: float
    text: str


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the complete lines, not yet clean, and the incomplete rest; a cursor movement ends a line."""
    *lines, rest = _MOVE.sub(b"\n", data).split(b"\n")
    return lines, rest


class Console:
    """Follows one console. `patterns` are regular expressions to wait for, line by line, `unwanted` others.

    `exits` are the exit statuses of all lines that report the end of the job, `disks` the kernel's names of the disks
    it found, `matched` the line in which each pattern was first seen, `last_byte` the time of the last byte. `slow` are
    the patterns that were abandoned because they took too long; whether they match is unknown. `job` are the last lines
    written while the job ran, except the kernel's; `waits` what init waited for.
    """

    def __init__(
        self, signs: Mapping[str, Kind] = SERIAL, patterns: Sequence[str] = (), unwanted: Sequence[str] = ()
    ) -> None:
        self.signs: dict[str, Sign] = {}
        self.matched: dict[str, str] = {}
        self.size = 0
        self.last_byte: float | None = None
        self.exits: list[int] = []
        self.disks: set[str] = set()
        self.job: deque[str] = deque(maxlen=JOB_LINES)
        self.waits = Waits({})
        self._kinds = tuple(signs.items())
        self.slow: set[str] = set()
        self._searches = Searches()
        self._waiting = {pattern: compiled(pattern) for pattern in (*patterns, *unwanted)}
        self._unwanted = frozenset(unwanted) - frozenset(patterns)
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._rest = b""

    def feed(self, data: bytes, seconds: float) -> None:
        """Process data received at `seconds` after the start. A line counts when it has ended, or at `settle`."""
        self.size += len(data)
        self.last_byte = seconds
        lines, self._rest = split(self._rest + data)
        for line in lines:
            for start in range(0, len(line), LINE):
                self._line(clean(line[start : start + LINE]), seconds)
        while len(self._rest) > LINE:
            self._line(clean(self._rest[:LINE]), seconds)
            self._rest = self._rest[LINE:]

    def settle(self, seconds: float) -> None:
        """Examine the incomplete line: it is a prompt if nothing has followed for a while."""
        if self._rest:
            self._line(clean(self._rest), seconds, whole=False)

    def close(self, seconds: float) -> None:
        """Process the last line, which has no end."""
        if self._rest:
            self._line(clean(self._rest), seconds)
            self._rest = b""

    def has(self, kind: str) -> bool:
        """Return whether a sign of this kind was seen."""
        return kind in self.signs

    @property
    def open_line(self) -> str:
        """The incomplete line: usually a prompt."""
        return clean(self._rest)

    @property
    def missing(self) -> bool:
        """Whether a pattern to wait for has not been seen yet."""
        return bool(self._waiting.keys() - self._unwanted)

    def tail(self, lines: int = 40) -> str:
        """Return the last lines, clean, including the incomplete one."""
        last = [*self._tail, self.open_line] if self._rest else list(self._tail)
        return "\n".join([line for line in last if line.strip()][-lines:])

    def _line(self, text: str, seconds: float, *, whole: bool = True) -> None:
        if not text:
            return
        if whole:
            self._tail.append(text)
            self.waits.line(text, seconds, in_init="init" in self.signs and "job-started" not in self.signs)
            if "job-started" in self.signs and not self.exits and not text.startswith(("roost: job ", "[ ")):
                self.job.append(text)
        for kind, (hints, pattern) in self._kinds:
            if any(hint in text for hint in hints) and (match := pattern.search(text)):
                self._sign(kind, match, seconds, text, whole=whole)
        for wanted, pattern in list(self._waiting.items()):
            try:
                if not self._searches.search(pattern, text):
                    continue
                self.matched[wanted] = text[:400]
            except TooSlowError:
                self.slow.add(wanted)
            del self._waiting[wanted]

    def _sign(self, kind: str, match: re.Match[str], seconds: float, text: str, *, whole: bool) -> None:
        if whole or kind in PROMPTS:
            self.signs.setdefault(kind, Sign(kind, seconds, text[:400]))
        if kind == "job-finished" and whole:
            self.exits.append(int(match["exit"]))
        elif kind == "disk-seen":
            self.disks.add(match["disk"])
