"""The task `kernels`: the catalogue, and extraction of a kernel from an image."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roost.cli import fold, terminal
from roost.cli.verb import at_most_one, finish, verb
from roost.errors import UsageError

#: Short forms of a driver's state, so that all buses fit on a line.
_MARKS = {"builtin": "built in", "module": "module", "claimed": "claimed", "absent": "no", None: "?"}
_BUSES = ("virtio", "ide", "ahci", "scsi", "nvme", "xen")


@verb(
    rest="names",
    help={
        "fetch": "download the kernels that the catalogue names, and inspect them",
        "extract": "extract the kernel and initrd of IMAGE into the directory DIR, which must be new or empty",
        "version": "with --extract: the release to take instead of the newest",
    },
)
def kernels(
    _context: object,
    names: list[str] | None = None,
    fetch: bool = False,
    extract: str = "",
    version: str = "",
    json: bool = False,
) -> None:
    """List the kernels: version, compression, drivers, Xen; or, with --extract IMAGE DIR, extract one from an image."""
    from roost.pipeline import kernels as story

    if extract:
        directory = at_most_one(names or [])
        if directory is None:
            raise UsageError("which directory?", hint="inv kernels --extract IMAGE DIR")
        with terminal.events() as events:
            taken = story.extract(Path(extract), Path(directory), version or None, events)
        terminal.write_json(taken.to_json()) if json else terminal.write_text(_taken(taken.to_json()))
        return
    if version:
        raise UsageError("--version is for a kernel of an image", hint="use it with --extract")
    with terminal.events() as events:
        result = story.listing(names or [], events, fetch=fetch)
    terminal.write_json(result) if json else terminal.write_text(_listed(result, fold.columns(sys.stdout)))
    finish(not result["problems"], 2)


def _listed(result: Mapping[str, Any], width: int | None = None) -> str:
    """Render the kernels as a table; on a narrow terminal each as two lines."""
    from roost.cli.show import table
    from roost.recipe.quantities import format_size

    rows = [["kernel", "suite", "version", "packed", "size", *_BUSES, "xen pv"]]
    lines, blocks = [], []
    for kernel in result["kernels"]:
        for number, one in enumerate(kernel["suites"]):
            version, packed = one["version"] or "?", one["compression"] or "?"
            size = format_size(one["size"]) if one["size"] else "?"
            marks = [_MARKS[one["drivers"][bus]] for bus in _BUSES]
            xen = {True: "yes", False: "no", None: "?"}[one["xen_pv"]]
            rows.append(["" if number else kernel["name"], one["suite"] or "", version, packed, size, *marks, xen])
            called = f"{kernel['name']} {one['suite'] or ''}".rstrip()
            lines.append(f"  {called}: {_source(one)}")
            drivers = "; ".join(
                f"{mark}: {', '.join(bus for bus, of in zip(_BUSES, marks, strict=True) if of == mark)}"
                for mark in dict.fromkeys(marks)
            )
            facts = [one for one in (f"version {version}", f"packed {packed}", size, f"xen pv {xen}") if "?" not in one]
            blocks += [f"{called}: {', '.join(facts)}" if facts else called, f"  {drivers}"]
    if not lines:
        return "\n".join(["no kernel", *result["problems"]])
    whole = table(rows)
    if width is not None and max(map(len, whole.splitlines())) > width:
        whole = "\n".join(blocks)
    return "\n".join([whole, "", "file systems and where this is from:", *lines, *result["problems"]])


def _source(one: Mapping[str, Any]) -> str:
    if not one["seen"]:
        return f"claimed by {one['from']}, not seen yet (inv kernels --fetch, or a build)"
    have = [name for name, state in one["filesystems"].items() if state != "absent"]
    return f"{', '.join(have)}; seen in {one['from']}"


def _taken(taken: Mapping[str, Any]) -> str:
    from roost.recipe.quantities import format_size

    drivers = ", ".join(f"{bus} {_MARKS[state]}" for bus, state in taken["drivers"].items())
    pv = {True: "yes", False: "no", None: "unknown"}[taken["xen_pv"]]
    return "\n".join(
        [
            f"{taken['kernel']}  {taken['release']}, "
            f"{format_size(taken['size'])}, compressed with {taken['compression']}",
            f"{taken['initrd']}" if taken["initrd"] else "the image has no initrd for it",
            "",
            f"  in the image  {taken['source']}",
            f"  root          {taken['root'] or 'unknown'}",
            f"  parameters    {taken['command_line'] or 'unknown'}",
            f"  drivers       {drivers}",
            f"  xen pv        {pv}",
            f"  releases      {', '.join(taken['releases'])}",
        ]
    )
