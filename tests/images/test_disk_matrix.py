"""Each table and each root file system, with every other kind of disk beside it: built, booted, seen from inside."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.images.calls import build, roost

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.timeout(900)]

RECIPE = """\
extends: smoke.yaml
name: matrix
hypervisors: !replace [kvm]
files:
  - {{path: /opt/job/run, source: files/look, mode: "0755"}}
  - {{path: /data/hello, content: "hello\\n", mode: "0640", owner: 7, group: 8}}
  - {{path: /packed/hello, content: "packed\\n", mode: "0644"}}
  - {{path: /more/hello, content: "more\\n", mode: "0644"}}
  - {{path: /more/link, link: hello}}
disks: !replace
  - name: root
    format: qcow2
    compress: {compress}
    table: {table}
    partitions:
      - {{mount: /, filesystem: {filesystem}, free: 16MiB, label: system}}
      - {{filesystem: swap, size: 16MiB}}
  - {{name: io, filesystem: {io}, size: 16MiB, role: io}}
  - {{name: data, filesystem: {data}, mount: /data, readonly: true}}
  - {{name: packed, table: {table}, partitions: [{{mount: /packed, filesystem: {packed}}}]}}
  - {{name: more, table: {table}, partitions: [{{mount: /more, filesystem: {more}, free: 8MiB}}]}}
  - {{name: swap, filesystem: swap, size: 32MiB}}
boot_test:
  evict: false
  timeout: 1min
  inputs: [files/in.txt]
  expect: [{{file: /output/in.txt, on: io, matches: "^an input$"}}]
"""
LOOK = """\
#!/bin/sh
[ ! -e in.txt ] || cp in.txt "$ROOST_OUTPUT"
cp /proc/swaps /proc/mounts "$ROOST_OUTPUT"
cat /data/hello /packed/hello /more/link >"$ROOST_OUTPUT/read"
stat -c '%a %u %g' /data/hello >"$ROOST_OUTPUT/owner"
for directory in /data /packed; do
    if (echo x >"$directory/new") 2>/dev/null; then echo "$directory" >>"$ROOST_OUTPUT/written"; fi
done
# Whatever its file system's mount says, a disk that is read-only to the machine stays as it is.
if dd if=/dev/zero of=/dev/vdc bs=512 count=1 conv=notrunc,fsync 2>/dev/null; then
    echo /dev/vdc >>"$ROOST_OUTPUT/written"
fi
echo new >/more/new && sync && echo 42 >"$ROOST_OUTPUT/result.txt"
"""
CASES = [
    ("mbr", "ext4", "zlib", "erofs", "erofs", "ext4", "vfat"),
    ("mbr", "xfs", "none", "erofs", "squashfs", "btrfs", "ext4"),
    ("mbr", "btrfs", "zstd", "ext4", "erofs", "ext4", "ext4"),
    ("gpt", "ext4", "none", "squashfs", "erofs", "ext2", "ext4"),
    ("gpt", "xfs", "zstd", "ext4", "erofs", "ext4", "vfat"),
    ("gpt", "btrfs", "none", "ext4", "erofs", "ext3", "ext4"),
]


@pytest.mark.parametrize(("table", "filesystem", "compress", "data", "packed", "more", "io"), CASES)
def test_it_boots_and_sees_its_disks(
    table: str,
    filesystem: str,
    compress: str,
    data: str,
    packed: str,
    more: str,
    io: str,
    project: Path,
    qemu: Callable[..., str],
    tmp_path: Path,
) -> None:
    (project / "recipes/files/look").write_text(LOOK)
    (project / "recipes/files/in.txt").write_text("an input\n")
    roots = {"table": table, "filesystem": filesystem, "compress": compress}
    text = RECIPE.format(**roots, data=data, packed=packed, more=more, io=io)
    (project / "recipes/matrix.yaml").write_text(text)
    built = build("matrix", cwd=project)
    record = json.loads((built / "manifest.json").read_text())
    assert {file["name"] for file in record["files"]} >= {"root.qcow2", "io.raw", "data.raw", "swap.raw"}
    description = (built / "kvm.sub").read_text()
    assert "data.raw:vdc:r:raw" in description

    ran = roost("boot", "matrix", "--accel", "tcg", "--json", cwd=project)
    assert ran.code == 0, ran.out
    # A plain QEMU, too, whose disks stay changed: with what the guest wrote on them.
    back = tmp_path / "back.raw"
    disks = [built / name for name in ("root.qcow2", "io.raw", "data.raw", "packed.raw", "more.raw", "swap.raw")]
    console = qemu(*disks, readonly=("data",), io=back)
    assert "roost: job finished: exit 0" in console, console[-3000:]
    out = tmp_path / "out"
    assert roost("collect", str(back), str(out)).code == 0
    output = out / "back" / "output"
    swaps = (output / "swaps").read_text().splitlines()[1:]
    assert sorted(line.split()[0] for line in swaps) == ["/dev/vda2", "/dev/vdf"]
    mounts = {words[1]: words for words in map(str.split, (output / "mounts").read_text().splitlines())}
    assert mounts["/"][2] == filesystem
    assert [mounts[directory][2] for directory in ("/data", "/packed", "/more")] == [data, packed, more]
    assert mounts["/data"][3].startswith("ro")
    assert (output / "read").read_text() == "hello\npacked\nmore\n"
    assert (output / "owner").read_text() == "640 7 8\n"
    assert not (output / "written").exists(), (output / "written").read_text()
    listed = subprocess.run(
        ["qemu-img", "info", "--output=json", built / "root.qcow2"], capture_output=True, check=True
    )
    seen = json.loads(listed.stdout)["format-specific"]["data"]["compression-type"]
    assert seen == ("zstd" if compress == "zstd" else "zlib")
