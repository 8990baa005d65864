"""kernels/*.yaml: mistakes with line and column; kernels as files, by path or URL; what is known of them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from roost.errors import ImageError, RecipeError, UsageError
from roost.events import Silent
from roost.kernel import catalogue, files, records
from roost.kernel.facts import Facts
from roost.pipeline import kernels
from roost.store.cache import Cache
from tests.unit import kernel_lab as lab

PROJECT = Path(__file__).resolve().parents[3]
HEAD = "description: a kernel\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "kernels").mkdir()
    (tmp_path / "recipes").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    return tmp_path


def wrong(text: str, project: Path) -> list[str]:
    (project / "kernels/mine.yaml").write_text(text)
    with pytest.raises(RecipeError) as raised:
        catalogue.load("mine", project)
    return [str(problem) for problem in raised.value.problems]


def test_the_kernels_of_the_project_are_right() -> None:
    found, problems = catalogue.load_all(PROJECT)
    assert [spec.name for spec in found] == ["debian", "debian-cloud", "ubuntu"] and problems == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "packages: {amd64: x}\ncann: []\n", ["kernels/mine.yaml:3:1: unknown key 'cann' (did you mean can?)"]),
        (HEAD + "packages: {amd64: x}\ncan: [virtio, virtioo]\n", ["kernels/mine.yaml:3:15: 'virtioo' is not one of"]),
        (HEAD + "packages: {amd64: X y}\n", ["kernels/mine.yaml:2:19: 'X y' is not allowed here"]),
        (HEAD, ["kernels/mine.yaml:1:1: give exactly one of packages and files"]),
        (
            HEAD + "packages: {amd64: x}\nfiles:\n  kernel: {url: 'https://example.org/vmlinuz'}\n",
            ["kernels/mine.yaml:4:3: a URL needs a sha256"],
        ),
        (HEAD + "files:\n  kernel: {path: absent}\n", ["kernels/mine.yaml:3:18: no such file: 'absent'"]),
        (
            HEAD + "files:\n  modules: {path: a, url: b}\n",
            ["kernels/mine.yaml:2:1: the key 'kernel' is missing", "kernels/mine.yaml:3:27: 'b' is not allowed"],
        ),
        (HEAD + "files: {kernel: {path: x, sha256: abc}}\n", ["kernels/mine.yaml:2:35: 'abc' is not allowed here"]),
        ("description: [\n", ["kernels/mine.yaml:2:1: a '[' or '{' that is not closed"]),
        ("- a\n", ["kernels/mine.yaml:1:1: a kernel's file is a mapping"]),
        ("", ["kernels/mine.yaml:1:1: the file is empty"]),
        (HEAD + "packages: {amd64: x}\nname: other\n", ["kernels/mine.yaml:3:1: this key cannot be set here"]),
        (HEAD + "packages: {amd64: x}\nplaces: {}\n", ["kernels/mine.yaml:3:1: this key cannot be set here"]),
        (
            "packages: {amd64: 3}\n",
            ["kernels/mine.yaml:1:1: the key 'description' is missing", "kernels/mine.yaml:1:19: expected text"],
        ),
        (HEAD + "packages: {amd64: x}\ncompression: {trixie: zip}\n", ["kernels/mine.yaml:3:23: 'zip' is not one of"]),
    ],
)  # fmt: skip
def test_mistakes_have_line_and_column(text: str, said: list[str], project: Path) -> None:
    found = wrong(text, project)
    assert len(found) == len(said), found
    for one, expected in zip(found, said, strict=True):
        assert expected in one


@pytest.mark.parametrize("path", ["a/" * 3000, "fifo", "loop", "directory", "file/x"])
def test_a_path_that_is_not_a_files_has_its_place(path: str, project: Path) -> None:
    os.mkfifo(project / "kernels/fifo")
    (project / "kernels/loop").symlink_to("loop")
    (project / "kernels/directory").mkdir()
    (project / "kernels/file").touch()
    (said,) = wrong(f"{HEAD}files: {{kernel: {{path: {path}}}}}\n", project)
    assert said.startswith("kernels/mine.yaml:2:24: no such file: ")


def test_an_unknown_kernel_is_a_mistake_of_the_recipe(project: Path) -> None:
    (project / "kernels/mine.yaml").write_text(HEAD + "packages: {amd64: x}\n")
    with pytest.raises(RecipeError, match="unknown kernel 'mime'") as raised:
        catalogue.load("mime", project)
    assert "did you mean 'mine'?" in str(raised.value)


def described(project: Path, **more: str) -> catalogue.KernelSpec:
    lines = "".join(f"  {name}: {part}\n" for name, part in more.items())
    (project / "kernels/mine.yaml").write_text(f"{HEAD}files:\n{lines}")
    return catalogue.load("mine", project)


def fetched(project: Path, **more: str) -> files.Parts:
    return files.fetch(described(project, **more), Cache(project / "cache"), Silent())


def test_files_by_path_and_by_url(project: Path) -> None:
    (project / "kernels/vmlinuz").write_bytes(lab.bzimage())
    (project / "initrd").write_bytes(lab.initrd(["ext4"]))
    digest = hashlib.sha256((project / "initrd").read_bytes()).hexdigest()
    parts = fetched(project, kernel="{path: vmlinuz}", initrd=f"{{url: 'file://{project}/initrd', sha256: {digest}}}")
    assert parts.image.release == lab.RELEASE and parts.sums["initrd"] == digest
    assert parts.files["initrd"].is_relative_to(project / "cache")


def test_another_sum_is_refused_at_its_line(project: Path) -> None:
    (project / "kernels/vmlinuz").write_bytes(lab.bzimage())
    zeros = "0" * 64
    with pytest.raises(RecipeError) as raised:
        fetched(
            project,
            kernel=f"{{path: vmlinuz, sha256: '{zeros}'}}",
            initrd=f"{{url: 'file://{project}/kernels/vmlinuz', sha256: '{zeros}'}}",
        )
    found = [str(problem) for problem in raised.value.problems]
    assert [text.partition(": ")[0] for text in found] == ["kernels/mine.yaml:3:3", "kernels/mine.yaml:4:3"]
    assert all(hashlib.sha256(lab.bzimage()).hexdigest() in text and zeros in text for text in found)


def test_a_file_that_is_not_a_kernel(project: Path) -> None:
    (project / "kernels/vmlinuz").write_bytes(b"\x7fELF" + bytes(4096))
    with pytest.raises(RecipeError, match="this is not an x86 kernel"):
        fetched(project, kernel="{path: vmlinuz}")


def modules_tar(path: Path, prefix: str, *hostile: tarfile.TarInfo, packed: str = "") -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        names = {
            f"kernel/{lab.MODULES[name]}": lab.module(name) for name in ("virtio", "virtio_blk", "virtio_pci", "ext4")
        }
        for name, data in {**names, "modules.builtin": b"", "modules.order": b""}.items():
            member = tarfile.TarInfo(f"{prefix}{lab.RELEASE}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in hostile:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    path.write_bytes(lab.PACK[packed](content.getvalue()) if packed else content.getvalue())


@pytest.mark.parametrize("prefix", ["", "./", "lib/modules/", "./usr/lib/modules/", "x/y/lib/modules/"])
@pytest.mark.parametrize("packed", ["", "gzip", "xz", "zstd"])
def test_a_kernel_is_put_into_a_tree(prefix: str, packed: str, project: Path) -> None:
    (project / "kernels/vmlinuz").write_bytes(lab.bzimage())
    (project / "kernels/initrd").write_bytes(lab.initrd(["ext4"]))
    modules_tar(project / "kernels/modules.tar", prefix, packed=packed)
    parts = fetched(project, kernel="{path: vmlinuz}", modules="{path: modules.tar}", initrd="{path: initrd}")
    tree = project / "tree"
    (tree / "usr/lib").mkdir(parents=True)
    (tree / "lib").symlink_to("usr/lib")
    found = files.install(parts, tree, kind="busybox", wanted=(), epoch=1000, log=project / "log")
    assert (found.version, found.kernel) == (lab.RELEASE, f"/boot/vmlinuz-{lab.RELEASE}")
    assert found.initrd == f"/boot/initrd.img-{lab.RELEASE}"
    directory = tree / "usr/lib/modules" / lab.RELEASE
    assert (directory / "kernel" / lab.MODULES["ext4"]).read_bytes() == lab.module("ext4")
    assert "kernel/fs/ext4/ext4.ko:" in (directory / "modules.dep").read_text()
    facts = files.look(parts)
    assert facts.drivers["virtio"] == "module" and facts.drivers["scsi"] == "absent" and facts.xen_pv is True


def test_a_tar_of_modules_leads_nowhere_else(project: Path) -> None:
    (project / "kernels/vmlinuz").write_bytes(lab.bzimage())
    (project / "kernels/initrd").write_bytes(lab.initrd([]))
    link = tarfile.TarInfo(f"lib/modules/{lab.RELEASE}/build")
    link.type, link.linkname = tarfile.SYMTYPE, str(project / "outside")
    through = tarfile.TarInfo(f"lib/modules/{lab.RELEASE}/build/evil")
    above = tarfile.TarInfo(f"lib/modules/{lab.RELEASE}/../../../evil")
    node = tarfile.TarInfo(f"lib/modules/{lab.RELEASE}/null")
    node.type = tarfile.CHRTYPE
    other = tarfile.TarInfo("lib/modules/5.0/evil")
    (project / "outside").mkdir()
    modules_tar(project / "kernels/modules.tar", "lib/modules/", link, through, above, node, other)
    parts = fetched(project, kernel="{path: vmlinuz}", modules="{path: modules.tar}", initrd="{path: initrd}")
    tree = project / "tree"
    (tree / "usr").mkdir(parents=True)
    (tree / "boot").symlink_to(project / "outside")
    files.install(parts, tree, kind="busybox", wanted=(), epoch=1000, log=project / "log")
    assert list((project / "outside").iterdir()) == []
    names = {path.name for path in tree.rglob("*") if "evil" in path.name or path.name == "null"}
    assert names == {"evil"} and (tree / f"lib/modules/{lab.RELEASE}/build/evil").is_file()


def test_a_tar_without_this_kernels_modules(project: Path) -> None:
    (project / "kernels/vmlinuz").write_bytes(lab.bzimage(release="9.9"))
    modules_tar(project / "kernels/modules.tar", "lib/modules/")
    parts = fetched(project, kernel="{path: vmlinuz}", modules="{path: modules.tar}")
    (project / "tree/boot").mkdir(parents=True)
    with pytest.raises(RecipeError, match=r"no modules of the kernel's release 9\.9"):
        files.install(parts, project / "tree", kind="busybox", wanted=(), epoch=0, log=project / "log")
    (project / "kernels/modules.tar").write_bytes(b"no tar")
    with pytest.raises(RecipeError, match="not a complete tar"):
        files.install(parts, project / "tree", kind="busybox", wanted=(), epoch=0, log=project / "log")


def facts(version: str = "6.1.9-1", **more: Any) -> Facts:
    from roost.kernel import drivers

    states: dict[str, drivers.State] = dict.fromkeys(drivers.BUSES, "module")
    systems: dict[str, drivers.State] = dict.fromkeys(drivers.FILESYSTEMS, "builtin")
    return Facts("6.1.9", version, "lz4", 1000, states, systems, True, **more)


def test_a_kernel_is_claimed_until_it_is_seen(project: Path) -> None:
    text = "packages: {amd64: linux-x}\ncan: [virtio]\ncompression: {bookworm: lz4}\n"
    (project / "kernels/mine.yaml").write_text(HEAD + text)
    (row,) = kernels.listing([], Silent())["kernels"]
    (one,) = row["suites"]
    assert (one["seen"], one["version"], one["from"]) == (False, None, "kernels/mine.yaml")
    assert one["drivers"]["virtio"] == "claimed" and one["drivers"]["scsi"] == "absent" and one["compression"] == "lz4"
    store = Cache(project / "cache")
    records.remember(store, catalogue.load("mine", project), "bookworm", facts(), "the image a")
    records.remember(store, catalogue.load("mine", project), "trixie", facts("6.12-1"), "the image b")
    (row,) = kernels.listing(["mine"], Silent())["kernels"]
    assert [(one["suite"], one["version"], one["seen"], one["from"]) for one in row["suites"]] == [
        ("bookworm", "6.1.9-1", True, "the image a"),
        ("trixie", "6.12-1", True, "the image b"),
    ]
    # What was noted of another package under this name is not this kernel's.
    (project / "kernels/mine.yaml").write_text((HEAD + text).replace("linux-x", "linux-y"))
    (row,) = kernels.listing([], Silent())["kernels"]
    assert [one["seen"] for one in row["suites"]] == [False]


def test_what_is_noted_badly_is_forgotten(project: Path) -> None:
    (project / "kernels/mine.yaml").write_text(HEAD + "packages: {amd64: linux-x}\n")
    store, spec = Cache(project / "cache"), catalogue.load("mine", project)
    records.remember(store, spec, "bookworm", facts(), "x")
    (path,) = (project / "cache/kernels").glob("*.json")
    for text in ("", "[]", "{}", json.dumps({"facts": {**facts().to_json(), "drivers": {}}, "source": "x"})):
        path.write_text(text)
        assert records.recall(store, spec, "bookworm") is None


def test_a_manifest_tells_too(project: Path) -> None:
    (project / "kernels/mine.yaml").write_text(HEAD + "packages: {amd64: linux-x}\n")
    spec = catalogue.load("mine", project)
    given = {"packages": ["linux-x"], "debian": {"suite": "bookworm"}}
    record = {"name": "img", "inputs": given, "facts": {"kernel": facts().to_json()}}
    found = records.of_manifest(record, spec)
    assert found is not None and (found.suite, found.source) == ("bookworm", "the image img")
    assert records.of_manifest({**record, "inputs": {**given, "packages": ["linux-z"]}}, spec) is None
    assert records.of_manifest({**record, "facts": {}}, spec) is None


def test_a_package_is_looked_into(project: Path) -> None:
    tree = lab.tree(project / "package", in_initrd=None)
    (tree / "lib").unlink()
    (tree / f"usr/lib/modules/{lab.RELEASE}/modules.dep").unlink()
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        "Package: linux-x\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: a kernel\n"
    )
    subprocess.run(["dpkg-deb", "-b", tree, project / "linux.deb"], check=True, capture_output=True)
    found = kernels.of_package(project / "linux.deb")
    assert found is not None and found.release == lab.RELEASE and found.xen_pv is True
    assert found.drivers == {
        "virtio": "module", "ide": "module", "ahci": "absent", "scsi": "module", "nvme": "absent", "xen": "module",
    }  # fmt: skip
    (tree / f"boot/vmlinuz-{lab.RELEASE}").unlink()
    subprocess.run(["dpkg-deb", "-b", tree, project / "none.deb"], check=True, capture_output=True)
    assert kernels.of_package(project / "none.deb") is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-b", "/etc/passwd", "-F", "raw"], "has the backing file"),
        (["-o", "data_file=other.raw"], "keeps its data in another file"),
    ],
)
def test_an_image_that_names_other_files_is_not_opened(options: list[str], said: str, project: Path) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, "disk.qcow2", "1M"], cwd=project, check=True)
    with pytest.raises(ImageError, match=said):
        kernels.extract(project / "disk.qcow2", project / "out", None, Silent())
    assert not (project / "out").exists()


def test_a_directory_with_something_in_it_is_kept(project: Path) -> None:
    (project / "disk.raw").write_bytes(bytes(4096))
    (project / "out").mkdir()
    (project / "out/precious").write_text("x")
    with pytest.raises(UsageError, match="not an empty directory"):
        kernels.extract(project / "disk.raw", project / "out", None, Silent())
    with pytest.raises(UsageError, match="no such image"):
        kernels.extract(project / "absent", project / "out", None, Silent())


def test_no_kernel_is_taken_out_of_a_device(tmp_path: Path) -> None:
    for name, kind in (("/dev/null", "a device"), (str(tmp_path), "a directory")):
        with pytest.raises(UsageError, match=f"{name} is {kind}, not a file"):
            kernels.extract(Path(name), tmp_path / "out", None, Silent())


def _package(directory: Path) -> Path:
    """Return a small Debian package."""
    tree = directory / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n"
    )
    (tree / "boot").mkdir()
    (tree / "boot/vmlinuz-1").write_bytes(os.urandom(200_000))
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, directory / "x.deb"], check=True)
    return directory / "x.deb"


@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "other"])
def test_a_broken_package_is_reported_as_one(how: str, tmp_path: Path) -> None:
    package = _package(tmp_path)
    data = bytearray(package.read_bytes())
    data[100_000:101_000] = b"x" * 1000
    broken = {"cut": package.read_bytes()[:50_000], "flipped": bytes(data), "empty": b"", "other": b"PK" * 500}
    package.write_bytes(broken[how])
    with pytest.raises(ImageError, match=r"x\.deb is not a complete Debian package"):
        kernels.of_package(package)
