"""Root trees that exist already: a directory, an archive, a container image, with and without a kernel of their own."""

from __future__ import annotations

import http.server
import io
import json
import re
import subprocess
import tarfile
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from roost.host import checksum, paths
from roost.store import manifest
from tests.images.calls import Ran, build, roost
from tests.unit.sources.test_oci import container

pytestmark = [pytest.mark.images, pytest.mark.timeout(900)]

RECIPE = """\
name: given
os: {os}
kernel: {kernel}
files:
  - {{path: /opt/job/run, mode: "0755", content: "#!/bin/sh\\nls -ln /etc/marked; cp /etc/marked $ROOST_OUTPUT\\n"}}
job: {{command: /opt/job/run, timeout: 10min, then: poweroff}}
disks:
  - {{name: root, format: qcow2, partitions: [{{mount: /, filesystem: ext4, free: 16MiB}}]}}
  - {{name: io, filesystem: ext4, size: 16MiB, format: raw, role: io}}
machine: {{memory: 512MiB}}
submit: {{return: [io]}}
boot_test:
  evict: false
  expect: [{{file: /output/marked, on: io, matches: marked}}]
"""


@pytest.fixture(scope="session")
def smoke_tar(smoke: Path) -> Path:
    """Return the root tree of the image smoke: a kernel with its initrd, and busybox."""
    record = manifest.read(smoke)
    assert record is not None
    return paths.cache_root() / "rootfs" / record.keys["rootfs"] / "tree.tar"


def _without(source: Path, target: Path, gone: Callable[[str], bool]) -> Path:
    """Copy a tar without some names, with a file of its own that belongs to somebody."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            if not gone(member.name):
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
        mark = tarfile.TarInfo("./etc/marked")
        # Never the same twice: what was fetched once is not fetched again.
        content = f"marked {uuid.uuid4()}\n".encode()
        mark.size, mark.mode, mark.uid, mark.gid = len(content), 0o640, 12, 34
        new.addfile(mark, io.BytesIO(content))
    return target


@pytest.fixture(scope="session")
def container_tar(smoke_tar: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tree as a container has it: no kernel, no init, commands only."""
    target = tmp_path_factory.mktemp("given") / "container.tar"
    return _without(
        smoke_tar,
        target,
        lambda name: name.startswith(("./boot/", "./usr/lib/modules")) or name in {"./usr/sbin/init", "./usr/bin/init"},
    )


def _recipe(project: Path, os_: str, kernel: str = "{}") -> None:
    (project / "recipes/given.yaml").write_text(RECIPE.format(os=os_, kernel=kernel))


def _boots(project: Path) -> Ran:
    ran = roost("boot", "given", "--accel", "tcg", "--json", cwd=project)
    assert ran.code == 0, ran.out + ran.err
    assert ran.answer["passed"] is True
    return ran


def test_a_container_image_gets_kernel_and_init(container_tar: Path, project: Path, tmp_path: Path) -> None:
    _recipe(
        project, f"{{tarball: {{path: {container(tmp_path / 'image.tar', [container_tar.read_bytes()], oci=True)}}}}}"
    )
    ran = roost("build", "given", "--json", cwd=project)
    assert ran.code == 0, ran.err
    assert "brings no kernel: it gets debian-cloud" in ran.err
    assert re.search(r"-rw-r-----\s+1\s+12\s+34\s", _boots(project).answer["console"])
    assert roost("build", "given", "--json", cwd=project).answer["cached"] is True


@pytest.mark.slow
def test_a_tarball_by_url_keeps_its_own_kernel(smoke_tar: Path, project: Path, tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    path = _without(smoke_tar, tmp_path / "www/tree.tar", lambda name: False)
    subprocess.run(["zstd", "-q", "--rm", str(path)], check=True)
    packed = tmp_path / "www/tree.tar.zst"
    digest = checksum.sha256(packed)
    with Served(tmp_path / "www") as url:
        _recipe(project, f"{{tarball: {{url: '{url}/tree.tar.zst', sha256: {digest}}}}}")
        ran = roost("build", "given", "--json", cwd=project)
    assert ran.code == 0, ran.err
    assert "download" in ran.err
    record = json.loads((Path(ran.answer["folder"]) / "manifest.json").read_text())
    assert record["inputs"]["sha256"] == digest
    assert "packages" not in record["inputs"], "nothing was added to a tree that has all"
    _boots(project)


def test_a_wrong_sum_is_said_with_its_place(smoke_tar: Path, project: Path) -> None:
    _recipe(project, f"{{tarball: {{path: {smoke_tar}, sha256: {'0' * 64}}}}}")
    ran = roost("build", "given", cwd=project)
    assert ran.code == 2
    assert "recipes/given.yaml:2:" in ran.err
    assert checksum.sha256(smoke_tar) in ran.err


@pytest.mark.slow
def test_a_directory_is_read_and_stays_as_it_is(container_tar: Path, project: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    subprocess.run(["tar", "-x", "--exclude=./dev/*", "-C", str(tree), "-f", str(container_tar)], check=True)
    before = sorted((str(path), path.lstat().st_mtime_ns, path.lstat().st_mode) for path in tree.rglob("*"))
    _recipe(project, f"{{tree: {{path: {tree}}}}}", "{placement: both}")
    directory = build("given", cwd=project)
    assert {"vmlinuz", "initrd.img"} <= {path.name for path in directory.iterdir()}
    assert sorted((str(path), path.lstat().st_mtime_ns, path.lstat().st_mode) for path in tree.rglob("*")) == before
    first = {name: checksum.sha256(directory / name) for name in ("root.qcow2", "io.raw", "vmlinuz", "initrd.img")}
    _boots(project)
    assert roost("build", "given", "--json", cwd=project).answer["cached"] is True
    assert roost("build", "given", "--force", "--json", cwd=project).code == 0
    assert first == {name: checksum.sha256(directory / name) for name in first}
    (tree / "etc/marked").write_text("changed\n")
    assert roost("build", "given", "--json", cwd=project).answer["cached"] is False


@pytest.mark.slow
def test_a_hostile_tree_reads_nothing_of_the_host(smoke_tar: Path, project: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the host's own secret\n")
    hostile = tmp_path / "hostile.tar"
    with tarfile.open(smoke_tar) as old, tarfile.open(hostile, "w") as new:
        for member in old:
            if member.name.startswith("./boot/vmlinuz"):
                member.type, member.linkname, member.size = tarfile.SYMTYPE, str(secret), 0
            new.addfile(member, old.extractfile(member) if member.isreg() else None)
        for name in ("etc", "opt", "var"):
            # An /etc that leads out of the tree, for those who follow it.
            link = tarfile.TarInfo(f"./escape-{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "../" * 12 + str(tmp_path)[1:]
            new.addfile(link)
        evil = tarfile.TarInfo("./escape-etc/planted")
        new.addfile(evil)
    _recipe(project, f"{{tarball: {{path: {hostile}}}}}", "{placement: both}")
    ran = roost("build", "given", "--json", cwd=project)
    assert not (tmp_path / "planted").exists()
    assert ran.code == 0, ran.err
    # The link is not a kernel, so it got another.
    assert "brings no kernel" in ran.err
    assert (Path(ran.answer["folder"]) / "vmlinuz").stat().st_size > 1 << 20


class Served:
    """A web server on loopback."""

    def __init__(self, directory: Path) -> None:
        class Quiet(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: object) -> None:
                super().__init__(*args, directory=str(directory))  # type: ignore[arg-type]

            def log_message(self, *_args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
