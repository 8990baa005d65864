"""Writes the results of a test boot: the verdict as JSON, the logs, and one self-contained page for people.

The page needs no network, and its content is untrusted: the console is cleaned line by line, escaped by the template,
and cut in the middle when it is long.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roost.boot.console import LINE
from roost.host import webpage
from roost.host.safetext import clean
from roost.recipe.quantities import format_size
from roost.store.staging import write_atomically

if TYPE_CHECKING:
    from roost.boot.result import BootResult, FileSum

TEMPLATES = Path(__file__).parent / "templates"
#: Bytes and lines of the console in the page: this many of its beginning, and of its end.
SHOWN = 192 << 10
LINES = 2000
#: Phases of the guest, in the order of the timeline.
PHASES = (
    "probe", "dom0", "prepare", "xen", "firmware", "boot-loader", "kernel", "initrd", "init", "job", "power-off",
    "disks", "eviction", "checkpoint",
)  # fmt: skip
_HOST = ("probe", "dom0", "prepare", "xen", "disks", "eviction", "checkpoint")


def place(hypervisor: str) -> str:
    """Return the path of a boot's report below boot/: one per hypervisor; kvm's is at the top."""
    return "report.html" if hypervisor == "kvm" else f"{hypervisor}/report.html"


def write(result: BootResult, logs: Path, out: Path) -> None:
    """Write HYPERVISOR.json, its logs and its report into `out`, each file whole or not at all."""
    directory = out / result.hypervisor
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("serial.log", "qemu.log", *(("dom0.log",) if result.hypervisor == "xen" else ())):
        source = logs / name
        partial = directory / f".{name}.partial"
        try:
            if source.exists():
                shutil.copyfile(source, partial)
            else:
                partial.write_bytes(b"")
            partial.rename(directory / name)
        finally:
            with suppress(FileNotFoundError):
                partial.unlink()
    screen = directory / "screen.png"
    if result.screen.picture:
        write_atomically(screen, result.screen.picture)
    else:
        screen.unlink(missing_ok=True)
    answer = result.to_json()
    write_atomically(result.report, page(result, answer, directory / "serial.log").encode())
    # The verdict is written last: if it exists, the other files do too.
    text = json.dumps({**answer, "argv": list(result.argv)}, indent=1) + "\n"
    write_atomically(out / f"{result.hypervisor}.json", text.encode())


def page(result: BootResult, answer: Mapping[str, Any], serial_log: Path) -> str:
    """Return the page of a test boot as HTML."""
    environment = webpage.environment("roost.boot")
    lines, left_out = console_lines(serial_log)
    return environment.get_template("report.html.j2").render(
        answer={**answer, **_sized(result)},
        timeline=timeline(answer["seconds"], None if answer["passed"] else str(answer["phase"])),
        total=sum(answer["seconds"].values()),
        lines=lines,
        left_out=left_out,
        argv=result.argv,
        serial_log=os.path.relpath(result.serial_log, result.report.parent),
        screen=base64.b64encode(result.screen.picture).decode(),
        **webpage.look(TEMPLATES / "report.css", TEMPLATES / "report.js", pictures=True),
    )


def _sized(result: BootResult) -> dict[str, Any]:
    """Return the machine's memory and CPUs, and its files with readable sizes."""

    def shown(file: FileSum) -> dict[str, str]:
        parts = [f"{format_size(file.virtual)} for the guest"] if file.virtual else []
        size = ", ".join([*parts, f"{format_size(file.size)} as a file"])
        return {"name": file.name, "sha256": file.sha256, "shown": size}

    disks, kernel = [shown(file) for file in result.disks], [shown(file) for file in result.kernel]
    return {"memory": result.memory, "cpus": result.cpus, "disks": disks, "kernel": kernel}


def timeline(seconds: Mapping[str, float], failed: str | None = None) -> list[dict[str, Any]]:
    """Return the bars of the timeline: name, seconds, begin and width in per cent, whether it `failed`."""
    whole = sum(seconds.values()) or 1.0
    bars: list[dict[str, Any]] = []
    at = 0.0
    for name in sorted(seconds, key=lambda one: PHASES.index(one) if one in PHASES else len(PHASES)):
        taken = seconds[name]
        bars.append(
            {
                "name": name,
                "seconds": taken,
                "at": round(100 * at / whole, 2),
                "width": round(100 * taken / whole, 2),
                "kind": "host" if name in _HOST else "guest",
                "failed": name == failed,
            }
        )
        at += taken
    return bars


def console_lines(serial_log: Path) -> tuple[list[str], int]:
    """Return the console's lines, clean, and how many bytes in their middle are left out."""
    if not serial_log.exists():
        return [], 0
    size = serial_log.stat().st_size
    with serial_log.open("rb") as file:
        head = file.read(min(size, 2 * SHOWN))
        tail = b""
        if size > 2 * SHOWN:
            file.seek(size - SHOWN)
            head, tail = head[:SHOWN], file.read()
    if not tail:
        lines = _lines(head)
        if len(lines) <= 2 * LINES:
            return lines, 0
        # Also limit the number of lines: many short ones would make the page unusable.
        half = sum(len(line.encode()) for line in lines[LINES:-LINES])
        return [*lines[:LINES], f"[{len(lines) - 2 * LINES} lines left out]", *lines[-LINES:]], half
    left_out = size - 2 * SHOWN
    return [*_lines(head)[:LINES], f"[at least {left_out} bytes left out]", *_lines(tail)[-LINES:]], left_out


def _lines(data: bytes) -> list[str]:
    raw = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return [clean(line[start : start + LINE]) for line in raw for start in range(0, max(1, len(line)), LINE)]
