"""What many jobs of one description do to each other, and what their queue statements really say."""

from __future__ import annotations

import bz2
import gzip
import lzma
import time
from pathlib import Path

import pytest

from roost.condor.lint import LintReport, lint, lint_text
from roost.condor.rules import Effect, Severity

BASE = """universe = vm
executable = label
vm_type = kvm
vm_memory = 512
request_memory = 512
request_disk = 9GB
"""
TWO = BASE + "vm_disk = root.raw:vda:w:raw,io.raw:vdb:w:raw\ntransfer_input_files = root.raw,io.raw\n"
OUT = TWO + "transfer_output_files = io.raw\n"
WRONG = Effect.WRONG_DATA


def codes(report: LintReport, severity: Severity = Severity.ERROR) -> list[str]:
    return [finding.rule.code for finding in report.findings if finding.rule.severity is severity]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (TWO + "queue 10\n", ["output-collides"] * 2),
        (TWO + "queue\nqueue\n", ["output-collides"] * 2),
        (TWO + "queue x from (\n1\n2\n)\n", ["output-collides"] * 2),
        (TWO + "queue 2 x in (1)\n", ["output-collides"] * 2),
        (TWO.replace("io.raw:vdb:w", "io.raw:vdb:r") + "queue 2\n", ["output-collides"]),
        (OUT + "queue 10\n", ["output-collides"]),
        (OUT + 'transfer_output_remaps = "io.raw = r.raw"\nqueue 3\n', ["remap-collides"]),
        (OUT + 'transfer_output_remaps = "io.raw = r.raw"\nqueue\nqueue\n', ["remap-collides"]),
        (OUT + 'transfer_output_remaps = "io.raw = r$(Cluster).raw"\nqueue 3\n', ["remap-collides"]),
        (OUT + 'transfer_output_remaps = "io.raw = r$(x).raw"\nqueue 2 x in (a b)\n', ["remap-collides"] * 2),
        (OUT + "initialdir = here\nqueue 3\n", ["output-collides"]),
        (OUT + "initialdir = a\nqueue\ninitialdir = ./a/\nqueue\n", ["output-collides"]),
        (OUT + "output_destination = file:///s/\nqueue 2\n", ["output-collides"]),
        (TWO + 'transfer_output_remaps = "io.raw = r$(Process).raw"\nqueue 2\n', ["output-collides"]),
    ],
)
def test_jobs_that_return_their_disks_over_each_other(text: str, found: list[str]) -> None:
    report = lint_text(text, environment={})
    assert codes(report) == found, report.render()
    assert (report.ok, report.effect) == (False, WRONG)


@pytest.mark.parametrize(
    "text",
    [
        TWO + "queue\n",
        TWO + "queue 1\n",
        TWO + "transfer_output_files = \nqueue\n",
        TWO + 'transfer_output_files = ""\nqueue 9\n',
        TWO + "vm_no_output_vm = true\nqueue 9\n",
        OUT + 'transfer_output_remaps = "io.raw = r$(Process).raw"\nqueue 3\n',
        OUT + 'transfer_output_remaps = "io.raw = r$(Process).raw"\nqueue\nqueue\n',
        OUT + 'transfer_output_remaps = "io.raw = r$(x)-$(Step).raw"\nqueue 2 x in (a b)\n',
        OUT + 'transfer_output_remaps = "io.raw = $INT(Process,%03d)/"\nqueue 3\n',
        OUT + "initialdir = run$(Process)\nqueue 3\n",
        OUT + "initialdir = $(dir)\nqueue dir in (a b c)\n",
        OUT + "initialdir = a\nqueue\ninitialdir = b\nqueue\n",
        OUT + "output_destination = file:///s/$(Cluster).$(Process)/\nqueue 2\n",
        OUT + 'transfer_output_remaps = "io.raw = $RANDOM_INTEGER(1,99999).raw"\nqueue 3\n',
        TWO.replace(":w:", ":r:") + "queue 3\n",
        OUT.replace("= io.raw\n", "= $(io)\n").replace("io.raw", "$(io)") + "queue io in (a.raw b.raw)\n",
    ],
)
def test_jobs_that_do_not(text: str) -> None:
    report = lint_text(text, environment={})
    assert report.ok and report.effect is Effect.OK, report.render()


@pytest.mark.parametrize(
    ("remap", "over"),
    [
        ("io.raw = root.raw", True),
        ("io.raw = io.raw", True),
        ("io.raw = ./io.raw", True),
        ("io.raw = ./", True),
        ("io.raw = out/io.raw", False),
        ("io.raw = new.raw", False),
    ],
)
def test_a_remap_over_a_submitted_file_is_reported(remap: str, over: bool) -> None:
    report = lint_text(f'{OUT}transfer_output_remaps = "{remap}"\nqueue\n', environment={})
    assert ("tof-overwrites" in codes(report, Severity.NOTE)) is over, report.render()


def test_what_lint_cannot_see_is_a_warning_that_says_so() -> None:
    report = lint_text(TWO + "queue x from absent.csv\n")
    assert report.ok and codes(report, Severity.WARNING).count("output-collides") == 2
    assert any("if there are more than one" in finding.message for finding in report.findings)
    shared = BASE + "vm_disk = /s/root.raw:vda:w:raw\nqueue 2\n"
    assert codes(lint_text(shared), Severity.WARNING) == ["shared-written"]
    assert not codes(lint_text(shared.replace(":w:", ":r:")), Severity.WARNING)


def test_matching_items_are_looked_up_as_condor_submit_does(tmp_path: Path) -> None:
    for name in ("root.raw", "jobs/x-1.raw", "jobs/x-2.raw", "jobs/dir.raw/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"x")
    text = BASE + (
        "vm_disk = root.raw:vda:r:raw,$Fn(disk).img:vdb:w:raw\ntransfer_input_files = root.raw,$(disk)\n"
        'transfer_output_files = $Fnx(disk)\ntransfer_output_remaps = "$Fnx(disk) = o.$(Process)"\n'
    )
    found = lint(text + "queue disk matching files jobs/*.raw\n", file="j", directory=tmp_path, ask=False)
    assert [one.message for one in found.findings if one.rule.code == "tif-missing"] == [
        "'x-1.img' is not in transfer_input_files",
        "'x-2.img' is not in transfer_input_files",
    ]
    right = text.replace("$Fn(disk).img", "$Fnx(disk)")
    assert lint(right + "queue disk matching jobs/x-*.raw\n", file="j", directory=tmp_path, ask=False).ok
    for queue in ("matching files none/*.raw", "matching dirs jobs/x-*", "matching files jobs/dir.*"):
        report = lint(right + f"queue disk {queue}\n", file="j", directory=tmp_path, ask=False)
        assert "queue-unmatched" in codes(report, Severity.WARNING), queue
    for queue in ("/etc/*", "../*", "**/*", "*" * 99):
        report = lint(right + f"queue disk matching {queue}\n", file="j", directory=tmp_path, ask=False)
        assert "queue-unmatched" not in codes(report, Severity.WARNING), queue


def test_a_description_without_queue_is_refused() -> None:
    report = lint_text(TWO)
    assert (report.ok, report.effect, codes(report)) == (False, Effect.REJECTED, ["queue-missing"])
    assert "queue-missing" not in codes(lint_text(TWO + "include : rest.inc\n"))


@pytest.mark.parametrize(
    ("variables", "row", "severity", "what"),
    [
        ("inputs,io,scale", "common/ one.txt,io-1.raw,0.5", Severity.ERROR, "inputs is 'common/'"),
        ("io, inputs, scale", "io.raw, a b, 0.5", Severity.ERROR, "inputs is 'a', not 'a b'"),
        ("io,inputs,scale", "a.raw , x , 1", Severity.ERROR, "inputs is '', not 'x'"),
        ("io,inputs", "io.raw a, b", Severity.WARNING, "io is 'io.raw', not 'io.raw a'"),
        ("io,inputs", "io.raw", Severity.WARNING, "1 value for 2 variables"),
        ("io,inputs", "io.raw, a b", None, ""),
        ("io,inputs", "io.raw a, b, c", None, ""),
        ("io,inputs,scale", "io.raw\ta\t1", None, ""),
        ("io,inputs,scale", "io.raw,,1", None, ""),
        ("io", "io a.raw", None, ""),
        ("io,inputs", "io.raw\x1fa, b c", None, ""),
    ],
)
def test_a_row_that_is_split_at_its_blanks(variables: str, row: str, severity: Severity | None, what: str) -> None:
    report = lint_text(TWO.replace(":w:", ":r:") + f"queue {variables} from (\n{row}\n)\n")
    found = [one for one in report.findings if one.rule.code.startswith("queue-")]
    assert [one.rule.severity for one in found] == ([severity] if severity else [])
    assert all(what in one.message and one.where.line == 10 for one in found), report.render()
    assert report.effect is (WRONG if severity is Severity.ERROR else Effect.OK)


@pytest.mark.parametrize(
    ("attribute", "inside", "outside"),
    [
        ('+PreCmd = "make.sh"', "tif-made", "tof-made"),
        ('+HookKeyword = "CONTEXT"', "tif-made", "tof-made"),
        ('MY.HookKeyword = "CONTEXT"', "tif-made", "tof-made"),
        ('+PostCmd = "end.sh"', "tif-missing", "tof-made"),
        ('+PostCmd = ""', "tif-missing", "tof-missing"),
        ("+PreCmd = undefined", "tif-missing", "tof-missing"),
        ("", "tif-missing", "tof-missing"),
    ],
)
def test_programs_beside_the_machine_make_files(attribute: str, inside: str, outside: str) -> None:
    out = lint_text(TWO + f"{attribute}\ntransfer_output_files = results.tar\nqueue\n")
    assert outside in {one.rule.code for one in out.findings} and out.ok is (outside == "tof-made")
    given = lint_text(TWO.replace("files = root.raw,io.raw", "files = root.raw") + f"{attribute}\nqueue\n")
    assert inside in {one.rule.code for one in given.findings} and given.ok is (inside == "tif-made")


@pytest.mark.parametrize(
    ("disks", "ok"),
    [
        ("sys.raw:vda:w:raw,io.qcow2:vdb:w:qcow2", True),
        ("vm.raw:vda:w:raw,d.qcow2:vdb:w:qcow2", True),
        ("a.qcow2:vdb:w:qcow2,b.raw:vda:w:raw", True),
        ("vm.raw:vda:w:raw,linux-src.raw:vdb:r:raw", True),
        ("debian.raw:vda:w:raw,root-home.qcow2:vdb:w:qcow2", True),
        ("data.raw:vda:w:raw,root.raw:vdb:w:raw", False),
        ("io.raw:vda:w:raw,debian-12.qcow2:vdb:w:qcow2", False),
        ("x.raw:vda:w:raw,root.raw:vdb:w:raw", False),
    ],
)
def test_which_disk_was_meant_to_boot(disks: str, ok: bool) -> None:
    names = ",".join(disk.partition(":")[0] for disk in disks.split(","))
    report = lint_text(BASE + f"vm_disk = {disks}\ntransfer_input_files = {names}\nqueue\n")
    assert report.ok is ok and report.effect is (Effect.OK if ok else Effect.RUNS_FOREVER), report.render()


@pytest.mark.parametrize("pack", ["gzip", "xz", "bzip2", "zstd", "lzma"])
@pytest.mark.parametrize("vm", ["kvm", "xen"])
def test_a_packed_file_boots_nothing(tmp_path: Path, pack: str, vm: str) -> None:
    data = b"\xeb" + bytes(4096)
    packed = {
        "gzip": gzip.compress(data),
        "xz": lzma.compress(data),
        "bzip2": bz2.compress(data),
        "zstd": b"\x28\xb5\x2f\xfd" + bytes(99),
        "lzma": lzma.compress(data, lzma.FORMAT_ALONE),
    }[pack]
    (tmp_path / "root.img").write_bytes(packed)
    (tmp_path / "data.img").write_bytes(packed)
    first = "xvd" if vm == "xen" else "vd"
    text = BASE.replace("kvm", vm) + (
        f"vm_disk = root.img:{first}a:w:raw,data.img:{first}b:w:raw\n"
        "transfer_input_files = root.img,data.img\nxen_kernel = included\nqueue\n"
    )
    report = lint(text, file="j", directory=tmp_path, ask=False)
    (error,) = [one for one in report.findings if one.rule.severity is Severity.ERROR]
    assert f"but it is {pack}" in error.message and report.effect is Effect.RUNS_FOREVER
    (warning,) = [one for one in report.findings if "must unpack them itself" in one.message]
    assert warning.rule.severity is Severity.WARNING


@pytest.mark.parametrize(
    ("disk", "effect"),
    [
        ("root.raw.gz:vda:w:raw", Effect.RUNS_FOREVER),
        ("root.img.xz:vda:w", Effect.RUNS_FOREVER),
        ("root.qcow2.zst:vda:w:qcow2", Effect.HASVM_FALSE),
        ("root.raw:vda:r:raw,data.tar.gz:vdb:r:raw", Effect.OK),
    ],
)
def test_a_name_that_says_packed(disk: str, effect: Effect) -> None:
    names = ",".join(item.partition(":")[0] for item in disk.split(","))
    assert lint_text(BASE + f"vm_disk = {disk}\ntransfer_input_files = {names}\nqueue\n").effect is effect


@pytest.mark.parametrize("body", ["", "a", " a", "a b", "x:"])
def test_macros_in_macros_take_no_time(body: str) -> None:
    begin = time.monotonic()
    for depth in (17, 40, 99, 5000):
        report = lint_text(BASE + "vm_disk = " + f"$({body}" * depth + ")" * depth + "\nqueue\n", variables=())
        assert not report.ok
    lint_text(BASE + "vm_disk = " + "$(a)" * 60_000 + "\nqueue 2 r in (" + "x " * 60 + ")\n")
    assert time.monotonic() - begin < 30


FUNCTIONS = (
    ("$CHOICE(1,vda,vdb)", "vdb"), ("$CHOICE(0,list)", "vdp"), ("$CHOICE(Process,vda,vdb)", "vda"),
    ("vd$SUBSTR(abc,1,1)", "vdb"), ("vd$SUBSTR(abc,0,-2)", "vda"), ("$STRING(quoted)", "vdq"),
    ("$BASENAME(path)", "vda"), ("$BASENAME(dir/vdb.x,.x)", "vdb"), ("$Fn(path)", "vda"), ("$Fn(a/vdc.x)", "vdc"),
    ("$ENV(NONE:vdb)", "vdb"), ("$RANDOM_CHOICE(vda,vdb)", None),
    ("vd$INT(one,%d)", "vd1"), ("vd$INT(1+1)", "vd2"), ("vd$INT(one,%03d)", "vd001"), ("vd$REAL(one,%.1f)", "vd1.0"),
    ("vd$EVAL(one)", "vd1"), ("vd$INT(5)", "vd5"),
)  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), FUNCTIONS)
def test_functions_give_what_condor_submit_makes_of_them(value: str, expected: str | None) -> None:
    given = 'list = vdp, vdq\nabc = abc\nquoted = "vdq"\npath = x/vda\none = 1\n'
    text = BASE + f"{given}vm_disk = r.raw:{value}:r:raw\ntransfer_input_files = r.raw\nqueue\n"
    report = lint_text(text, environment={})
    assert "macro-undefined" not in {one.rule.code for one in report.findings}
    if expected is None or expected[2:].isalpha():
        assert report.ok, report.render()
    else:
        assert any(f"'{expected}'" in one.message for one in report.findings), report.render()


@pytest.mark.parametrize("value", ["$INT(word)", "$CHOICE(3,a,b)", "$REAL(word)", "$CHOICE(-1,a,b)"])
def test_a_function_that_condor_submit_dies_of(value: str) -> None:
    report = lint_text(BASE + f"word = x y\nbatch_name = {value}\n" + TWO.replace(BASE, "") + f"+X = {value}\nqueue\n")
    assert codes(report) == ["macro-aborts"] and report.effect is Effect.REJECTED
