"""Writes what a test boot leaves: the verdict as JSON, the logs, and one self-contained page for people.

The page needs no network and trusts nothing: the console is a stranger's text, cleaned line by line, escaped by
the template, and cut in the middle when it is long.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roost.boot.console import LINE, clean
from roost.staging import write_atomically

if TYPE_CHECKING:
    from roost.boot.run import BootResult

#: Bytes of console in the page: so many from its beginning, and from its end.
SHOWN = 384 << 10
#: Phases of the guest, in order, as the timeline shows them.
PHASES = (
    "probe", "prepare", "firmware", "boot-loader", "kernel", "initrd", "init", "job", "power-off", "disks", "eviction",
    "checkpoint",
)  # fmt: skip
_HOST = ("probe", "prepare", "disks", "eviction", "checkpoint")


def write(result: BootResult, logs: Path, out: Path) -> None:
    """Write HYPERVISOR.json, its logs and report.html into `out`, each file whole or not at all."""
    folder = out / result.hypervisor
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("serial.log", "qemu.log"):
        source = logs / name
        partial = folder / f".{name}.partial"
        try:
            if source.exists():
                shutil.copyfile(source, partial)
            else:
                partial.write_bytes(b"")
            partial.rename(folder / name)
        finally:
            with suppress(FileNotFoundError):
                partial.unlink()
    screen = folder / "screen.png"
    if result.screen.picture:
        write_atomically(screen, result.screen.picture)
    else:
        screen.unlink(missing_ok=True)
    answer = result.to_json()
    write_atomically(out / "report.html", page(result, answer, folder / "serial.log").encode())
    # The verdict comes last: where it stands, the rest does too.
    text = json.dumps({**answer, "argv": list(result.argv)}, indent=1) + "\n"
    write_atomically(out / f"{result.hypervisor}.json", text.encode())


def page(result: BootResult, answer: Mapping[str, Any], serial_log: Path) -> str:
    """Return the page of a test boot as HTML."""
    # jinja2 takes as long to import as all the rest of a verdict: only those who write one pay.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("roost.boot", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    lines, left_out = console_lines(serial_log)
    return environment.get_template("report.html.j2").render(
        answer=answer,
        timeline=timeline(answer["seconds"]),
        total=sum(answer["seconds"].values()),
        lines=lines,
        left_out=left_out,
        argv=result.argv,
    )


def timeline(seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the bars of the timeline: name, seconds, begin and width in per cent of the whole."""
    whole = sum(seconds.values()) or 1.0
    bars, begin = [], 0.0
    for name in sorted(seconds, key=lambda one: PHASES.index(one) if one in PHASES else len(PHASES)):
        taken = seconds[name]
        bars.append(
            {
                "name": name,
                "seconds": taken,
                "left": round(100 * begin / whole, 2),
                "width": round(100 * taken / whole, 2),
                "kind": "host" if name in _HOST else "guest",
            }
        )
        begin += taken
    return bars


def console_lines(serial_log: Path) -> tuple[list[str], int]:
    """Return the console's lines, clean, and how many bytes in their middle are left out."""
    if not serial_log.exists():
        return [], 0
    size = serial_log.stat().st_size
    with serial_log.open("rb") as file:
        if size <= 2 * SHOWN:
            return _lines(file.read()), 0
        head = file.read(SHOWN)
        file.seek(size - SHOWN)
        return [*_lines(head), f"[{size - 2 * SHOWN} bytes left out]", *_lines(file.read())], size - 2 * SHOWN


def _lines(data: bytes) -> list[str]:
    raw = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return [clean(line[start : start + LINE]) for line in raw for start in range(0, max(1, len(line)), LINE)]
