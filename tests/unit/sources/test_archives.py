"""Archives as strangers and clumsy people make them: bombs, what is not a root tree, and what must not get lost."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import shlex
import struct
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from roost.customize.unpack import unpack
from roost.errors import ImageError, RoostError, UsageError
from roost.events import Silent, Stages
from roost.sources import addition, attributes, bounds, given_tree
from roost.sources.given_tree import GivenTree
from roost.store.cache import Cache
from tests.unit.sources.test_oci import archive, container, entry, layer, seen

ROOT = [
    entry("etc", "directory"),
    entry("etc/passwd", data=b"root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n"),
    entry("etc/group", data=b"root:x:0:\nstaff:x:50:\n"),
    entry("bin", "directory"),
    entry("bin/busybox", data=b"\x7fELF", mode=0o755),
    entry("bin/sh", "link", link="busybox"),
]

Take = Callable[[Path], GivenTree]


@pytest.fixture
def take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Take:
    """Return what makes the tree of an archive, in a cache of its own."""
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(bounds.VARIABLE, raising=False)

    def taken(path: Path) -> GivenTree:
        stages = Stages(Silent())
        return given_tree.of_archive(path, "0" * 64, Cache(tmp_path / "cache"), stages, tmp_path / "source.log")

    return taken


@pytest.fixture
def quick() -> Iterator[None]:
    """Insist that a refusal takes seconds, not minutes."""
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < 20


def holes(path: Path, size: int) -> None:
    path.touch()
    os.truncate(path, size)


def tar(*words: str | Path, cwd: Path) -> None:
    subprocess.run(["tar", *map(str, words)], cwd=cwd, check=True, capture_output=True)


# -- more than it may hold -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "form",
    [
        ["--format=gnu"],
        ["--format=oldgnu"],
        ["--format=pax", "--sparse-version=0.0"],
        ["--format=pax", "--sparse-version=0.1"],
        ["--format=pax", "--sparse-version=1.0"],
    ],
)
@pytest.mark.parametrize("packed", [[], ["--gzip"], ["--zstd"]])
def test_a_sparse_file_of_terabytes(form: list[str], packed: list[str], take: Take, tmp_path: Path) -> None:
    holes(tmp_path / "sp", 4 << 40)
    tar(*form, *packed, "-S", "-c", "-f", "sparse.tar", "sp", cwd=tmp_path)
    with pytest.raises(ImageError) as caught:
        take(tmp_path / "sparse.tar")
    assert "the sparse file sp has 4 TiB" in str(caught.value)
    assert "4 GiB" in str(caught.value)
    assert bounds.VARIABLE in str(caught.value)


def huge(name: str, size: int) -> bytes:
    """Return the header of a file of `size` bytes, without the bytes."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("tool", ["cat", "gzip", "bzip2", "xz", "zstd", "lzma"])
def test_a_member_that_says_it_is_huge(tool: str, take: Take, tmp_path: Path) -> None:
    data = huge("var/huge", 1 << 40) + bytes(1 << 20)
    argv = [tool] if tool == "cat" else ["xz", "--format=lzma"] if tool == "lzma" else [tool, "-c"]
    packed = subprocess.run(argv, input=data, capture_output=True, check=True).stdout
    (tmp_path / "x.tar").write_bytes(packed)
    with pytest.raises(ImageError, match="the file var/huge has 1 TiB"):
        take(tmp_path / "x.tar")


@pytest.mark.parametrize("tool", ["gzip", "bzip2", "xz", "zstd"])
def test_a_bomb_stops_where_the_limit_is(
    tool: str, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(bounds.VARIABLE, "8MiB")
    plain = archive(tmp_path / "plain", [*ROOT, *(entry(f"zeros{n}", data=bytes(1 << 20)) for n in range(10))])
    packed = subprocess.run([tool, "-c"], input=plain.read_bytes(), capture_output=True, check=True).stdout
    (tmp_path / "bomb").write_bytes(packed)
    with pytest.raises(ImageError, match=r"the file zeros7 has 1 MiB, 8 MiB with what is before it"):
        take(tmp_path / "bomb")
    monkeypatch.setenv(bounds.VARIABLE, "64MiB")
    assert take(tmp_path / "bomb").facts.rooted


@pytest.mark.usefixtures("quick")
def test_zeros_for_ever_after_the_end(take: Take, tmp_path: Path) -> None:
    path = archive(tmp_path / "x.tar", ROOT)
    os.truncate(path, 1 << 40)
    with pytest.raises(ImageError, match="of zeros follow the archive"):
        take(path)


@pytest.mark.usefixtures("quick")
def test_layers_that_are_named_again_and_again(take: Take, tmp_path: Path) -> None:
    name = "blobs/sha256/" + "0" * 64
    described = json.dumps([{"Layers": [name] * 100_000}]).encode()
    path = archive(tmp_path / "x.tar", [entry(name, data=bytes(1 << 20)), entry("manifest.json", data=described)])
    with pytest.raises(ImageError, match="100000 layers"):
        take(path)


def test_layers_count_together(take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(bounds.VARIABLE, "4MiB")
    layers = [gzip.compress(layer(tmp_path, entry(f"zeros{n}", data=bytes(1 << 20)))) for n in range(6)]
    with pytest.raises(ImageError, match="the file zeros3 has 1 MiB"):
        take(container(tmp_path / "x.tar", layers, oci=True))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_headers_of_gigabytes_are_not_read(kind: bytes, take: Take, tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, 6 << 30
    path = tmp_path / "x.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    os.truncate(path, 7 << 30)
    with pytest.raises(ImageError, match="header of more than 4 MiB"):
        take(path)


@pytest.mark.usefixtures("quick")
def test_headers_before_headers(take: Take, tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 4
    (tmp_path / "x.tar").write_bytes((info.tobuf(tarfile.GNU_FORMAT) + b"abc".ljust(512, b"\0")) * 5000)
    with pytest.raises(ImageError, match="not a complete tar archive"):
        take(tmp_path / "x.tar")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("sizes", "size"),
    [([(0, 512), (0, 512)], 4096), ([(2048, 512), (0, 512)], 4096), ([(0, 512), (8192, 512)], 4096)],
)
def test_maps_of_sparse_files_that_make_no_sense(
    sizes: list[tuple[int, int]], size: int, take: Take, tmp_path: Path
) -> None:
    text = f"{len(sizes)}\n" + "".join(f"{at}\n{length}\n" for at, length in sizes)
    data = text.encode().ljust(512, b"\0") + bytes(512 * len(sizes))
    info, _ = entry("GNUSparseFile.0/x", data=data)
    info.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x", "GNU.sparse.realsize": str(size),
    }  # fmt: skip
    with pytest.raises(ImageError, match="map of the sparse file x is not valid"):
        take(archive(tmp_path / "x.tar", [*ROOT, (info, data)]))


def test_more_names_than_a_tree_has(take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(bounds.NAMES, raising=False)
    monkeypatch.setattr(bounds, "MOST_NAMES", 50)
    with pytest.raises(ImageError, match="more than 50 members"):
        take(archive(tmp_path / "x.tar", [*ROOT, *(entry(f"n{n}") for n in range(60))]))
    monkeypatch.setenv(bounds.NAMES, "70")
    assert take(tmp_path / "x.tar").facts.names > 60
    monkeypatch.setenv(bounds.NAMES, "all")
    with pytest.raises(UsageError, match=bounds.NAMES):
        bounds.most_names()


def test_the_limit_of_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(bounds.VARIABLE, raising=False)
    assert [bounds.limit(size) >> 30 for size in (10, 100 << 20, 10 << 30)] == [4, 24, 64]
    monkeypatch.setenv(bounds.VARIABLE, "1TiB")
    assert bounds.limit(10) == 1 << 40
    for wrong in ("many", "-1", "0"):
        monkeypatch.setenv(bounds.VARIABLE, wrong)
        with pytest.raises(UsageError, match=bounds.VARIABLE):
            bounds.limit(10)


@pytest.mark.usefixtures("quick")
def test_a_directory_with_a_sparse_file_of_terabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    tree = tmp_path / "tree"
    (tree / "var").mkdir(parents=True)
    holes(tree / "var/sp", 4 << 40)
    with pytest.raises(ImageError, match=r"var/sp 4 TiB of them.*4 GiB"):
        given_tree.of_directory(tree, Cache(tmp_path / "cache"), Stages(Silent()), tmp_path / "log")


# -- what is not a root tree -----------------------------------------------------------------------------------------


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("etc/passwd", "root")


def _deb(path: Path) -> None:
    path.write_bytes(b"!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n")


def _disk(path: Path) -> None:
    path.write_bytes(bytes(510) + b"\x55\xaa" + bytes(1 << 20))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (_zip, "is a zip archive, not a tar archive"),
        (_deb, "is a Debian package"),
        (_disk, "looks like a disk image.*os.image"),
        (lambda path: path.write_bytes(b"<!DOCTYPE html><title>404</title>"), "is a web page"),
        (lambda path: path.write_bytes(b"QFI\xfb" + bytes(1000)), "is a qcow2 disk image.*os.image"),
        (lambda path: path.write_bytes(b"\x7fELF" + bytes(1000)), "is a program"),
        (lambda path: path.write_bytes(gzip.compress(b"QFI\xfb" + bytes(1000))), "is a qcow2 disk image"),
        (lambda path: path.write_bytes(gzip.compress(b"only text\n")), "not a complete tar archive"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(gzip.compress(b"")), "is empty"),
        (lambda path: path.write_bytes(b"\x28\xb5\x2f\xfdxx"), "not a complete zstd file"),
        (lambda path: archive(path, []), "is empty"),
        (lambda path: archive(path, [entry("notes.txt", data=b"x")]), "has no programs"),
        (lambda path: archive(path, [entry("a-1.0/etc/x"), entry("a-1.0/lib/y.c")]), "has no programs"),
        (lambda path: archive(path, [entry("etc/x"), entry("bin/readme", data=b"x")]), "has no programs"),
    ],
)
def test_what_is_not_a_root_tree(make: Callable[[Path], object], what: str, take: Take, tmp_path: Path) -> None:
    make(tmp_path / "source")
    with pytest.raises(ImageError, match=what):
        take(tmp_path / "source")


def _bytes(path: Path, compress: Callable[[bytes], bytes]) -> bytes:
    return compress(archive(path, [entry("etc/x", data=bytes(range(256)) * 400), entry("bin/y")]).read_bytes())


@pytest.mark.parametrize(
    ("compress", "named", "why"),
    [
        (lambda data: data[:700], "tar archive", "it is cut off"),
        (lambda data: data[:60_000], "tar archive", "it is cut off"),
        (lambda data: b"x" * 700, "tar archive", "it is in another format"),
        (lambda data: gzip.compress(data)[:-100], "gzip file", "it is cut off"),
        (lambda data: gzip.compress(data)[:-8] + bytes(8), "gzip file", "its data is damaged"),
        (lambda data: bz2.compress(data)[:-50], "bzip2 file", "it is cut off"),
        (lambda data: bz2.compress(data)[:40] + bytes(80), "bzip2 file", "its data is damaged"),
        (lambda data: lzma.compress(data)[:-50], "xz file", "it is cut off"),
        (lambda data: lzma.compress(data)[:40] + bytes(80), "xz file", "its data is damaged"),
    ],
)
def test_damage_is_told_in_plain_words(
    compress: Callable[[bytes], bytes], named: str, why: str, take: Take, tmp_path: Path
) -> None:
    (tmp_path / "source").write_bytes(_bytes(tmp_path / "in.tar", compress))
    with pytest.raises(ImageError) as caught:
        take(tmp_path / "source")
    assert caught.value.problem.what == f"source is not a complete {named}: {why}"


def test_a_path_that_leads_out_is_told_with_its_archive(take: Take, tmp_path: Path) -> None:
    archive(tmp_path / "source", [entry("etc/x"), entry("bin/y"), entry("../../passwd")])
    with pytest.raises(ImageError) as caught:
        take(tmp_path / "source")
    assert caught.value.problem.what == "source: the archive has a path that leads out of it: ../../passwd"
    assert "from inside" in (caught.value.problem.hint or "")


@pytest.mark.parametrize("below", ["rootfs", "home/me/rootfs", "./rootfs", "/srv/images/a b"])
@pytest.mark.parametrize("beside", [[], [entry("metadata.yaml", data=b"architecture: x86_64\n")]])
def test_a_tree_below_one_directory(
    below: str, beside: list[tuple[tarfile.TarInfo, bytes]], take: Take, tmp_path: Path
) -> None:
    inside = []
    for info, data in ROOT:
        copy = tarfile.TarInfo.frombuf(info.tobuf(), "utf-8", "strict")
        copy.name = f"{below}/{info.name}"
        inside.append((copy, data))
    with pytest.raises(ImageError) as caught:
        take(archive(tmp_path / "rootfs.tar", [*beside, *inside]))
    name = below.removeprefix(".").removeprefix("/")
    assert f"not a root tree: the tree is below {name}/ in it" in str(caught.value)
    assert f"tar -C {shlex.quote(name)} -cf ARCHIVE ." in str(caught.value)


def test_a_container_may_be_a_single_program(take: Take, tmp_path: Path) -> None:
    program = layer(tmp_path, entry("app", data=b"\x7fELF", mode=0o755))
    assert take(container(tmp_path / "x.tar", [program], oci=False)).facts.names > 0


def test_two_archives_in_one_file(take: Take, tmp_path: Path) -> None:
    one = archive(tmp_path / "one", ROOT).read_bytes()
    (tmp_path / "both.tar").write_bytes(one + archive(tmp_path / "two", [entry("opt/lost")]).read_bytes())
    with pytest.raises(ImageError, match="data follows the end of the archive"):
        take(tmp_path / "both.tar")


@pytest.mark.parametrize(("machine", "fits"), [(62, True), (3, True), (183, False), (243, False)])
def test_programs_for_another_machine(machine: int, fits: bool, take: Take, tmp_path: Path) -> None:
    program = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, machine) + bytes(100)
    entries = [*ROOT[:4], entry("bin/sh", data=program, mode=0o755)]
    refused = addition.refusal(take(archive(tmp_path / "x.tar", entries)))
    assert (refused is None) is fits
    assert fits or "not for x86-64" in str(refused)


def _image(tmp_path: Path, *platforms: tuple[str, str, str]) -> Path:
    """Write an OCI archive with an image for each (os, architecture, variant); each has /etc/which with its place."""
    entries: dict[str, bytes] = {"oci-layout": b"{}"}

    def blob(data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        entries[f"blobs/sha256/{digest}"] = data
        return f"sha256:{digest}"

    manifests = []
    for number, (system, architecture, variant) in enumerate(platforms):
        content = blob(layer(tmp_path, entry("etc/which", data=str(number).encode())))
        config = blob(json.dumps({"os": system, "architecture": architecture}).encode())
        image = json.dumps({"config": {"digest": config}, "layers": [{"digest": content}]}).encode()
        platform = {"os": system, "architecture": architecture, **({"variant": variant} if variant else {})}
        manifests.append({"digest": blob(image), **({"platform": platform} if len(platforms) > 1 else {})})
    entries["index.json"] = json.dumps({"manifests": manifests}).encode()
    return archive(tmp_path / "oci.tar", [entry(name, data=data) for name, data in entries.items()])


@pytest.mark.parametrize(
    ("platforms", "which"),
    [
        ([("linux", "arm64", "v8"), ("linux", "amd64", "")], 1),
        ([("unknown", "unknown", ""), ("linux", "amd64", "")], 1),
        ([("linux", "amd64", "v3"), ("linux", "amd64", ""), ("linux", "s390x", "")], 1),
        ([("linux", "amd64", "v2"), ("linux", "386", "")], 0),
    ],
)
def test_the_platform_is_looked_for(
    platforms: list[tuple[str, str, str]], which: int, take: Take, tmp_path: Path
) -> None:
    base = take(_image(tmp_path, *platforms))
    assert seen(base.tar)["./etc/which"] == str(which)


@pytest.mark.parametrize(
    ("platforms", "what"),
    [
        ([("linux", "arm64", "v8")], "is for linux/arm64, not linux/amd64"),
        ([("windows", "amd64", "")], "is for windows/amd64"),
        ([("linux", "arm64", ""), ("linux", "386", "")], "holds 0 images for linux/amd64.*linux/386, linux/arm64"),
    ],
)
def test_another_platform_alone(platforms: list[tuple[str, str, str]], what: str, take: Take, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=what):
        take(_image(tmp_path, *platforms))


def test_a_container_image_without_one_of_its_layers(take: Take, tmp_path: Path) -> None:
    manifest = json.dumps([{"Layers": ["blobs/sha256/" + "1" * 64]}]).encode()
    with pytest.raises(ImageError, match=r"1111.*is not in it"):
        take(archive(tmp_path / "x.tar", [entry("manifest.json", data=manifest)]))


# -- what must not get lost ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "owner", "becomes"), [(0o700, 1000, 0o755), (0o777, 0, 0o755), (0o555, 7, 0o555), (0o2750, 0, 0o755)]
)
def test_the_root_directory_is_roots(mode: int, owner: int, becomes: int, take: Take, tmp_path: Path) -> None:
    root, _ = entry("./", "directory", mode=mode, uid=owner, gid=owner)
    root.pax_headers = {"SCHILY.acl.default": "user::rwx,group::---,other::---"}
    base = take(archive(tmp_path / "x.tar", [(root, b""), *ROOT]))
    with tarfile.open(base.tar) as made:
        first = made.next()
    assert first is not None
    assert (first.name, first.mode, first.uid, first.gid, first.pax_headers) == (".", becomes, 0, 0, {})
    (note,) = base.facts.notes
    assert f"mode {mode:04o}" in note
    assert f"{owner}:{owner}" in note
    assert f"it has {becomes:04o} and is root's" in note


@pytest.mark.parametrize("mode", [0o755, 0o555])
def test_a_root_directory_as_it_should_be_is_not_worth_a_word(mode: int, take: Take, tmp_path: Path) -> None:
    base = take(archive(tmp_path / "x.tar", [entry("./", "directory", mode=mode), *ROOT]))
    assert base.facts.notes == ()


def test_a_tree_that_is_nobody_elses(take: Take, tmp_path: Path) -> None:
    (tmp_path / "tree/bin").mkdir(parents=True)
    (tmp_path / "tree/etc").mkdir()
    (tmp_path / "tree/bin/sh").symlink_to("busybox")
    tar("-C", "tree", "--owner=1000", "--group=1000", "--mode=u+rwx,go=", "-cf", "x.tar", ".", cwd=tmp_path)
    notes = take(tmp_path / "x.tar").facts.notes
    assert any("everything in the source belongs to 1000:1000" in note for note in notes)
    assert any("root directory of the source has mode 0700" in note for note in notes)


def test_one_layer_of_a_container_alone(take: Take, tmp_path: Path) -> None:
    notes = take(archive(tmp_path / "x.tar", [*ROOT, entry("etc/.wh.motd")])).facts.notes
    assert any("1 names of the source begin with .wh." in note for note in notes)


def _attribute(records: dict[str, str]) -> tuple[tarfile.TarInfo, bytes]:
    info, data = entry("bin/ping", data=b"ping", mode=0o755)
    info.pax_headers = records
    return info, data


ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *one)
    for one in [(1, 7, 2**32 - 1), (2, 5, 1000), (4, 5, 2**32 - 1), (8, 4, 50), (16, 5, 2**32 - 1), (32, 0, 2**32 - 1)]
)


@pytest.mark.parametrize(
    ("records", "kept"),
    [
        ({"SCHILY.xattr.security.selinux": "system_u:object_r:bin_t:s0\0"}, "SCHILY.xattr.security.selinux"),
        ({"RHT.security.selinux": "system_u:object_r:bin_t:s0"}, "SCHILY.xattr.security.selinux"),
        ({"SCHILY.xattr.security.capability": "\1\0\0\2"}, "SCHILY.xattr.security.capability"),
        ({"LIBARCHIVE.xattr.security.capability": "AQAAAgAgAAAAAAAAAAAAAAAAAAA"}, "SCHILY.xattr.security.capability"),
        ({"LIBARCHIVE.xattr.user.a%3Db": "eA"}, "SCHILY.xattr.user.a%3Db"),
        (
            {"SCHILY.acl.access": "user::rwx,user:ann:r-x,group::r-x,group:staff:r--,mask::r-x,other::---"},
            "SCHILY.xattr.system.posix_acl_access",
        ),
    ],
)
def test_attributes_of_every_tool_are_kept(records: dict[str, str], kept: str, take: Take, tmp_path: Path) -> None:
    base = take(archive(tmp_path / "x.tar", [*ROOT, _attribute(records)]))
    with tarfile.open(base.tar, errors="surrogateescape") as made:
        found = made.getmember("./bin/ping").pax_headers
    assert found.keys() - {"hdrcharset"} == {kept}
    if "acl" in kept:
        assert found[kept].encode("utf-8", "surrogateescape") == ACL
    assert base.facts.notes == ()
    assert base.facts.labels == (kept == attributes.LABEL)


def test_attributes_that_are_left_out_are_reported(take: Take, tmp_path: Path) -> None:
    records = {
        "SCHILY.xattr.security.ima": "x",
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.acl.access": "user::rwx,user:stranger:r-x,group::r-x,mask::r-x,other::---",
    }
    (note,) = take(archive(tmp_path / "x.tar", [*ROOT, _attribute(records)])).facts.notes
    assert "security.ima (1 files)" in note
    assert "posix_acl_access (1 files)" in note
    assert "overlay" not in note


@pytest.mark.parametrize("labelled", [True, False])
def test_what_has_no_label_in_an_enforcing_system_is_reported(labelled: bool, take: Take, tmp_path: Path) -> None:
    entries = [
        *ROOT,
        entry("etc/selinux/config", data=b"# x\nSELINUX=enforcing\nSELINUXTYPE=targeted\n"),
        entry("etc/selinux/targeted/policy/policy.33", data=b"p"),
    ]
    entries += [_attribute({"RHT.security.selinux": "system_u:object_r:bin_t:s0"})] if labelled else []
    notes = list(addition.notes(take(archive(tmp_path / "x.tar", entries))))
    assert any("SELinux is enforcing in the source" in note and "setfiles" in note for note in notes)
    assert any("what roost adds has no labels" in note for note in notes) is (labelled and os.geteuid() == 0)


@pytest.mark.parametrize("time_", ["inf", "-5", "nan", "1e300", "99999999999999"])
def test_times_that_there_are_not(time_: str, take: Take, tmp_path: Path) -> None:
    info, data = entry("opt", data=b"x")
    info.pax_headers = {"mtime": time_}
    base = take(archive(tmp_path / "x.tar", [*ROOT, (info, data)]))
    assert 0 < base.facts.epoch < 1 << 35


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (entry("n" * 256), "no file system allows"),
        (entry("/".join(["d" * 200] * 30)), "no file system allows"),
        (entry("l", "link", link="x" * 5000), "no file system allows"),
        (entry("l", "link", link=""), "no file system allows"),
        (entry("f", uid=2**32 - 1), "Linux has no such ids"),
        (entry("f", gid=-2), "Linux has no such ids"),
    ],
)
def test_what_no_file_system_takes(bad: tuple[tarfile.TarInfo, bytes], what: str, take: Take, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=what):
        take(archive(tmp_path / "x.tar", [*ROOT, bad]))


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar", "v7", "oldgnu"])
def test_real_tars_of_every_form(form: str, take: Take, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "etc").mkdir()
    (tree / "bin/busybox").write_bytes(b"\x7fELF")
    (tree / "bin/busybox").chmod(0o755)
    os.link(tree / "bin/busybox", tree / "bin/sh")
    long = "n" * (90 if form == "v7" else 200 if form in {"gnu", "pax", "oldgnu"} else 90)
    (tree / "etc" / long).write_text("long")
    (tree / "etc/holes").write_bytes(b"begin" + bytes(1 << 20) + b"end")
    sparse = ["-S"] if form in {"gnu", "pax", "oldgnu"} else []
    tar("-C", tree, f"--format={form}", *sparse, "-cf", "x.tar", ".", cwd=tmp_path)
    made = seen(take(tmp_path / "x.tar").tar)
    assert made["./bin/sh"] == "= ./bin/busybox"
    assert made[f"./etc/{long}"] == "long"
    assert made["./etc/holes"] == "begin" + "\0" * (1 << 20) + "end"


def test_nothing_but_errors_of_roost_for_whatever_bytes(take: Take, tmp_path: Path) -> None:
    for data in (b"\x1f\x8b", b"\xfd7zXZ\0" + b"x" * 600, b"\x28\xb5\x2f\xfdx", b"BZh9x", b"070701" + b"0" * 600):
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(RoostError):
            take(tmp_path / "x")
    with pytest.raises(RoostError):
        info = tarfile.TarInfo("x")
        info.type, info.size = tarfile.XHDTYPE, 20
        raw = io.BytesIO(info.tobuf(tarfile.GNU_FORMAT) + b"99999999999999999999 x=y\n".ljust(512, b"\0"))
        (tmp_path / "x").write_bytes(raw.getvalue())
        take(tmp_path / "x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may set SELinux labels")
def test_attributes_reach_the_file_system_of_the_image(take: Take, tmp_path: Path) -> None:
    records = {
        "RHT.security.selinux": "system_u:object_r:bin_t:s0",
        "SCHILY.xattr.security.capability": (b"\1\0\0\2" + b"\0\x20" + bytes(14)).decode("utf-8", "surrogateescape"),
        "SCHILY.acl.access": "user::rwx,user:ann:r-x,group::r-x,group:staff:r--,mask::r-x,other::---",
    }
    base = take(archive(tmp_path / "x.tar", [*ROOT, _attribute(records)]))
    unpack(base.tar, tmp_path / "tree", tmp_path / "unpack.log")
    disk = tmp_path / "disk"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tmp_path / "tree", disk, "8M"], check=True)
    listed = subprocess.run(["debugfs", "-R", "ea_list /bin/ping", disk], capture_output=True, text=True, check=True)
    assert "security.selinux" in listed.stdout
    assert "system_u:object_r:bin_t:s0" in listed.stdout
    assert "security.capability (20)" in listed.stdout
    assert "posix_acl_access" in listed.stdout


def test_a_tree_is_tied_to_a_machine_as_an_image_is(take: Take, tmp_path: Path) -> None:
    link = "/etc/systemd/network/10.link"
    entries = [*ROOT, entry(link[1:], data=b"[Match]\nMACAddress=52:54:00:aa:bb:cc\n")]
    entries += [
        entry("etc/fstab", data=b"host:/x /x nfs\n"),
        entry("etc/network/interfaces", data=b"address 10.0.0.5\n"),
    ]
    base = take(archive(tmp_path / "x.tar", entries))
    assert [note.partition(": ")[0] for note in addition.notes(base)] == [f"{link}:2"]
    assert len(list(addition.notes(base, network=True))) == 2
    assert list(addition.notes(base, kept=[link])) == []
    assert (
        given_tree.of_archive(tmp_path / "x.tar", "0" * 64, Cache(tmp_path / "cache"), Stages(Silent()), tmp_path)
        == base
    )


@pytest.mark.parametrize("name", ["BZh9", "PK\x03\x04", "QFI", "070701"])
def test_a_tar_may_begin_with_any_name(name: str, take: Take, tmp_path: Path) -> None:
    assert take(archive(tmp_path / "x.tar", [entry(name), *ROOT])).facts.rooted


def test_a_sparse_file_with_less_data_than_its_map_says(take: Take, tmp_path: Path) -> None:
    data = b"1\n0\n4096\n".ljust(512, b"\0")
    info, _ = entry("GNUSparseFile.0/x", data=data)
    info.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "zzz", "GNU.sparse.realsize": "9000",
    }  # fmt: skip
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as made:
        for one, content in [*ROOT, (info, data)]:
            made.addfile(one, io.BytesIO(content))
        end = made.offset
    # tar pads an archive to 10 KiB: in there it would find some data.
    os.truncate(path, end + 1024)
    with pytest.raises(ImageError, match="cut off in the archive"):
        take(path)
