"""Disks that came back: done, failed, never started, killed, unreadable, and what hostile ones try."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from invoke.exceptions import Exit

from roost.cli.jobs import collect as collect_task
from roost.errors import HostError, UsageError
from roost.events import Silent
from roost.host import namespace
from roost.iodisk.collect import Collected, collect
from roost.iodisk.status import judge
from roost.pipeline import jobs

MiB = 1 << 20


def finished(**changes: Any) -> dict[str, Any]:
    """Return the status of a job that ended."""
    return {
        "state": "finished", "exit_code": 0, "signal": None, "timed_out": False, "start": "2026-01-02T03:04:05Z",
        "end": "2026-01-02T03:05:05Z", "host": "node", "roost_version": "0.1.0", **changes,
    }  # fmt: skip


def disk(directory: Path, status: dict[str, Any] | str | None, *options: str, size: int = 8 * MiB) -> Path:
    """Return an ext4 disk with a job's directories, `directory/content` and a status on it."""
    content = directory / "content"
    for name in ("input", "output"):
        (content / name).mkdir(parents=True, exist_ok=True)
    if status is not None:
        text = status if isinstance(status, str) else json.dumps(status)
        (content / "status.json").write_text(f"{text:<4095}\n")
    image = directory / "io.raw"
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


def found(image: Path, directory: Path, **limits: Any) -> Collected:
    """Collect a disk into `directory/out` and see that the disk is as it was."""
    before = image.read_bytes()
    result = collect(image, directory / "out", files=limits.pop("files", 1000), **limits)
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
    assert list((tmp_path / "out").iterdir()) == []
    assert "status.json: it is a link" in result.why
    assert any(one.startswith("output: it is a link") for one in result.lost)


@pytest.mark.parametrize("name", [b"../evil", b"/etc/xx", b"a/../..", b".\0eviiil"[:7]])
def test_names_that_lead_out_do_not(tmp_path: Path, name: bytes) -> None:
    output = tmp_path / "content" / "output"
    output.mkdir(parents=True)
    (output / "XXXXXXX").write_text("evil\n")
    (output / "good").write_text("good\n")
    image = disk(tmp_path, finished())
    data = image.read_bytes()
    assert data.count(b"XXXXXXX") == 1
    image.write_bytes(data.replace(b"XXXXXXX", name))
    before = {path for path in tmp_path.rglob("*") if "output" not in path.parts}
    result = found(image, tmp_path)
    assert (tmp_path / "out/output/good").read_text() == "good\n"
    assert {path for path in tmp_path.rglob("*") if "output" not in path.parts} - before <= {
        tmp_path / "out",
        tmp_path / "out/status.json",
        tmp_path / "out/lost+found",
    }
    assert result.verdict == "unreadable"
    assert result.lost


def test_a_directory_that_contains_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "content" / "output" / "a" / "b").mkdir(parents=True)
    image = disk(tmp_path, finished())
    debugfs(image, "link /output /output/a/b/again", "link /output/a /output/a/b/a")
    result = found(image, tmp_path)
    assert (tmp_path / "out/output/a/b").is_dir()
    assert result.verdict == "unreadable"
    assert result.lost


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


def test_files_that_are_not_disks(tmp_path: Path) -> None:
    for name, content in {"empty": b"", "zeros": bytes(MiB), "text": b"hello\n" * 1000, "short": b"QFI\xfb"}.items():
        path = tmp_path / name
        path.write_bytes(content)
        result = found(path, tmp_path)
        assert result.verdict == "unreadable", name
        assert result.directory is None
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
    assert result.lost == ()


@pytest.mark.parametrize(("request_", "verdict"), [("ssv state 2", "unreadable"), ("ssv error_count 3", "unreadable")])
def test_errors_that_the_kernel_found_are_a_loss(tmp_path: Path, request_: str, verdict: str) -> None:
    image = disk(tmp_path, finished())
    debugfs(image, request_)
    result = found(image, tmp_path)
    assert result.verdict == verdict
    assert "the kernel found" in result.why


def test_a_journal_that_was_not_replayed_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "content" / "output").mkdir(parents=True)
    (tmp_path / "content" / "output" / "x").write_text("42")
    image = disk(tmp_path, finished(), size=16 * MiB)
    at = block_of(image, "/output")
    (tmp_path / "block").write_bytes(image.read_bytes()[at * 1024 : (at + 1) * 1024])
    debugfs(image, "jo", f"jw -b {at} {tmp_path}/block", "jc")
    data = bytearray(image.read_bytes())
    # Only the journal has the directory now.
    data[at * 1024 : (at + 1) * 1024] = bytes(1024)
    image.write_bytes(data)
    result = found(image, tmp_path)
    assert (result.verdict, result.lost) == ("done", ())
    assert (tmp_path / "out/output/x").read_text() == "42"


@pytest.mark.parametrize("seed", range(24))
def test_damage_anywhere_loses_nothing_in_silence(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    output = tmp_path / "content" / "output"
    (output / "a").mkdir(parents=True)
    for number in range(40):
        (output / "a" / f"a name of some length {number}").write_text("x" * 50 * number)
    (output / "big").write_bytes(chance.randbytes(200_000))
    image = disk(tmp_path, finished(), "-O", "metadata_csum", size=4 * MiB)
    good = {path.relative_to(output): path.read_bytes() for path in output.rglob("*") if path.is_file()}
    data = bytearray(image.read_bytes())
    # Data has no checksums: only what is not data of a file is damaged.
    contents = {text[at : at + 1024] for text in good.values() for at in range(0, len(text), 1024)}
    blocks = [
        at
        for at in range(1024, len(data), 1024)
        if any(data[at : at + 1024])
        and b'"state"' not in data[at : at + 1024]
        and not data[at : at + 1024].isspace()
        and not any(data.startswith(text, at) for text in contents if text)
    ]
    for _ in range(chance.choice([1, 1, 2, 20])):
        at = chance.choice(blocks) + chance.randrange(1024)
        data[at] ^= 1 << chance.randrange(8)
    if seed % 8 == 7:
        del data[chance.randrange(len(data)) :]
    image.write_bytes(data)
    result = found(image, tmp_path)
    assert result.verdict in {"done", "unreadable"}, result.why
    if result.verdict == "done":
        out = tmp_path / "out/output"
        assert {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()} == good
    else:
        assert result.why


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
        assert (result.verdict, result.directory) == ("unreadable", None), name
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


def flip(image: Path, at: int, bit: int = 0) -> None:
    """Flip one bit of an image."""
    data = bytearray(image.read_bytes())
    data[at] ^= 1 << bit
    image.write_bytes(data)


def block_of(image: Path, path: str) -> int:
    """Return the first block of a file of an image."""
    done = subprocess.run(["debugfs", "-R", f"blocks {path}", image], capture_output=True, check=True, text=True)
    return int(done.stdout.split()[0])


def test_a_damaged_directory_is_never_done(tmp_path: Path) -> None:
    (tmp_path / "content" / "output").mkdir(parents=True)
    (tmp_path / "content" / "output" / "r.txt").write_text("42\n")
    image = disk(tmp_path, finished(), "-O", "metadata_csum")
    at = image.read_bytes().index(b"r.txt")
    flip(image, at)
    result = found(image, tmp_path)
    assert result.verdict == "unreadable"
    assert "files may be lost" in result.why
    assert result.to_json()["complete"] is False
    # What can be had is there, and the status says how the job ended.
    assert [path.read_text() for path in (tmp_path / "out/output").iterdir()] == ["42\n"]
    assert result.to_json()["exit_code"] == 0
    assert "may be incomplete: output" in result.notes


@pytest.mark.parametrize("at", [1024 + 0x58, 1024 + 0x28, 1024 + 0x60, 1024 + 0x18])
def test_a_damaged_superblock_is_not_a_disk_that_never_started(tmp_path: Path, at: int) -> None:
    for status in (finished(), None):
        image = disk(tmp_path, status, "-O", "metadata_csum")
        flip(image, at, 1)
        assert found(image, tmp_path).verdict == "unreadable"


def test_a_damaged_root_directory_is_not_a_disk_that_never_started(tmp_path: Path) -> None:
    image = disk(tmp_path, finished(), "-O", "metadata_csum")
    data = bytearray(image.read_bytes())
    start = block_of(image, "/") * 1024
    data[start : start + 1024] = bytes(1024)
    image.write_bytes(data)
    result = found(image, tmp_path)
    assert result.verdict == "unreadable"
    # e2fsck found the nameless directories again.
    assert (tmp_path / "out/lost+found").is_dir() or result.directory is None


def test_a_name_like_a_line_of_debugfs_hides_nothing(tmp_path: Path) -> None:
    output = tmp_path / "content" / "output"
    output.mkdir(parents=True)
    names = [
        b"a", b"x\ndebugfs: ls -p <12>\n", b"x\ndebugfs: inode_dump <12>\n0000  ed41 0000 0004 0000 3738 086b 3738 08",
        b"/13/100644/0/0/y".replace(b"/", b"|"), b"y\n", b"\x1b[2J", b"\"'\\", b"z", b" ", b"-", b"..x", b"\x01" * 255,
    ]  # fmt: skip
    for number, name in enumerate(names):
        (output / os.fsdecode(name)).write_text(f"{number}")
    result = found(disk(tmp_path, finished()), tmp_path)
    assert (result.verdict, result.files, result.lost) == ("done", len(names), ())
    for number, name in enumerate(names):
        assert (tmp_path / "out/output" / os.fsdecode(name)).read_text() == f"{number}"


@pytest.mark.parametrize(
    ("requests", "word"),
    [
        (["rmdir output", "symlink output /scratch/results"], "output: it is a link"),
        (["rmdir output", "mknod output p"], "output: it is a device or pipe"),
        (["rmdir output", "write {file} output"], "output: it is a file"),
        (["symlink job.log /etc/hostname"], "job.log: it is a link"),
        (["mkdir job.log"], "job.log: it is a directory"),
    ],
)
def test_what_is_not_what_the_runner_makes_is_named(tmp_path: Path, requests: list[str], word: str) -> None:
    image = disk(tmp_path, finished())
    file = tmp_path / "file"
    file.write_text("x")
    debugfs(image, *(request.format(file=file) for request in requests))
    result = found(image, tmp_path)
    assert result.verdict == "unreadable"
    assert any(one.startswith(word) for one in result.lost), result.lost


def test_hard_links_sparse_files_and_large_directories_come_out(tmp_path: Path) -> None:
    output = tmp_path / "content" / "output"
    (output / "many").mkdir(parents=True)
    (output / "one").write_bytes(os.urandom(2 * MiB))
    for number in range(4):
        (output / f"link{number}").hardlink_to(output / "one")
    with (output / "sparse").open("wb") as file:
        file.seek(2 * MiB)
        file.write(b"end")
    for number in range(700):
        (output / "many" / f"a name that fills the blocks of a directory {number}").write_text(f"{number}")
    for options in ([], ["-O", "^dir_index"], ["-b", "4096"], ["-O", "^extent,^64bit"], ["-O", "^filetype"]):
        image = disk(tmp_path, finished(), "-N", "1024", *options, size=16 * MiB)
        subprocess.run(["e2fsck", "-fyD", image], capture_output=True, check=False)
        result = found(image, tmp_path)
        assert (result.verdict, result.files, result.lost) == ("done", 707, ()), options
        for path in output.rglob("*"):
            if path.is_file():
                assert (tmp_path / "out/output" / path.relative_to(output)).read_bytes() == path.read_bytes()


def test_small_directories_in_their_inode_come_out(tmp_path: Path) -> None:
    output = tmp_path / "content" / "output"
    (output / "d").mkdir(parents=True)
    for number in range(6):
        (output / "d" / f"a longer name {number}").write_text("x" * 10 * number)
    result = found(disk(tmp_path, finished(), "-O", "inline_data", "-I", "256"), tmp_path)
    assert (result.verdict, result.files) == ("done", 7)
    assert (tmp_path / "out/output/d/a longer name 5").read_text() == "x" * 50


def test_directories_that_are_too_deep_are_a_loss(tmp_path: Path) -> None:
    (tmp_path / "content" / "output" / "/".join("d" * 70)).mkdir(parents=True)
    result = found(disk(tmp_path, finished()), tmp_path)
    assert (result.verdict, len(result.lost)) == ("done", 1)
    assert "deeper than 64" in result.lost[0]
    assert result.to_json()["complete"] is False


def test_the_log_is_bounded_too(tmp_path: Path) -> None:
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "job.log").write_bytes(b"0123456789" * 100_000)
    image = disk(tmp_path, finished())
    result = found(image, tmp_path, size=500_000)
    assert (tmp_path / "out/job.log").stat().st_size == 500_000
    assert result.lost == ("job.log: cut after 500000 of 1000000 bytes",)
    assert found(image, tmp_path).lost == ()


@pytest.mark.parametrize(
    "status",
    [
        '{"state": "finished", "exit_code": true}', '{"state": "finished", "exit_code": 0.0}',
        '{"state": "finished", "exit_code": 99999999999999999999}', '{"state": "finished", "exit_code": NaN}',
        '{"state": "finished", "exit_code": "0"}', '"finished"', "3", "\ufeff[",
        '{"state": ["finished"], "exit_code": 0}',
        '{"state": "finished", "exit_code": 0} x', '{"a":' * 600, "9" * 4000,
    ],
)  # fmt: skip
def test_a_status_of_other_types_reads_as_none(tmp_path: Path, status: str) -> None:
    result = judge(status.encode())
    assert result[0] == "unreadable"


def test_a_status_has_only_plain_values() -> None:
    text = b'{"state": "finished", "exit_code": 0, "start": 1e999, "host": ["x"], "end": "a\\u001b[2J", "x": {"y": 1}}'
    verdict, _, status = judge(text)
    assert verdict == "done"
    assert json.loads(json.dumps(status, allow_nan=False))["end"] == "a\\x1b[2J"
    assert "host" not in status
    assert "start" not in status


def test_a_huge_status_is_not_read(tmp_path: Path) -> None:
    image = disk(tmp_path, json.dumps(finished()) + " " * MiB)
    result = found(image, tmp_path)
    assert result.verdict == "unreadable"
    assert "status.json: it has" in result.why


def test_a_qcow2_with_damaged_tables_is_never_done(tmp_path: Path) -> None:
    (tmp_path / "content" / "output").mkdir(parents=True)
    (tmp_path / "content" / "output" / "x").write_bytes(os.urandom(2 * MiB))
    raw = disk(tmp_path, finished())
    image = tmp_path / "io.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, image], check=True)
    data = image.read_bytes()
    table = struct.unpack_from(">Q", data, 40)[0]
    second = struct.unpack_from(">Q", data, table)[0] & 0x00FFFFFFFFFFFE00
    used = [second + 8 * n for n in range(128) if any(data[second + 8 * n : second + 8 * n + 8])]
    for at in (table, second, used[-1], used[len(used) // 2]):
        for value in (0, 1 << 50, 0x8000000000010001):
            damaged = bytearray(data)
            struct.pack_into(">Q", damaged, at, value)
            image.write_bytes(damaged)
            assert found(image, tmp_path).verdict == "unreadable", (at, value)


def test_other_file_systems_and_partitions_that_are_cut_off_are_reported(tmp_path: Path) -> None:
    content = disk(tmp_path, None)
    debugfs(content, "rmdir input", "rmdir output")
    image = tmp_path / "table.raw"
    with image.open("wb") as file:
        file.truncate(40 * MiB)
    table = "label: dos\nstart=2048, size=16384, type=83\nstart=32768, size=40960, type=83\n"
    subprocess.run(["sfdisk", "-q", image], input=table, text=True, check=True)
    data = bytearray(image.read_bytes())
    data[MiB : 9 * MiB] = content.read_bytes()
    data[16 * MiB : 16 * MiB + 4] = b"XFSB"
    image.write_bytes(data)
    result = found(image, tmp_path)
    assert result.verdict == "unreadable"
    assert "partition 2 (xfs)" in result.why
    os.truncate(image, 30 * MiB)
    result = found(image, tmp_path)
    assert result.verdict == "unreadable"
    assert "beyond the end" in result.why


def test_a_damaged_vfat_disk_is_never_done(tmp_path: Path) -> None:
    image = tmp_path / "io.raw"
    with image.open("wb") as file:
        file.truncate(8 * MiB)
    subprocess.run(["mkfs.vfat", "-s", "1", image], check=True, capture_output=True)
    (tmp_path / "status.json").write_text(json.dumps(finished()))
    (tmp_path / "r").write_bytes(b"x" * 9000)
    subprocess.run(["mmd", "-i", image, "::/input", "::/output", "::/output/d"], check=True)
    subprocess.run(["mcopy", "-i", image, tmp_path / "status.json", "::/"], check=True)
    subprocess.run(["mcopy", "-i", image, tmp_path / "r", "::/output/d/"], check=True)
    assert found(image, tmp_path).verdict == "done"
    data = bytearray(image.read_bytes())
    at = data.index(b"R          ") + 26
    struct.pack_into("<H", data, at, 0)
    image.write_bytes(data)
    result = found(image, tmp_path)
    assert result.verdict == "unreadable"
    assert "fsck.fat" in result.lost[0]


def test_only_results_of_collect_are_replaced(tmp_path: Path) -> None:
    image = disk(tmp_path, finished())
    out = tmp_path / "out"
    found(image, tmp_path)
    found(image, tmp_path)
    (out / "mine").write_text("precious")
    with pytest.raises(UsageError, match="not a result of collect: it has mine"):
        collect(image, out, files=10)
    assert (out / "mine").read_text() == "precious"
    makers: list[Callable[[Path], object]] = [lambda path: path.symlink_to(out), lambda path: path.touch(), os.mkfifo]
    for number, make in enumerate(makers):
        target = tmp_path / f"target{number}"
        make(target)
        with pytest.raises(UsageError, match="is not a directory") as raised:
            collect(image, target, files=10)
        assert ("(remove it" in str(raised.value)) is (make is not os.mkfifo)
    for device in ("/dev/null", "/dev/stdout", "/dev/fd/1"):
        with pytest.raises(UsageError, match=r"is not a directory \(name another directory for the results\)"):
            collect(image, Path(device), files=10)


def test_a_full_host_is_not_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_source: Path, _target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out")

    image = disk(tmp_path, finished())
    with monkeypatch.context() as patch:
        patch.setattr("roost.iodisk.collect._move", full)
        (tmp_path / "content" / "job.log").write_text("x")
        with pytest.raises(HostError, match="No space left"):
            collect(image, tmp_path / "out", files=10)
        assert not (tmp_path / "out").exists()
        other = tmp_path / "other.raw"
        other.write_bytes(bytes(MiB))
        answer = jobs.collect_all([str(image), str(other), str(tmp_path / "res")], events=Silent())
        assert [one["verdict"] for one in answer["disks"]] == ["not collected", "unreadable"]
        assert answer["host_fault"] is True
        assert answer["ok"] is False
    with monkeypatch.context() as patch:
        patch.setattr("os.statvfs", lambda _path: os.statvfs_result((4096, 4096, 9, 0, 0, 9, 9, 9, 0, 255)))
        with pytest.raises(HostError, match="no space is left"):
            collect(tmp_path / "other.raw", tmp_path / "out", files=10)


def test_a_limit_of_file_size_is_not_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = disk(tmp_path, finished())
    monkeypatch.setattr("resource.getrlimit", lambda _which: (MiB, MiB))
    with pytest.raises(HostError, match="files of this process may have 1048576"):
        collect(image, tmp_path / "out", files=10)


_LIMITED = """
import resource, sys
from pathlib import Path
from roost.errors import HostError
from roost.iodisk.collect import collect

resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[3]), int(sys.argv[3])))
try:
    print(collect(Path(sys.argv[1]), Path(sys.argv[2]), files=10).verdict)
except HostError:
    print("not collected")
"""


@pytest.mark.parametrize("limit", [100_000 << 10, 150_000 << 10, 1 << 30])
def test_a_limit_of_memory_is_not_the_disk(tmp_path: Path, limit: int) -> None:
    image = disk(tmp_path, finished())
    argv = [sys.executable, "-c", _LIMITED, str(image), str(tmp_path / "out"), str(limit)]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    assert said in ({"done"} if limit == 1 << 30 else {"done", "not collected"})


def test_a_full_directory_is_the_one_that_is_named(tmp_path: Path) -> None:
    output = tmp_path / "content" / "output"
    output.mkdir(parents=True)
    (output / "sum").write_bytes(os.urandom(MiB))
    image = disk(tmp_path, finished())
    code = (
        "import sys; from pathlib import Path; from roost.errors import RoostError\n"
        "from roost.iodisk.collect import collect\n"
        "try: collect(Path(sys.argv[1]), Path(sys.argv[2]) / 'io', files=100)\n"
        "except RoostError as error: print(error.exit_code, error)\n"
        "print([path.name for path in Path(sys.argv[2]).iterdir()])"
    )
    (tmp_path / "small").mkdir()
    script = 'mount -t tmpfs -o size=256k roost "$1" && shift && exec "$@"'
    argv = ["sh", "-c", script, "sh", str(tmp_path / "small"), sys.executable, "-P", "-c", code, str(image)]
    done = subprocess.run(
        namespace.current().argv([*argv, str(tmp_path / "small")]),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    told, left = done.stdout.splitlines()
    where = tmp_path / "small/io"
    assert told.startswith(f"3 io.raw cannot be collected into {where}: No space left on device (free some space")
    assert left == "[]"


@pytest.mark.parametrize("made", [False, True])
def test_a_directory_that_was_not_made_is_not_said_to_have_results(
    made: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    image = disk(tmp_path, finished()) if made else tmp_path / "text.raw"
    if not made:
        image.write_bytes(b"hello\n" * 1000)
    with contextlib.suppress(SystemExit, Exit):
        collect_task.body(None, words=[str(image), "results"])
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == ("1 done; in results" if made else "1 unreadable; nothing is in results")
    assert (tmp_path / "results").exists() == made
