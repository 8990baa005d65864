"""Existing images: edited on a layer, booted, published as base and overlay; the original stays as it was."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from roost.errors import ImageError
from roost.existing import image, image_file, inspection
from roost.host import checksum, guestfs
from roost.sources import image_tree
from roost.store import cache, manifest
from tests.images.calls import roost

pytestmark = [pytest.mark.images, pytest.mark.timeout(900)]

RECIPE: dict[str, Any] = {
    "os": {"image": {"recipe": "smoke"}},
    "files": [{"path": "/opt/job/run", "source": "files/run", "mode": "0755"}],
    "job": {"command": "/opt/job/run", "timeout": "10min"},
    "disks": [
        {"name": "root", "format": "qcow2"},
        {"name": "io", "filesystem": "ext4", "size": "16MiB", "role": "io"},
    ],
    "machine": {"memory": "256MiB"},
    "submit": {"return": ["io"]},
    "boot_test": {
        "timeout": "1min",
        "evict": False,
        "expect": [
            {"serial": "roost: job finished: exit 0"},
            {"file": "/output/result.txt", "on": "io", "matches": "^42$"},
        ],
    },
}


#: Directories that stay, empty.
_FILLED = {"./proc/", "./dev/", "./sys/"}


def _write(project: Path, name: str, **changes: Any) -> None:
    # JSON is YAML.
    (project / "recipes" / f"{name}.yaml").write_text(json.dumps({**RECIPE, "name": name, **changes}))


def _build(project: Path, name: str) -> Path:
    ran = roost("build", name, "--json", cwd=project)
    assert ran.code == 0, ran.err
    return Path(ran.answer["folder"])


def _boots(project: Path, name: str) -> dict[str, Any]:
    ran = roost("boot", name, "--accel", "tcg", "--json", cwd=project)
    assert ran.code == 0, ran.out + ran.err
    answer: dict[str, Any] = ran.answer
    assert answer["passed"]
    return answer


def _state(path: Path) -> tuple[str, int]:
    return hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns


def _image_name(path: Path) -> str:
    return str(path.absolute())


@pytest.fixture
def copy(smoke: Path, tmp_path: Path) -> Path:
    """Return a copy of smoke's root disk, elsewhere."""
    target = tmp_path / "elsewhere" / "disk.qcow2"
    target.parent.mkdir()
    shutil.copyfile(smoke / "root.qcow2", target)
    return target


@pytest.mark.slow
def test_variants_share_their_base_boot_and_are_published(project: Path, tmp_path: Path) -> None:
    overlay = [{"name": "root", "format": "qcow2", "overlay": True}, *RECIPE["disks"][1:]]
    overlay += [{"name": "data", "filesystem": "ext4", "size": "16MiB", "mount": "/data"}]
    files = [*RECIPE["files"], {"path": "/data/here", "content": "on its own disk\n"}]
    more = [*RECIPE["boot_test"]["expect"], {"file": "/etc/ran", "matches": "^hello$"}]
    more += [{"file": "/data/here", "matches": "own disk"}]
    for name in ("one", "two"):
        _write(
            project,
            name,
            disks=overlay,
            files=files,
            users=[{"name": name}],
            run=["echo hello > /etc/ran"],
            boot_test={**RECIPE["boot_test"], "expect": more},
        )
    one = _build(project, "one")
    original = project / "build/smoke/root.qcow2"
    before = _state(original)
    two = _build(project, "two")
    assert _state(original) == before
    record = manifest.read(one)
    assert record is not None
    root = record.file("root.qcow2")
    assert root.backing is not None
    assert (one / root.backing).read_bytes() == (two / root.backing).read_bytes()
    assert root.backing == f"base-{checksum.sha256(one / root.backing)[:12]}.qcow2"
    assert root.size < record.file(root.backing).size / 4
    assert image_file.look(one / "root.qcow2").base == one / root.backing
    description = (one / "kvm.sub").read_text()
    assert f"transfer_input_files = root.qcow2,io.raw,data.raw,{root.backing}\n" in description
    assert root.backing not in next(line for line in description.splitlines() if line.startswith("vm_disk"))
    assert roost("lint", str(one / "kvm.sub")).code == 0
    assert not list(project.glob("build/*/.*"))
    _boots(project, "one")
    assert roost("build", "one", "--json", cwd=project).answer["cached"]
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "ROOST_STATE": str(tmp_path / "state")}
    shelf = tmp_path / "shelf"
    for name in ("one", "two"):
        ran = roost("publish", name, "--to", str(shelf), cwd=project, env=env)
        assert ran.code == 0, ran.err
    assert [path.name for path in shelf.rglob("base-*.qcow2")] == [root.backing], "the base is there once"
    assert roost("verify", str(shelf), cwd=project, env=env).code == 0


@pytest.mark.slow
def test_a_disk_is_enlarged_and_its_root_with_it(project: Path, copy: Path) -> None:
    source = {"image": {"path": _image_name(copy), "sha256": hashlib.sha256(copy.read_bytes()).hexdigest()}}
    _write(project, "large", os=source, disks=[{"name": "root", "size": "300MiB"}, *RECIPE["disks"][1:]])
    before = _state(copy)
    directory = _build(project, "large")
    assert _state(copy) == before
    assert (directory / "root.raw").stat().st_size == 300 << 20
    log = directory / "log" / "test.log"
    with guestfs.open_readonly([(directory / "root.raw", "raw")], accelerator="tcg", log=log) as guest:
        system = inspection.find(guest)
        assert guest.device_size(system.root.device) == 299 << 20
        inspection.mount(guest, system, readonly=True)
        assert guest.available("/") > 200 << 20
    _boots(project, "large")


def _alter(disk: Path, log: Path, *calls: tuple[Any, ...]) -> None:
    with guestfs.open_writable([(disk, "qcow2")], accelerator="tcg", log=log) as guest:
        guest.mount("/dev/sda1")
        for name, *arguments in calls:
            guest.call(name, *arguments)


@pytest.mark.slow
def test_links_of_the_image_lead_nowhere_else(project: Path, copy: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    _alter(
        copy,
        tmp_path / "log",
        ("rm_rf", "/opt"),
        ("mkdir_p", "/moved/opt"),
        ("ln_s", "/moved/opt", "/opt"),
        ("mkdir_p", str(outside)),
        ("ln_s", "/moved/../moved/new", "/etc/out"),
        ("rm_rf", "/var/tmp"),
        ("ln_s", str(outside), "/var/tmp"),
        ("ln_sf", "/etc/group2", "/etc/group-"),
        ("ln_s", "../../../../../../../etc/fstab2", "/etc/up"),
        ("write", f"{outside}/precious", {"base64": "eA=="}),
        ("write", "/etc/shadow", {"base64": "cm9vdDokeSRoYXNoOjE6Ojo6OjoKZ2FtZXM6OjE6Ojo6OjoK"}),
        ("write", "/etc/machine-id", {"base64": "MDEyMwo="}),
    )
    files = [*RECIPE["files"], {"path": "/etc/out/file", "content": "x"}, {"path": "/etc/up", "content": "plain"}]
    _write(project, "hostile", os={"image": {"path": _image_name(copy)}}, files=files, users=[{"name": "job"}])
    directory = _build(project, "hostile")
    # The image's own directory of that name was swept, the host's was not touched.
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_text() == "mine"
    with guestfs.open_readonly([(directory / "root.qcow2", "qcow2")], accelerator="tcg", log=tmp_path / "log") as guest:
        guest.mount_readonly("/dev/sda1", journal=True)
        assert guest.read("/moved/new/file", 9) == b"x"
        assert guest.exists("/moved/opt/job/run")
        assert guest.read("/etc/up", 9) == b"plain"
        assert guest.read("/etc/shadow", 99).startswith(b"root:*:1::::::\ngames:*:1::::::\njob:*:")
        assert guest.read("/etc/machine-id", 9) == b""
    _boots(project, "hostile")


@pytest.mark.slow
def test_what_is_not_a_system_is_refused(project: Path, smoke: Path, tmp_path: Path) -> None:
    blank = tmp_path / "blank.raw"
    blank.write_bytes(bytes(4 << 20))
    empty = tmp_path / "empty.raw"
    boots = bytes(510) + b"\x55\xaa"
    empty.write_bytes(boots + bytes((4 << 20) - len(boots)))
    trick = tmp_path / "trick"
    trick.mkdir()
    (trick / "etc").symlink_to("/etc")
    (trick / "usr").symlink_to("/usr")
    tricky = tmp_path / "tricky.raw"
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", trick, tricky, "8M"], check=True)
    with tricky.open("r+b") as file:
        file.write(boots)  # ext4 leaves the first 1024 bytes to a boot loader
    cut = tmp_path / "cut.qcow2"
    cut.write_bytes((smoke / "root.qcow2").read_bytes()[: (smoke / "root.qcow2").stat().st_size // 2])
    hostile = tmp_path / "hostile.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw", hostile, "1M"], check=True
    )
    for path, code, words in (
        (blank, 2, "its first sector is not a boot sector"),
        (empty, 1, "no root file system"),
        (tricky, 1, "no root file system"),
        (cut, 1, "is it complete?"),
        (hostile, 2, "has the backing file /etc/passwd"),
    ):
        _write(project, "bad", os={"image": {"path": _image_name(path)}})
        ran = roost("build", "bad", cwd=project)
        assert ran.code == code, ran.err
        assert words in ran.err
        assert not list((project / "build").glob("*bad*/")), "something is left"


@pytest.mark.slow
def test_only_a_command_that_asks_has_the_network(project: Path, copy: Path, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "file").write_text("fetched\n")
    serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(shelf))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # The host, as libguestfs' appliance sees it.
        fetch = f"wget -Y off -qO /etc/fetched http://169.254.2.2:{server.server_port}/file"
        alone = "! ip route | grep -q default"
        run = [alone, {"command": fetch, "network": True}, alone, {"command": f"{fetch} && ip route", "network": True}]
        _write(project, "networked", os={"image": {"path": _image_name(copy)}}, run=run)
        directory = _build(project, "networked")
        server.shutdown()
    with guestfs.open_readonly([(directory / "root.qcow2", "qcow2")], accelerator="tcg", log=tmp_path / "log") as guest:
        guest.mount_readonly("/dev/sda1", journal=True)
        assert guest.read("/etc/fetched", 99) == b"fetched\n"
        assert not guest.exists("/etc/resolv.conf")


@pytest.mark.slow
def test_a_build_that_is_killed_leaves_nothing(project: Path, copy: Path) -> None:
    _write(project, "killed", os={"image": {"path": _image_name(copy)}}, run=["sleep 1000"])
    before = _state(copy)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "roost", "build", "killed"], cwd=project, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "edit (libguestfs)" in line:
            break
    time.sleep(8)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert not (project / "build/killed").exists()
    deadline = time.monotonic() + 30
    while _children(project) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not _children(project), "libguestfs' QEMU goes on"
    _write(project, "killed", os={"image": {"path": _image_name(copy)}})
    directory = _build(project, "killed")
    assert _state(copy) == before
    assert [path.name for path in directory.parent.iterdir() if path.is_dir()] == ["killed"]
    assert not [path.name for path in directory.iterdir() if path.name.startswith(".")]


def _children(project: Path) -> list[str]:
    """Return the processes that have a file of this project on their command line."""
    seen = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if str(project / "build") in words:
                seen.append(words)
    return seen


@pytest.mark.slow
def test_a_tree_is_taken_out_of_an_image(copy: Path, tmp_path: Path) -> None:
    mine = cache.Cache(tmp_path / "cache")
    tar = image_tree.take(image.of_file(copy, None), mine, "tcg", tmp_path)
    listed = subprocess.run(["tar", "-tvf", tar, "--numeric-owner"], capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1] for line in listed.splitlines() if " -> " not in line}
    assert {"./etc/passwd", "./usr/bin/busybox", "./opt/job/run"} <= names
    assert "./proc/" in names
    assert not any(name.startswith(("./proc/", "./dev/", "./sys/", "./lost+found")) for name in names - _FILLED)
    assert "-rw-r----- 0/0" in next(line for line in listed.splitlines() if line.endswith("./etc/shadow"))
    assert image_tree.take(image.of_file(copy, None), mine, "tcg", tmp_path) == tar


@pytest.mark.slow
def test_a_tree_of_an_image_is_laid_out_anew(project: Path, copy: Path) -> None:
    disk = {"name": "root", "format": "qcow2", "table": "gpt", "partitions": [{"mount": "/", "free": "16MiB"}]}
    _write(project, "anew", os={"image": {"path": _image_name(copy)}}, disks=[disk, *RECIPE["disks"][1:]])
    _build(project, "anew")
    _boots(project, "anew")


def test_a_corrupt_image_is_refused_before_it_is_opened(copy: Path, tmp_path: Path) -> None:
    with copy.open("r+b") as file:
        # The first entry of the first table now leads behind the end.
        file.seek(3 * 65536)
        file.write((0x80000000FFFF0000).to_bytes(8, "big"))
    with pytest.raises(ImageError, match=r"not consistent|leaked clusters"):
        image_file.check(image_file.look(copy), tmp_path / "log")
