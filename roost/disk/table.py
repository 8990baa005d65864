"""The partition table, written into the disk file by sfdisk: no loop device, the same identifiers every time."""

from __future__ import annotations

from pathlib import Path

from roost.disk.layout import Layout, MiB
from roost.host import process

LABELS = {"mbr": "dos", "gpt": "gpt"}


def script(layout: Layout) -> str:
    """Return the layout in sfdisk's script language (sfdisk(8), "INPUT FORMATS")."""
    if layout.table is None:
        raise ValueError("a bare file system has no partition table")
    lines = [f"label: {LABELS[layout.table]}", f"label-id: {layout.identifier}", "unit: sectors", ""]
    for entry in layout.partitions:
        fields = [f"start={entry.start}", f"size={entry.size}", f"type={entry.type}"]
        if layout.table == "gpt":
            fields += [f"uuid={entry.uuid}", f'name="{entry.name}"']
        if entry.active:
            fields.append("bootable")
        lines.append(f"{entry.number} : {', '.join(fields)}")
    return "\n".join(lines) + "\n"


def write(path: Path, layout: Layout, log: Path) -> None:
    """Write the partition table of `layout`, if it has one, into the disk file at `path`."""
    if layout.table is None:
        return
    process.run(
        ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", "--wipe", "never", path],
        stdin=script(layout).encode(),
        # sfdisk reads and writes only a few sectors, whatever the size.
        deadline=60 + layout.size // (1024 * 1024 * MiB),
        log=log,
        what=f"cannot write the partition table of disk {layout.disk}",
    )
