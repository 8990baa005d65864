"""Root trees out of archives from strangers: what layers do to each other, and that no name leads out of the tree."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roost.errors import ImageError
from roost.sources import canonical, layers
from roost.sources.tree_facts import TreeFacts


def entry(
    name: str, kind: str = "file", data: bytes = b"", link: str = "", **fields: int
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = {
        "file": tarfile.REGTYPE,
        "directory": tarfile.DIRTYPE,
        "link": tarfile.SYMTYPE,
        "hard": tarfile.LNKTYPE,
        "device": tarfile.CHRTYPE,
        "fifo": tarfile.FIFOTYPE,
    }[kind]
    info.linkname, info.size = link, len(data)
    info.mode = 0o755 if kind == "directory" else 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def archive(path: Path, entries: Iterable[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return path


def write(tmp_path: Path, *layers: Iterable[tuple[tarfile.TarInfo, bytes]]) -> dict[str, str]:
    """Return the canonical tree as name → what is there: content, `-> target`, `= other name`, or `/`."""
    paths = [archive(tmp_path / f"{number}.tar", layer) for number, layer in enumerate(layers)]
    canonical.write(paths, tmp_path / "out.tar", whiteouts=True, epoch=None)
    return seen(tmp_path / "out.tar")


def seen(path: Path) -> dict[str, str]:
    found = {}
    with tarfile.open(path) as tar:
        for member in tar:
            if member.isdir():
                found[member.name] = "/"
            elif member.issym():
                found[member.name] = f"-> {member.linkname}"
            elif member.islnk():
                found[member.name] = f"= {member.linkname}"
            else:
                file = tar.extractfile(member)
                found[member.name] = file.read().decode() if file else "fifo"
    return {name: what for name, what in found.items() if what != "/"}


def test_upper_layers_replace_add_and_take_away(tmp_path: Path) -> None:
    lower = [entry("etc/a", data=b"1"), entry("etc/b", data=b"2"), entry("d/x", data=b"3"), entry("d/y", data=b"4")]
    upper = [
        entry("etc/.wh.a"),
        entry("etc/b", data=b"new"),
        entry("d/.wh..wh..opq"),
        entry("d/z", data=b"5"),
        entry("c", "link", link="etc/b"),
    ]
    assert write(tmp_path, lower, upper) == {"./c": "-> etc/b", "./d/z": "5", "./etc/b": "new"}


def test_a_whiteout_takes_nothing_of_its_own_layer(tmp_path: Path) -> None:
    layer = [entry("etc/a", data=b"new"), entry("etc/.wh.a"), entry("d/x", data=b"x"), entry("d/.wh..wh..opq")]
    assert write(tmp_path, [entry("etc/a", data=b"old"), entry("d/old")], layer) == {"./d/x": "x", "./etc/a": "new"}


def test_a_hard_link_keeps_its_bytes_when_its_target_is_replaced(tmp_path: Path) -> None:
    lower = [entry("a", data=b"old"), entry("b", "hard", link="a")]
    assert write(tmp_path, lower) == {"./a": "old", "./b": "= ./a"}
    assert write(tmp_path, lower, [entry("a", data=b"new")]) == {"./a": "new", "./b": "old"}


def test_a_file_put_through_a_link_lands_in_the_tree(tmp_path: Path) -> None:
    lower = [
        entry("usr/lib", "directory"),
        entry("lib", "link", link="usr/lib"),
        entry("out", "link", link="/../../etc"),
    ]
    upper = [entry("lib/modules/m.ko", data=b"m"), entry("out/passwd", data=b"p")]
    found = write(tmp_path, lower, upper)
    assert found["./usr/lib/modules/m.ko"] == "m"
    assert found["./etc/passwd"] == "p"
    assert found["./out"] == "-> /../../etc"


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ([entry("../etc/passwd")], "leads out of it"),
        ([entry("a/../../b")], "leads out of it"),
        ([entry("a", "hard", link="../../etc/shadow")], "leads out of it"),
        ([entry("a", "hard", link="nowhere")], "which is not a file"),
        ([entry("a", "link", link="b"), entry("b", "link", link="a"), entry("a/c")], "loop of links"),
        ([entry("/".join("d" * 300))], "no file system allows"),
    ],
)
def test_what_is_refused(entries: list[tuple[tarfile.TarInfo, bytes]], what: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=what):
        write(tmp_path, entries)
    assert not (tmp_path / "out.tar").exists() or tmp_path.joinpath("out.tar").stat().st_size == 0


def test_absolute_names_devices_and_marks(tmp_path: Path) -> None:
    entries = [
        entry("/etc/hostname", data=b"h"),
        entry("var/spool/null", "device"),
        entry("dev/console", data=b""),
        entry("proc/1/mem", data=b""),
        entry(".dockerenv"),
        entry("pipe", "fifo"),
    ]
    path = archive(tmp_path / "in.tar", entries)
    facts = canonical.write([path], tmp_path / "out.tar", whiteouts=False, epoch=None)
    assert seen(tmp_path / "out.tar") == {"./etc/hostname": "h", "./pipe": "fifo"}
    assert facts.dropped == 1


def test_owners_modes_times_and_attributes(tmp_path: Path) -> None:
    info, data = entry("bin/ping", data=b"x", mode=0o4755, uid=7, gid=8, mtime=5000)
    info.pax_headers = {
        "SCHILY.xattr.security.capability": "\x01\0\0\x02",
        "SCHILY.xattr.security.selinux": "x",
        "k": "v",
    }
    stranger, _ = entry("theirs", uid=65534, gid=65534, mtime=9)
    path = archive(tmp_path / "in.tar", [(info, data), (stranger, b"")])
    facts = canonical.write([path], tmp_path / "out.tar", whiteouts=False, epoch=1000, strangers=True)
    with tarfile.open(tmp_path / "out.tar") as tar:
        ping, theirs = tar.getmember("./bin/ping"), tar.getmember("./theirs")
    assert (ping.mode, ping.uid, ping.gid, ping.mtime) == (0o4755, 7, 8, 1000)
    assert (theirs.uid, theirs.gid, theirs.mtime) == (0, 0, 9)
    assert ping.pax_headers == {
        "SCHILY.xattr.security.capability": "\x01\0\0\x02",
        "SCHILY.xattr.security.selinux": "x",
    }
    assert facts.epoch == 1000
    canonical.write([path], tmp_path / "out.tar", whiteouts=False, epoch=None, strangers=True)
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert tar.getmember("./bin/ping").mtime == 5000


def test_the_same_names_in_another_order_are_the_same_bytes(tmp_path: Path) -> None:
    entries = [entry("b", data=b"1"), entry("a/c", data=b"2"), entry("a", "directory", mtime=3), entry("é", data=b"3")]
    made = []
    for order in (entries, entries[::-1]):
        path = archive(tmp_path / "in.tar", order)
        canonical.write([path], tmp_path / "out.tar", whiteouts=False, epoch=None)
        made.append((tmp_path / "out.tar").read_bytes())
    assert made[0] == made[1]


def test_what_a_tree_is(tmp_path: Path) -> None:
    def facts(*entries: tuple[tarfile.TarInfo, bytes]) -> TreeFacts:
        path = archive(tmp_path / "in.tar", entries)
        return canonical.write([path], tmp_path / "out.tar", whiteouts=False, epoch=None)

    release = entry("usr/lib/os-release", data=b'ID=debian\nVERSION_CODENAME="bookworm"\n')
    links = [
        entry("bin", "link", link="usr/bin"),
        entry("sbin", "link", link="usr/sbin"),
        entry("lib", "link", link="usr/lib"),
    ]
    systemd = entry("usr/lib/systemd/systemd", data=b"ELF")
    full = facts(
        *links,
        release,
        systemd,
        entry("usr/sbin/init", "link", link="../lib/systemd/systemd"),
        entry("usr/bin/dash", data=b"ELF"),
        entry("usr/bin/sh", "link", link="dash"),
        entry("boot/vmlinuz-6.1", data=b"k"),
        entry("boot/initrd.img-6.1", data=b"i"),
        entry("boot/vmlinuz-old", "link", link="/etc/shadow"),
    )
    assert (full.init, full.shell, full.systemd) == ("systemd", True, True)
    assert (full.kernels, full.initrds) == (("vmlinuz-6.1",), ("initrd.img-6.1",))
    assert full.os == {"ID": "debian", "VERSION_CODENAME": "bookworm"}
    assert TreeFacts.from_json(json.loads(json.dumps(full.to_json()))) == full
    assert facts(release).init == "none"
    assert facts(systemd).init == "none"
    busybox = entry("bin/busybox", data=b"ELF")
    assert facts(busybox, entry("sbin/init", "link", link="/bin/busybox")).init == "busybox"
    assert facts(busybox, entry("sbin/init", "hard", link="bin/busybox")).init == "busybox"
    assert facts(busybox, entry("sbin/init", data=b"sysvinit")).init == "other"


def test_commands_that_are_missing_become_links(tmp_path: Path) -> None:
    entries = [entry("bin", "link", link="usr/bin"), entry("usr/bin/ls", data=b"own"), entry("usr/sbin", "directory")]
    path = archive(tmp_path / "in.tar", entries)
    links = {"/bin/ls": "/b", "/usr/sbin/ls": "/b", "/bin/cat": "/b", "/sbin/init": "/b"}
    canonical.write([path], tmp_path / "out.tar", whiteouts=False, epoch=None, links=links)
    assert seen(tmp_path / "out.tar") == {
        "./bin": "-> usr/bin",
        "./sbin/init": "-> /b",
        "./usr/bin/cat": "-> /b",
        "./usr/bin/ls": "own",
    }


_names = st.lists(st.sampled_from(["a", "b", "usr", "..", ".wh.a", ".wh..wh..opq", "."]), min_size=1, max_size=4).map(
    "/".join
)
_entries = st.builds(
    entry,
    _names,
    st.sampled_from(["file", "directory", "link", "hard", "fifo", "device"]),
    link=st.sampled_from(["a", "../../..", "/a/b", "usr/a", "b", ".", ""]),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(_entries, max_size=8), min_size=1, max_size=3))
def test_no_name_ever_lies_behind_a_link_or_outside(
    tmp_path: Path, layers: list[list[tuple[tarfile.TarInfo, bytes]]]
) -> None:
    for layer in layers:
        for info, _ in layer:
            info.size = 0
    try:
        write(tmp_path, *layers)
    except ImageError:
        return
    kinds: dict[str, bool] = {}
    with tarfile.open(tmp_path / "out.tar") as tar:
        for member in tar:
            name = PurePosixPath(member.name)
            assert ".." not in name.parts and not name.is_absolute()
            assert all(kinds[str(above)] for above in name.parents), f"{name} is before or below something else"
            assert str(name) not in kinds
            kinds[str(name)] = member.isdir()
            assert not member.isdev() or member.isfifo()
            if member.islnk():
                assert kinds[str(PurePosixPath(member.linkname))] is False


# -- compressions and container images ------------------------------------------------------------------------------


def container(path: Path, layers: list[bytes], *, oci: bool, wrong: bool = False) -> Path:
    """Write what `docker save` or `skopeo copy … oci-archive:` would."""
    entries: dict[str, bytes] = {}

    def blob(data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        entries[f"blobs/sha256/{digest}"] = data
        return digest

    digests = [blob(layer) for layer in layers]
    if oci:
        manifest = {"layers": [{"digest": f"sha256:{digest}"} for digest in digests]}
        other = blob(json.dumps({"layers": []}).encode())
        index = {
            "manifests": [
                {"digest": f"sha256:{blob(json.dumps(manifest).encode())}", "platform": _platform("amd64")},
                {"digest": f"sha256:{other}", "platform": _platform("arm64")},
            ]
        }
        nested = {"manifests": [{"digest": f"sha256:{blob(json.dumps(index).encode())}"}]}
        entries |= {"index.json": json.dumps(nested).encode(), "oci-layout": b"{}"}
    else:
        described = [{"Config": "c", "RepoTags": ["x:1"], "Layers": [f"blobs/sha256/{digest}" for digest in digests]}]
        entries["manifest.json"] = json.dumps(described).encode()
    if wrong:
        name = f"blobs/sha256/{digests[-1]}"
        entries[name] = entries[name][:-1] + b"\1"
    return archive(path, [entry(name, data=data) for name, data in entries.items()])


def _platform(architecture: str) -> Mapping[str, str]:
    return {"os": "linux", "architecture": architecture}


def layer(tmp_path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    return archive(tmp_path / "layer.tar", entries).read_bytes()


@pytest.mark.parametrize("oci", [False, True])
def test_a_container_image(oci: bool, tmp_path: Path) -> None:
    lower = gzip.compress(layer(tmp_path, entry("etc/a", data=b"1"), entry("etc/b", data=b"2")))
    upper = layer(tmp_path, entry("etc/.wh.a"), entry("etc/c", data=b"3"))
    path = container(tmp_path / "image.tar", [lower, upper], oci=oci)
    found = layers.layers_of(path, tmp_path, tmp_path / "log")
    assert found.whiteouts
    canonical.write(found.paths, tmp_path / "out.tar", whiteouts=True, epoch=None)
    assert seen(tmp_path / "out.tar") == {"./etc/b": "2", "./etc/c": "3"}
    with pytest.raises(ImageError, match="does not match its digest"):
        layers.layers_of(container(path, [lower, upper], oci=oci, wrong=True), tmp_path, tmp_path / "log")


def test_old_docker_images_name_a_layer_twice_by_a_link(tmp_path: Path) -> None:
    data = layer(tmp_path, entry("etc/a", data=b"1"))
    manifest = json.dumps([{"Layers": ["one/layer.tar", "two/layer.tar"]}]).encode()
    path = archive(
        tmp_path / "image.tar",
        [
            entry("one/layer.tar", data=data),
            entry("two/layer.tar", "link", link="../one/layer.tar"),
            entry("manifest.json", data=manifest),
        ],
    )
    assert len(layers.layers_of(path, tmp_path, tmp_path / "log").paths) == 2


def test_several_images_are_not_one(tmp_path: Path) -> None:
    manifest = json.dumps([{"RepoTags": ["a:1"], "Layers": []}, {"RepoTags": None, "Layers": []}]).encode()
    path = archive(tmp_path / "image.tar", [entry("manifest.json", data=manifest)])
    with pytest.raises(ImageError, match="2 images: a:1, untagged"):
        layers.layers_of(path, tmp_path, tmp_path / "log")


@pytest.mark.parametrize("kind", ["plain", "gz", "bz2", "xz", "zst"])
def test_compressions(kind: str, tmp_path: Path) -> None:
    data = archive(tmp_path / "in.tar", [entry("etc/a", data=b"1")]).read_bytes()
    packed = {
        "plain": lambda: data,
        "gz": lambda: gzip.compress(data),
        "bz2": lambda: bz2.compress(data),
        "xz": lambda: lzma.compress(data),
        "zst": lambda: subprocess.run(["zstd", "-q"], input=data, capture_output=True, check=True).stdout,
    }[kind]()
    path = tmp_path / "packed"
    path.write_bytes(packed)
    found = layers.layers_of(path, tmp_path, tmp_path / "log")
    assert [one.read_bytes() for one in found.paths] == [data]
    # tar pads its archives: half of a plain one would be all of it.
    path.write_bytes(packed[: min(len(packed) // 2, 700)])
    with pytest.raises(ImageError, match="not a complete"):
        cut = layers.layers_of(path, tmp_path, tmp_path / "log")
        canonical.write(cut.paths, tmp_path / "out.tar", whiteouts=False, epoch=None)


def test_what_is_not_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for data in (b"", b"hello", b"\x1f\x8bhello"):
        path.write_bytes(data)
        with pytest.raises(ImageError, match="not a complete"):
            found = layers.layers_of(path, tmp_path, tmp_path / "log")
            canonical.write(found.paths, tmp_path / "out.tar", whiteouts=False, epoch=None)


def test_a_header_with_a_negative_size_is_not_an_endless_loop(tmp_path: Path) -> None:
    data = bytearray(archive(tmp_path / "in.tar", [entry("a", data=b"x" * 600), entry("b")]).read_bytes())
    # Base-256, negative (GNU tar); the checksum made right again.
    data[124:136] = b"\xff" * 11 + b"\x00"
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    path = tmp_path / "bad.tar"
    path.write_bytes(data)
    with pytest.raises(ImageError, match="not a complete tar archive: a header with a negative size"):
        canonical.write([path], tmp_path / "out.tar", whiteouts=False, epoch=None)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 4000), st.integers(0, 255))
def test_a_damaged_archive_is_an_error_or_a_tree(tmp_path: Path, at: int, value: int) -> None:
    data = bytearray(
        archive(tmp_path / "in.tar", [entry("a/b", data=b"x" * 600), entry("c", "link", link="a")]).read_bytes()
    )
    data[at % len(data)] = value
    path = tmp_path / "bad.tar"
    path.write_bytes(data)
    try:
        found = layers.layers_of(path, tmp_path, tmp_path / "log")
        canonical.write(found.paths, tmp_path / "out.tar", whiteouts=False, epoch=None)
    except ImageError:
        pass
