"""Disks that came back: done, failed, never started, killed, unreadable, and what hostile ones try."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from roost.iodisk.collect import Collected, collect

MiB = 1 << 20


def finished(**changes: Any) -> dict[str, Any]:
    """Return the status of a job that ended."""
    return {
        "state": "finished", "exit_code": 0, "signal": None, "timed_out": False, "start": "2026-01-02T03:04:05Z",
        "end": "2026-01-02T03:05:05Z", "host": "node", "roost_version": "0.1.0", **changes,
    }  # fmt: skip


def disk(folder: Path, status: dict[str, Any] | str | None, *options: str, size: int = 8 * MiB) -> Path:
    """Return an ext4 disk with a job's folders, `folder/content` and a status on it."""
    content = folder / "content"
    for name in ("input", "output"):
        (content / name).mkdir(parents=True, exist_ok=True)
    if status is not None:
        text = status if isinstance(status, str) else json.dumps(status)
        (content / "status.json").write_text(f"{text:<4095}\n")
    image = folder / "io.raw"
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(
        ["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^metadata_csum", "-L", "io", *options, "-d", content, image],
        check=True,
    )
    return image


def debugfs(image: Path, *requests: str) -> None:
    """Change an image as its own debugger can."""
    subprocess.run(
        ["debugfs", "-w", "-f", "-", image],
        input="\n".join([*requests, ""]),
        text=True,
        check=True,
        capture_output=True,
    )


def found(image: Path, folder: Path, **limits: Any) -> Collected:
    """Collect a disk into `folder/out` and see that the disk is as it was."""
    before = image.read_bytes()
    result = collect(image, folder / "out", files=limits.pop("files", 1000), **limits)
    assert image.read_bytes() == before
    return result


@pytest.mark.parametrize(
    ("status", "verdict", "code"),
    [
        (finished(), "done", 0),
        (finished(exit_code=3), "failed", 3),
        (finished(exit_code=137, signal=9), "failed", 137),
        (finished(exit_code=143, signal=15, timed_out=True), "failed", 143),
        ({"state": "running", "start": "2026-01-02T03:04:05Z"}, "killed", None),
        (None, "never started", None),
        ("no json", "unreadable", None),
        ("[]", "unreadable", None),
        ('{"state": "finished"}', "unreadable", None),
        ("[" * 4000, "unreadable", None),
    ],
)
def test_each_end_has_its_verdict(tmp_path: Path, status: Any, verdict: str, code: int | None) -> None:
    image = disk(tmp_path, status)
    result = found(image, tmp_path)
    assert result.verdict == verdict, result.why
    assert result.to_json()["exit_code"] == code
    assert result.why


def test_what_the_job_left_comes_out(tmp_path: Path) -> None:
    output = tmp_path / "content" / "output"
    (output / "deep" / "er").mkdir(parents=True)
    (output / "deep" / "er" / "x").write_text("42\n")
    (output / "run").write_text("#!/bin/sh\n")
    (output / "run").chmod(0o4755)
    odd = os.fsdecode(b"na\nme \xff '\"$(touch x)`")
    (output / odd).write_text("odd\n")
    (tmp_path / "content" / "job.log").write_text("the log\n")
    result = found(disk(tmp_path, finished()), tmp_path)
    out = tmp_path / "out"
    assert (result.verdict, result.files, result.size, result.notes) == ("done", 5, 17, ())
    assert (out / "output/deep/er/x").read_text() == "42\n"
    assert (out / "output" / odd).read_text() == "odd\n"
    assert (out / "output/run").stat().st_mode & 0o7777 == 0o755
    assert (out / "job.log").read_text() == "the log\n"
    assert json.loads((out / "status.json").read_text())["exit_code"] == 0
    assert sorted(path.name for path in out.iterdir()) == ["job.log", "output", "status.json"]


def test_links_and_devices_stay_on_the_disk(tmp_path: Path) -> None:
    output = tmp_path / "content" / "output"
    output.mkdir(parents=True)
    (output / "passwd").symlink_to("/etc/passwd")
    (output / "up").symlink_to("../../../../etc")
    image = disk(tmp_path, finished())
    debugfs(image, "cd /output", "mknod disk b 8 0", "mknod mem c 1 1", "mknod pipe p")
    result = found(image, tmp_path)
    assert result.verdict == "done"
    assert list((tmp_path / "out" / "output").iterdir()) == []
    assert sorted(result.notes) == ["2 left out: a link", "3 left out: a device or pipe"]


def test_a_status_and_an_output_that_are_links_lead_nowhere(tmp_path: Path) -> None:
    image = disk(tmp_path, None)
    debugfs(image, "symlink status.json /etc/hostname", "rmdir output", "symlink output /etc")
    result = found(image, tmp_path)
    assert result.verdict == "unreadable"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["status.json"]


@pytest.mark.parametrize("name", [b"../evil", b"/etc/xx", b"a/../..", b".\0eviiil"[:7]])
def test_names_that_lead_out_are_left_out(tmp_path: Path, name: bytes) -> None:
    output = tmp_path / "content" / "output"
    output.mkdir(parents=True)
    (output / "XXXXXXX").write_text("evil\n")
    (output / "good").write_text("good\n")
    image = disk(tmp_path, finished())
    data = image.read_bytes()
    assert data.count(b"XXXXXXX") == 1
    image.write_bytes(data.replace(b"XXXXXXX", name))
    result = found(image, tmp_path)
    assert (tmp_path / "out/output/good").read_text() == "good\n"
    assert [path.name for path in tmp_path.rglob("*") if "evi" in path.name] == []
    assert sorted(path.name for path in (tmp_path / "out/output").iterdir()) == ["good"]
    assert result.verdict == "done"


def test_a_folder_that_contains_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "content" / "output" / "a" / "b").mkdir(parents=True)
    image = disk(tmp_path, finished())
    debugfs(image, "link /output /output/a/b/again", "link /output/a /output/a/b/a")
    result = found(image, tmp_path)
    assert (tmp_path / "out/output/a/b").is_dir()
    assert any("two places" in note for note in result.notes)


def test_no_more_comes_out_than_asked_for(tmp_path: Path) -> None:
    output = tmp_path / "content" / "output"
    output.mkdir(parents=True)
    for number in range(300):
        (output / f"f{number}").write_text("x" * 10)
    image = disk(tmp_path, finished())
    result = found(image, tmp_path, files=100)
    assert result.files == 100
    assert result.notes == ("200 left out: more than 100 files",)
    result = found(image, tmp_path, size=1005)
    assert (result.size, result.notes) == (1000, ("200 left out: more than 1005 bytes in all",))


def test_a_file_that_is_all_hole_does_not_fill_the_host(tmp_path: Path) -> None:
    output = tmp_path / "content" / "output"
    output.mkdir(parents=True)
    with (output / "huge").open("wb") as file:
        file.truncate(1 << 40)
    (output / "small").write_text("x")
    result = found(disk(tmp_path, finished()), tmp_path)
    assert [path.name for path in (tmp_path / "out/output").iterdir()] == ["small"]
    assert any("bytes in all" in note for note in result.notes)


def test_disks_that_are_none(tmp_path: Path) -> None:
    for name, content in {"empty": b"", "zeros": bytes(MiB), "text": b"hello\n" * 1000, "short": b"QFI\xfb"}.items():
        path = tmp_path / name
        path.write_bytes(content)
        result = found(path, tmp_path)
        assert result.verdict == "unreadable", name
        assert result.folder is None
    assert not (tmp_path / "out").exists()


def test_a_disk_that_was_cut_off(tmp_path: Path) -> None:
    image = disk(tmp_path, finished())
    os.truncate(image, 3 * MiB)
    result = found(image, tmp_path)
    assert result.verdict == "unreadable"
    assert "cut off" in result.why


def test_a_file_system_that_was_not_unmounted_is_read_from_a_copy(tmp_path: Path) -> None:
    image = disk(tmp_path, finished(exit_code=4), size=16 * MiB)
    debugfs(image, "ssv state 0", "feature needs_recovery")
    result = found(image, tmp_path)
    assert (result.verdict, result.status["exit_code"]) == ("failed", 4)
    assert any("not unmounted" in note for note in result.notes)


@pytest.mark.parametrize("seed", range(12))
def test_damage_anywhere_is_a_verdict(tmp_path: Path, seed: int) -> None:
    import random

    (tmp_path / "content" / "output" / "a").mkdir(parents=True)
    (tmp_path / "content" / "output" / "a" / "b").write_text("x" * 9000)
    image = disk(tmp_path, finished(), size=2 * MiB)
    data = bytearray(image.read_bytes())
    chance = random.Random(seed)
    for _ in range(60):
        at = chance.randrange(1024, 400_000)
        data[at : at + 8] = chance.randbytes(8)
    image.write_bytes(data)
    result = found(image, tmp_path)
    assert result.verdict in {"done", "failed", "never started", "killed", "unreadable"}


def test_a_qcow2_is_read_alike(tmp_path: Path) -> None:
    raw = disk(tmp_path, finished(exit_code=7))
    image = tmp_path / "io.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, image], check=True)
    assert found(image, tmp_path).status["exit_code"] == 7


def test_a_qcow2_that_names_other_files_is_not_opened(tmp_path: Path) -> None:
    secret = disk(tmp_path, finished())
    for name, options in {
        "backing": ["-b", str(secret), "-F", "raw"],
        "data": ["-o", f"data_file={tmp_path}/data.raw,data_file_raw=on"],
    }.items():
        image = tmp_path / f"{name}.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, image, "8M"], check=True)
        result = found(image, tmp_path)
        assert (result.verdict, result.folder) == ("unreadable", None), name
    # The guest wrote the header of an overlay to its raw disk.
    raw = bytearray(8 * MiB)
    raw[: 4 * MiB] = (tmp_path / "backing.qcow2").read_bytes()[: 4 * MiB].ljust(4 * MiB, b"\0")
    forged = tmp_path / "forged.raw"
    forged.write_bytes(raw)
    assert found(forged, tmp_path).verdict == "unreadable"
    huge = bytearray((tmp_path / "backing.qcow2").read_bytes())
    struct.pack_into(">QI", huge, 8, 0, 0)
    struct.pack_into(">Q", huge, 24, 1 << 62)
    (tmp_path / "huge.qcow2").write_bytes(huge)
    assert found(tmp_path / "huge.qcow2", tmp_path).verdict == "unreadable"


def test_a_root_disk_keeps_them_where_the_guest_did(tmp_path: Path) -> None:
    place = tmp_path / "content" / "var/lib/roost/io"
    for name in ("input", "output"):
        (place / name).mkdir(parents=True)
    (place / "output/x").write_text("42")
    (place / "status.json").write_text(json.dumps(finished()))
    for name in ("input", "output"):
        (tmp_path / "content" / name).mkdir()
    image = disk(tmp_path, None)
    debugfs(image, "rmdir input", "rmdir output")
    assert found(image, tmp_path).verdict == "done"
    assert (tmp_path / "out/output/x").read_text() == "42"


def test_a_vfat_disk(tmp_path: Path) -> None:
    image = tmp_path / "io.raw"
    with image.open("wb") as file:
        file.truncate(8 * MiB)
    subprocess.run(["mkfs.vfat", "-n", "IO", image], check=True, capture_output=True)
    (tmp_path / "status.json").write_text(json.dumps(finished(exit_code=2)))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "Result File.txt").write_text("42\n")
    subprocess.run(["mmd", "-i", image, "::/input", "::/output"], check=True)
    subprocess.run(["mcopy", "-i", image, tmp_path / "status.json", "::/"], check=True)
    subprocess.run(["mcopy", "-s", "-i", image, tmp_path / "deep", "::/output/"], check=True)
    result = found(image, tmp_path)
    assert (result.verdict, result.status["exit_code"], result.notes) == ("failed", 2, ())
    assert (tmp_path / "out/output/deep/Result File.txt").read_text() == "42\n"
