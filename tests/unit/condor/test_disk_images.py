"""Files at hand: what they really are against what the description says of them; and the judges."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from roost.condor import judge, oracle
from roost.condor.lint import LintReport, lint, lint_file
from roost.condor.rules import Effect, Severity
from roost.condor.submit.description import Description
from roost.condor.submit.language import read
from roost.host import process


def create(path: Path, *options: str, size: str = "1M") -> Path:
    process.run(["qemu-img", "create", "-q", *options, str(path), size], deadline=30)
    return path


def report(directory: Path, vm_disk: str, *, ask: bool = False, **more: str) -> LintReport:
    files = ",".join(item.partition(":")[0] for item in vm_disk.split(","))
    commands = {
        "universe": "vm", "executable": "label", "vm_type": "kvm", "vm_memory": "512", "request_memory": "512",
        "request_disk": "1GB", "vm_disk": vm_disk, "transfer_input_files": files, **more,
    }  # fmt: skip
    text = "".join(f"{name} = {value}\n" for name, value in commands.items()) + "queue\n"
    return lint(text, file="job.sub", directory=directory, ask=ask)


def codes(found: LintReport) -> list[str]:
    return [finding.rule.code for finding in found.findings]


def test_images_that_are_what_they_are_declared_as(tmp_path: Path) -> None:
    create(tmp_path / "root.qcow2", "-f", "qcow2")
    create(tmp_path / "io.raw", "-f", "raw")
    assert codes(report(tmp_path, "root.qcow2:vda:w:qcow2,io.raw:vdb:w:raw")) == []


def test_the_file_decides_where_the_name_misleads(tmp_path: Path) -> None:
    create(tmp_path / "root.raw", "-f", "qcow2")
    assert codes(report(tmp_path, "root.raw:vda:w:qcow2")) == []
    found = report(tmp_path, "root.raw:vda:w:raw")
    assert (codes(found), found.effect) == (["fmt-mismatch"], Effect.RUNS_FOREVER)
    found = report(tmp_path, "root.raw:vda:w")
    assert (codes(found), found.effect) == (["fmt-missing"], Effect.RUNS_FOREVER)


def test_a_raw_disk_declared_qcow2_is_refused(tmp_path: Path) -> None:
    create(tmp_path / "root.img", "-f", "raw")
    found = report(tmp_path, "root.img:vda:w:qcow2")
    assert (codes(found), found.effect) == (["fmt-mismatch"], Effect.HASVM_FALSE)
    assert (found.findings[0].where.line, found.findings[0].where.column) == (7, 26)


def test_xen_reads_no_qcow2(tmp_path: Path) -> None:
    create(tmp_path / "root.img", "-f", "qcow2")
    found = report(tmp_path, "root.img:xvda:w:raw", vm_type="xen", xen_kernel="included")
    assert (codes(found), found.effect) == (["xen-format-raw"], Effect.RUNS_FOREVER)


def test_a_relative_backing_file_travels_with_its_overlay(tmp_path: Path) -> None:
    create(tmp_path / "base.qcow2", "-f", "qcow2")
    process.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2"],
        deadline=30,
        cwd=tmp_path,
    )
    found = report(tmp_path, "top.qcow2:vda:w:qcow2")
    assert (codes(found), found.effect) == (["backing-missing"], Effect.HASVM_FALSE)
    assert codes(report(tmp_path, "top.qcow2:vda:w:qcow2", transfer_input_files="top.qcow2,base.qcow2")) == []


def overlay(path: Path, base: str, kind: str) -> None:
    argv = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", base, "-F", kind, path.name, "1M"]
    process.run(argv, deadline=30, cwd=path.parent)


def test_each_layer_below_a_disk_is_looked_at(tmp_path: Path) -> None:
    create(tmp_path / "base.raw", "-f", "raw")
    overlay(tmp_path / "middle.qcow2", "base.raw", "raw")
    overlay(tmp_path / "top.qcow2", "middle.qcow2", "qcow2")
    disk = "top.qcow2:vda:w:qcow2"
    assert codes(report(tmp_path, disk, transfer_input_files="top.qcow2,middle.qcow2,base.raw")) == []
    found = report(tmp_path, disk, transfer_input_files="top.qcow2,middle.qcow2")
    assert (codes(found), found.effect) == (["backing-missing"], Effect.HASVM_FALSE)
    assert "'middle.qcow2' is an overlay of 'base.raw'" in found.findings[0].message
    overlay(tmp_path / "middle.qcow2", "/abs/base.raw", "raw")
    assert codes(report(tmp_path, disk, transfer_input_files="top.qcow2,middle.qcow2")) == ["backing-absolute"]
    overlay(tmp_path / "middle.qcow2", "top.qcow2", "qcow2")
    found = report(tmp_path, disk, transfer_input_files="top.qcow2,middle.qcow2")
    assert (codes(found), found.effect) == (["backing-loop"], Effect.HASVM_FALSE)


@pytest.mark.parametrize(
    ("base", "said", "effect"), [("raw", "qcow2", Effect.HASVM_FALSE), ("qcow2", "raw", Effect.RUNS_FOREVER)]
)
def test_a_base_of_another_format(tmp_path: Path, base: str, said: str, effect: Effect) -> None:
    create(tmp_path / "base.img", "-f", base)
    overlay(tmp_path / "top.qcow2", "base.img", said)
    found = report(tmp_path, "top.qcow2:vda:w:qcow2", transfer_input_files="top.qcow2,base.img")
    assert (codes(found), found.effect) == (["backing-mismatch"], effect)


def test_a_directory_is_not_a_disk(tmp_path: Path) -> None:
    (tmp_path / "root.raw").mkdir()
    found = report(tmp_path, "root.raw:vda:w:raw", transfer_input_files="root.raw")
    assert (codes(found), found.effect) == (["file-kind"], Effect.HASVM_FALSE)


def test_files_are_not_looked_for_where_initialdir_is_not_known(tmp_path: Path) -> None:
    create(tmp_path / "root.raw", "-f", "qcow2")
    assert codes(report(tmp_path, "root.raw:vda:w:raw", initialdir="run-$(where)")) == []


def test_an_absolute_backing_file_fails(tmp_path: Path) -> None:
    base = create(tmp_path / "base.qcow2", "-f", "qcow2")
    process.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "qcow2", str(tmp_path / "t.qcow2")],
        deadline=30,
    )
    found = report(tmp_path, "t.qcow2:vda:w:qcow2", transfer_input_files="t.qcow2,base.qcow2")
    assert (codes(found), found.effect) == (["backing-absolute"], Effect.HASVM_FALSE)


def test_a_backing_file_without_format(tmp_path: Path) -> None:
    create(tmp_path / "base.qcow2", "-f", "qcow2")
    process.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "t.qcow2"],
        deadline=30,
        cwd=tmp_path,
    )
    process.run(
        ["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "base.qcow2", "-F", "", "t.qcow2"],
        deadline=30,
        cwd=tmp_path,
        check=False,
    )
    data = (tmp_path / "t.qcow2").read_bytes()
    # The backing format is a header extension, 0xe2792aca; qemu-img no longer leaves it out by itself.
    (tmp_path / "t.qcow2").write_bytes(data.replace(b"\xe2\x79\x2a\xca", b"\x12\x34\x56\x78"))
    found = report(tmp_path, "t.qcow2:vda:w:qcow2", transfer_input_files="t.qcow2,base.qcow2")
    assert codes(found) == ["backing-format"]


def test_an_encrypted_image_is_refused(tmp_path: Path) -> None:
    # Not LUKS: to make that, qemu-img measures the CPU, which fails now and then on a busy machine.
    options = "encrypt.format=aes,encrypt.key-secret=s"
    create(tmp_path / "root.qcow2", "--object", "secret,id=s,data=abc", "-f", "qcow2", "-o", options)
    found = report(tmp_path, "root.qcow2:vda:w:qcow2")
    assert "encrypted" in codes(found)
    assert found.effect is Effect.HASVM_FALSE


@pytest.mark.parametrize(
    ("bit", "code", "effect"), [(1, "image-dirty", Effect.OK), (2, "image-corrupt", Effect.HASVM_FALSE)]
)
def test_the_header_of_an_unclean_image(tmp_path: Path, bit: int, code: str, effect: Effect) -> None:
    image = create(tmp_path / "root.qcow2", "-f", "qcow2", "-o", "lazy_refcounts=on")
    data = bytearray(image.read_bytes())
    struct.pack_into(">Q", data, 72, bit)
    image.write_bytes(data)
    found = report(tmp_path, "root.qcow2:vda:w:qcow2")
    assert code in codes(found)
    assert found.effect is effect


def test_damaged_tables_are_found(tmp_path: Path) -> None:
    image = create(tmp_path / "root.qcow2", "-f", "qcow2")
    process.run(["qemu-io", "-f", "qcow2", "-c", "write -P 1 0 64k", str(image)], deadline=30)
    data = bytearray(image.read_bytes())
    table = struct.unpack_from(">Q", data, 40)[0]
    struct.pack_into(">Q", data, table, 0x7FFFFFFF0000)
    image.write_bytes(data)
    found = report(tmp_path, "root.qcow2:vda:w:qcow2")
    assert "image-corrupt" in codes(found)


def test_an_image_that_many_jobs_name_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = create(tmp_path / "a.qcow2", "-f", "qcow2")
    other = create(tmp_path / "b.qcow2", "-f", "qcow2", size="2M")
    run = process.run
    called: list[str] = []

    def counted(argv: Sequence[str], **how: Any) -> process.Completed:
        called.append(argv[1])
        return run(argv, **how)

    monkeypatch.setattr(process, "run", counted)
    before = [codes(report(tmp_path, "a.qcow2:vda:w:qcow2")) for _ in range(3)]
    assert called == ["info", "check"] and before[0] == before[1] == before[2]
    # Another file under its name is another image.
    other.replace(disk)
    report(tmp_path, "a.qcow2:vda:w:qcow2")
    assert called == ["info", "check"] * 2


def test_an_image_with_data_elsewhere_is_not_opened(tmp_path: Path) -> None:
    create(tmp_path / "root.qcow2", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'},data_file_raw=on")
    found = report(tmp_path, "root.qcow2:vda:w:qcow2")
    assert codes(found) == ["data-file"]


def test_a_header_cut_short(tmp_path: Path) -> None:
    (tmp_path / "root.qcow2").write_bytes(b"QFI\xfb\0\0\0\3")
    assert codes(report(tmp_path, "root.qcow2:vda:w:qcow2")) == ["image-corrupt"]


@pytest.mark.parametrize(
    "data", [b"", b"QFI\xfb" + b"\xff" * 200, b"KDMV", b"vhdxfile" + b"\0" * 90, b"\0" * 64 + b"\x7f\x10\xda\xbe"]
)
def test_odd_files_never_raise(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "root.img").write_bytes(data)
    assert codes(report(tmp_path, "root.img:vda:w:qcow2"))


def test_modes(tmp_path: Path) -> None:
    image = create(tmp_path / "root.raw", "-f", "raw")
    image.chmod(0o444)
    found = report(tmp_path, "root.raw:vda:w:raw")
    assert (codes(found), found.effect) == (["file-readonly"], Effect.HASVM_FALSE)
    assert codes(report(tmp_path, "root.raw:vda:r:raw")) == []
    image.chmod(0)
    found = report(tmp_path, "root.raw:vda:w:raw")
    assert "file-unreadable" in codes(found)
    assert found.effect is Effect.HELD


def test_request_disk_against_virtual_sizes(tmp_path: Path) -> None:
    create(tmp_path / "thin.qcow2", "-f", "qcow2", size="10G")
    found = report(tmp_path, "thin.qcow2:vda:w:qcow2")
    assert [(finding.rule.code, finding.rule.severity) for finding in found.findings] == [
        ("request-disk-small", Severity.WARNING)
    ]
    assert codes(report(tmp_path, "thin.qcow2:vda:w:qcow2", request_disk="")) == ["request-disk-thin"]
    assert codes(report(tmp_path, "thin.qcow2:vda:w:qcow2", request_disk="11GB")) == []
    assert codes(report(tmp_path, "thin.qcow2:vda:w:qcow2", request_disk=str(11 << 20))) == []


def test_files_are_looked_up_in_initialdir(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    create(tmp_path / "run" / "root.raw", "-f", "raw")
    assert codes(report(tmp_path, "root.raw:vda:w:raw", initialdir="run")) == []


def test_the_judge_finds_what_the_rules_do_not_know(tmp_path: Path) -> None:
    create(tmp_path / "root.raw", "-f", "raw")
    found = report(tmp_path, "root.raw:vda:w:raw", ask=True, kill_sig="SIGFOO")
    assert (codes(found), found.effect) == (["condor-submit"], Effect.REJECTED)
    assert "SIGFOO" in found.findings[0].message


def test_the_judge_agrees_with_a_good_description(tmp_path: Path) -> None:
    create(tmp_path / "root.raw", "-f", "raw")
    assert codes(report(tmp_path, "root.raw:vda:w:raw", ask=True)) == []


@pytest.mark.parametrize("line", ["include command : touch ran", "include : touch ran |", "queue x from touch ran |"])
def test_commands_of_a_description_are_never_run(tmp_path: Path, line: str) -> None:
    create(tmp_path / "root.raw", "-f", "raw")
    file = tmp_path / "job.sub"
    file.write_text(
        "universe = vm\nexecutable = x\nvm_type = kvm\nvm_memory = 512\nvm_disk = root.raw:vda:w:raw\n"
        f"transfer_input_files = root.raw\n{line}\n"
    )
    found = lint_file(file)
    assert found.ok
    assert "judge" in codes(found)
    assert not (tmp_path / "ran").exists()


def test_a_list_of_jobs_that_is_absent_is_not_a_refusal(tmp_path: Path) -> None:
    create(tmp_path / "root.raw", "-f", "raw")
    text = "universe = vm\nexecutable = x\nvm_type = kvm\nvm_memory = 512\nvm_disk = root.raw:vda:w:raw\n"
    found = lint(text + "transfer_input_files = root.raw\nqueue x from no.csv\n", file="job.sub", directory=tmp_path)
    assert found.ok


HEAD = "universe = vm\nexecutable = x\nvm_type = kvm\nvm_memory = 512\nvm_disk = root.raw:vda:w:raw\n"
HEAD += "transfer_input_files = root.raw\ntransfer_output_files =\n"
ROWS = "".join(f"a{number}\n" for number in range(20_000))


@pytest.mark.parametrize(
    ("lines", "asked"),
    [
        ("queue 1000000", True),
        ("many = 500000\nqueue $(many)", True),
        (f"queue 1 x from (\n{ROWS})\n+Foo = 1", True),
        (f"queue x in (\n{ROWS})", True),
        ("queue 20000 x, y from (\na b\n# c\nc d\n)", True),
        ("queue x from rows.txt", True),
        ("queue x matching files *.raw", True),
        ("queue x from /dev/zero", False),
        ("queue x from fifo", False),
        ("x509userproxy = fifo\nqueue", False),
        ("include ifexist : fifo\nqueue", False),
        ("queue x matching files /proc/*/*/*", False),
    ],
)
def test_condor_submit_is_asked_about_the_first_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, asked: bool
) -> None:
    create(tmp_path / "root.raw", "-f", "raw")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "rows.txt").write_text(ROWS)
    told = []

    def someone(text: str, _directory: Path) -> judge.Judgement:
        told.append(text)
        return judge.Judgement("", True, "")

    monkeypatch.setattr(judge, "_someone", someone)
    found = lint(f"{HEAD}{lines}\n", file="job.sub", directory=tmp_path)
    assert found.effect is not Effect.REJECTED
    assert ("judge" in codes(found)) is not asked
    assert len(told) == asked
    for text in told:
        assert len(text) < 21_000 and text.startswith(HEAD)
        assert read(text, "job.sub", lambda _: None, {}).jobs[0].count == 1


def test_what_the_parser_has_no_time_for_is_not_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "SECONDS", 1)
    monkeypatch.setattr(oracle, "answer", lambda _: signal.pause())
    assert oracle._forked("queue") == {
        "accepted": None,
        "message": "it did not end within 1 s",
        "ad": {},
    }
    create(tmp_path / "root.raw", "-f", "raw")
    said = json.dumps({"accepted": None, "message": "it did not end within 5 s", "ad": {}}).encode()
    monkeypatch.setattr(process, "which", lambda _: None)
    monkeypatch.setattr(process, "run", lambda *_, **__: process.Completed((), 0, said, 0.0))
    found = lint(f"{HEAD}queue\n", file="job.sub", directory=tmp_path)
    assert found.ok and codes(found) == ["judge"]


def test_an_answer_may_be_long() -> None:
    text = f'{HEAD}+Foo = "{"x" * 200_000}"\nqueue\n'
    assert oracle._forked(text)["accepted"] is True


def described(text: str, directory: Path) -> tuple[str, Path, Description]:
    return text, directory, read(text, "job.sub", lambda _: None, {})


def fake_condor_submit(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    tools = directory / "tools"
    tools.mkdir()
    tool = tools / "condor_submit"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin")
    assert shutil.which("condor_submit")


def test_a_local_condor_submit_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_condor_submit(tmp_path, monkeypatch, 'test "$1" = -dry-run || exit 9; echo "ERROR: on Line 3: no" >&2; exit 1')
    verdict = judge.ask(*described("universe = vm\n", tmp_path))
    assert (verdict.judge, verdict.accepted, verdict.line) == ("condor_submit -dry-run", False, 3)


def test_a_local_condor_submit_without_configuration_is_not_a_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_condor_submit(tmp_path, monkeypatch, 'echo "Neither CONDOR_CONFIG nor a config file" >&2; exit 1')
    verdict = judge.ask(*described("universe = vm\n", tmp_path))
    assert verdict.accepted is False
    assert "htcondor" in verdict.judge


def test_a_header_that_qemu_refuses_is_seen_before_any_tool_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = create(tmp_path / "root.qcow2", "-f", "qcow2")
    data = bytearray(image.read_bytes())
    struct.pack_into(">I", data, 36, (64 << 20) // 8)
    image.write_bytes(data)
    monkeypatch.setattr(process, "which", lambda _tool: None)
    found = report(tmp_path, "root.qcow2:vda:w:qcow2")
    assert codes(found) == ["image-corrupt"]
    assert "table of 8388608 entries" in found.findings[0].message


def test_a_path_longer_than_any_is_not_looked_at(tmp_path: Path) -> None:
    """Asking the file system for it fails in another way than for a file that is not there."""
    found = report(tmp_path, f"/{'a/' * 3000}root.raw:vda:w:raw", transfer_input_files="io.raw")
    assert found.ok and "path-shared" in codes(found)
