"""Files given as disk images that are none, made by the tools that make them: told at once, with the way out."""

from __future__ import annotations

import subprocess
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from roost.disk import foreign
from roost.errors import ImageError
from roost.existing import image_file
from roost.recipe import loader
from roost.sources import image

ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"


def raw(path: Path, size: int = 4 << 20) -> Path:
    path.touch()
    with path.open("r+b") as file:
        file.truncate(size)
    return path


def convert(path: Path, kind: str, *options: str) -> Path:
    source = raw(path.with_suffix(".plain"))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", kind, *options, str(source), str(path)], check=True)
    return path


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        ("vmdk", [], "vmdk"),
        ("vmdk", ["-o", "subformat=streamOptimized"], "vmdk"),
        ("vmdk", ["-o", "subformat=monolithicFlat"], "vmdk"),
        ("vpc", [], "vpc"),
        ("vpc", ["-o", "subformat=fixed"], "vpc"),
        ("vhdx", [], "vhdx"),
        ("vdi", [], "vdi"),
        ("qed", [], "qed"),
        ("qcow", [], "qcow"),
        ("parallels", [], "parallels"),
    ],
)
@pytest.mark.parametrize("declared", [None, "raw"])
def test_other_formats_are_reported_with_a_hint(
    kind: str, options: list[str], name: str, declared: str | None, tmp_path: Path
) -> None:
    image = convert(tmp_path / "a disk.img", kind, *options)
    if (kind, declared) == ("qcow", "raw"):
        pytest.skip("a raw disk may begin as a qcow2 does")
    with pytest.raises(ImageError) as caught:
        image_file.look(image, declared)  # type: ignore[arg-type]
    assert f"qemu-img convert -f {name} -O qcow2 'a disk.img' 'a disk.qcow2'" in str(caught.value)
    # The way out is one.
    done = tmp_path / "done.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", name, "-O", "qcow2", str(image), str(done)], check=True)
    assert image_file.look(done).size == 4 << 20 or kind == "vpc"


@pytest.mark.parametrize("tool", ["gzip", "xz", "bzip2", "zstd"])
@pytest.mark.parametrize("declared", [None, "raw", "qcow2"])
def test_a_packed_disk_is_reported(tool: str, declared: str | None, tmp_path: Path) -> None:
    packed = subprocess.run([tool, "-c", str(raw(tmp_path / "x"))], capture_output=True, check=True).stdout
    (tmp_path / "disk.img").write_bytes(packed)
    with pytest.raises(ImageError, match=f"is compressed with {tool}.*decompress it first: {tool} -d disk.img"):
        image_file.look(tmp_path / "disk.img", declared)  # type: ignore[arg-type]


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as file:
        file.add(__file__, "etc/x")


def _iso(path: Path) -> None:
    data = bytearray(64 << 10)
    data[510:512] = b"\x55\xaa"
    data[32768:32775] = b"\x01CD001\x01"
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (_tar, r"is a tar archive.*os\.tarball"),
        (_iso, r"is an ISO image"),
        (lambda path: path.write_bytes(b""), r"is empty"),
        (lambda path: path.write_bytes(b"hsqs" + bytes(4096)), r"is a squashfs image.*os\.tree"),
        (lambda path: path.write_bytes(b"LUKS\xba\xbe\0\1" + bytes(4096)), r"is encrypted \(LUKS\)"),
        (lambda path: path.write_bytes(b"<!DOCTYPE html>" + bytes(4096)), r"is a web page"),
        (lambda path: path.write_bytes(b"x" * 100), r"has 100 bytes"),
    ],
)
@pytest.mark.parametrize("declared", [None, "raw"])
def test_what_is_not_a_disk_at_all(
    make: Callable[[Path], object], what: str, declared: str | None, tmp_path: Path
) -> None:
    make(tmp_path / "disk.img")
    with pytest.raises(ImageError, match=what):
        image_file.look(tmp_path / "disk.img", declared)  # type: ignore[arg-type]


def test_a_disk_with_boot_code_may_begin_with_anything(tmp_path: Path) -> None:
    disk = raw(tmp_path / "disk.img")
    with disk.open("r+b") as file:
        file.write(b"BZh")
        file.seek(510)
        file.write(b"\x55\xaa")
    assert image_file.look(disk).format == "raw"


# -- the firmware ----------------------------------------------------------------------------------------------------


def partitioned(path: Path, script: str, code: bytes = b"") -> Path:
    raw(path, 16 << 20)
    subprocess.run(["sfdisk", "-q", str(path)], input=script.encode(), check=True)
    with path.open("r+b") as file:
        file.write(code)
    return path


GPT_UEFI = f"label: gpt\nsize=4M, type={ESP}\ntype=L\n"


@pytest.mark.parametrize(
    ("script", "code", "only"),
    [
        (GPT_UEFI, b"", True),
        (GPT_UEFI, b"\xebcode", False),
        (f"label: gpt\nsize=1M, type={BIOS_BOOT}\nsize=4M, type={ESP}\ntype=L\n", b"", False),
        ("label: gpt\ntype=L\n", b"", False),
        ("label: dos\nsize=4M, type=ef\ntype=83\n", b"", True),
        ("label: dos\nsize=4M, type=ef\ntype=83\n", b"\xebcode", False),
        ("label: dos\ntype=83\n", b"", False),
    ],
)
@pytest.mark.parametrize("format_", ["raw", "qcow2", "compressed"])
def test_a_disk_for_uefi_only(script: str, code: bytes, only: bool, format_: str, tmp_path: Path) -> None:
    disk = partitioned(tmp_path / "disk.raw", script, code)
    if format_ != "raw":
        image = tmp_path / "disk.qcow2"
        pack = ["-c"] if format_ == "compressed" else []
        subprocess.run(["qemu-img", "convert", *pack, "-O", "qcow2", str(disk), str(image)], check=True)
        disk = image
    assert image_file.firmware(image_file.look(disk), tmp_path / "log") == ("uefi" if only else None)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: raw(path, 16 << 20),
        lambda path: subprocess.run(["mke2fs", "-q", "-F", str(raw(path, 16 << 20))], check=True),
        lambda path: subprocess.run(["mkswap", "-q", str(raw(path, 16 << 20))], check=True),
    ],
)
@pytest.mark.parametrize("format_", ["raw", "qcow2"])
def test_a_disk_without_a_boot_sector(make: Callable[[Path], object], format_: str, tmp_path: Path) -> None:
    make(tmp_path / "disk.raw")
    disk = tmp_path / "disk.raw"
    if format_ == "qcow2":
        disk = tmp_path / "disk.qcow2"
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(tmp_path / "disk.raw"), str(disk)], check=True)
    assert image_file.firmware(image_file.look(disk), tmp_path / "log") == "none"


def test_heads_that_make_no_sense() -> None:
    good = bytearray(foreign.TABLE)
    good[510:512] = b"\x55\xaa"
    good[450] = 0xEE
    for width, start in ((0, 2), (127, 2), (1 << 31, 2), (128, 1 << 60), (128, 33)):
        head = bytearray(good)
        head[512:520] = b"EFI PART"
        head[584:600] = start.to_bytes(8, "little") + (1 << 31).to_bytes(4, "little") + width.to_bytes(4, "little")
        assert not foreign.uefi_only(bytes(head))
    for size in (0, 100, 511, 512, 600):
        assert not foreign.uefi_only(bytes(good[:size]))
    assert uuid.UUID(ESP) != uuid.UUID(BIOS_BOOT)


def test_snapshots_in_an_image_are_counted(tmp_path: Path) -> None:
    image = convert(tmp_path / "a.qcow2", "qcow2")
    for name in ("one", "two"):
        subprocess.run(["qemu-img", "snapshot", "-c", name, str(image)], check=True)
    looked = image_file.look(image)
    assert image_file.snapshots(looked) == 2
    image_file.check(looked, tmp_path / "log")


RECIPE = """\
name: x
os: {{image: {{path: {path}}}}}
job: {{command: "true", timeout: 5min}}
disks: {disks}
hypervisors: [kvm]
"""


@pytest.mark.parametrize(
    ("disks", "told"),
    [
        ("[{name: root, format: qcow2}]", True),
        ("[{name: root, partitions: [{mount: /, filesystem: ext4, free: 64MiB}]}]", False),
    ],
)
def test_a_recipe_learns_it_before_anything_is_built(
    disks: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    disk = partitioned(tmp_path / "cloud.raw", GPT_UEFI)
    (tmp_path / "x.yaml").write_text(RECIPE.format(path=disk, disks=disks))
    loaded = loader.load(str(tmp_path / "x.yaml"), tmp_path)
    problems = [str(problem) for problem in image.problems(loaded)]
    assert len(problems) == told
    assert not told or ("x.yaml:2:" in problems[0] and "starts on UEFI only" in problems[0])
    bare = raw(tmp_path / "bare.raw", 16 << 20)
    (tmp_path / "x.yaml").write_text(RECIPE.format(path=bare, disks=disks))
    bare_problems = [str(one) for one in image.problems(loader.load(str(tmp_path / "x.yaml"), tmp_path))]
    assert len(bare_problems) == told and (not told or "is not a boot sector" in bare_problems[0])
    (tmp_path / "x.yaml").write_text(RECIPE.format(path=convert(tmp_path / "d.vmdk", "vmdk"), disks=disks))
    (problem,) = image.problems(loader.load(str(tmp_path / "x.yaml"), tmp_path))
    assert "qemu-img convert -f vmdk" in str(problem)
