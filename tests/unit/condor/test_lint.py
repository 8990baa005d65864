"""The lint: the 71 cases judged by HTCondor itself, its report, and that nothing makes it raise."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.condor import judge
from roost.condor.lint import lint, lint_file, lint_text
from roost.condor.rules import ALL, Effect, Severity
from roost.condor.submit.language import read
from roost.condor.submit.queue import parse_queue
from roost.condor.submit.source_text import Traced
from roost.errors import Location, UsageError
from roost.host import process

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "data" / "submit-cases.json").read_text())[
    "cases"
]
SEVERITY = {"error": Severity.ERROR, "warn": Severity.WARNING, "info": Severity.NOTE}
#: What any case has whose files are not there, and which no case speaks of.
EVERYWHERE = {"file-missing"}


def good(**changes: str | None) -> str:
    """Return a description that works, with commands changed, added or (None) left out."""
    commands: dict[str, str | None] = {
        "universe": "vm",
        "executable": "label",
        "vm_type": "kvm",
        "vm_memory": "512",
        "request_memory": "512",
        "vm_disk": "root.qcow2:vda:w:qcow2",
        "transfer_input_files": "root.qcow2",
        **changes,
    }
    lines = [f"{name} = {value}" for name, value in commands.items() if value is not None]
    return "\n".join([*lines, "queue", ""])


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_a_case_gets_the_effect_and_severity_that_htcondor_showed(case: dict[str, Any], tmp_path: Path) -> None:
    for name, what in case["setup_files"].items():
        kind, size = what.split(":")
        process.run(["qemu-img", "create", "-q", "-f", kind, str(tmp_path / name), size], deadline=30)
    report = lint(case["submit"] + "queue\n", file="case.sub", directory=tmp_path, ask=False)
    findings = [finding for finding in report.findings if finding.rule.code not in EVERYWHERE]
    assert report.effect == case["expected_effect"]
    wanted = case.get("lint")
    if wanted is None:
        assert all(finding.rule.severity == Severity.NOTE for finding in findings)
    else:
        severity = SEVERITY[wanted["severity"]]
        assert (wanted["code"], severity) in {(finding.rule.code, finding.rule.severity) for finding in findings}
        assert report.ok == (severity != Severity.ERROR)


def test_a_good_description_has_no_finding() -> None:
    report = lint_text(good())
    assert report.ok
    assert report.effect is Effect.OK
    assert not report.findings


def test_findings_say_line_and_column_of_the_field() -> None:
    text = good(
        vm_disk="root.qcow2:vda:w:qcow2, \\\n    data.raw:vdb:w:RAW", transfer_input_files="root.qcow2,data.raw"
    )
    (finding,) = lint_text(text, "job.sub").findings
    assert finding.rule.code == "fmt-case"
    assert str(finding.where) == "job.sub:7:20"


def test_a_cd_of_condor_7_is_a_disk_now() -> None:
    (finding,) = lint_text(good(vm_cdrom_files="a.iso, b.txt"), "job.sub").findings
    assert finding.message == "vm_cdrom_files is no longer read: the guest gets no CD"
    assert "cd.img:vdc:r:raw" in finding.hint


@pytest.mark.parametrize("device", ["hdc", "xvdc", "sdc"])
def test_a_cd_under_xen_is_said_how_to_have_as_a_disk(device: str) -> None:
    """The hint is accepted as it stands."""
    xen = {"vm_type": "xen", "xen_kernel": "included"}

    def judged(file: str, device: str) -> list[Any]:
        names = f"root.img,{file}"
        text = good(**xen, vm_disk=f"root.img:xvda:w:raw,{file}:{device}:r:raw", transfer_input_files=names)
        return [one for one in lint_text(text, "job.sub").findings if one.rule.severity == Severity.ERROR]

    (finding,) = judged("seed.iso", device)
    assert finding.rule.code == "iso-bus"
    assert finding.message == "'seed.iso' becomes a CD-ROM, which a Xen guest cannot have"
    assert finding.hint == "rename it, to have it as a disk: 'seed.img' on xvdc"
    assert not judged("seed.img", "xvdc")


def test_a_finding_in_a_macro_points_at_its_definition() -> None:
    text = "format = QCOW2\n" + good(vm_disk="root.qcow2:vda:w:$(format)")
    (finding,) = lint_text(text, "job.sub").findings
    assert (finding.where.line, finding.where.column) == (1, 10)


def test_a_finding_in_an_included_file_points_there(tmp_path: Path) -> None:
    (tmp_path / "disks.inc").write_text("vm_disk = root.qcow2:vda:w:QCOW2\n")
    text = good(vm_disk=None).replace("queue\n", "include : disks.inc\nqueue\n")
    (finding,) = lint_text(text, "job.sub", directory=tmp_path).findings
    assert str(finding.where) == "disks.inc:1:28"


def test_every_row_of_a_queue_is_judged(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("a.raw,raw\nb.raw,RAW\n")
    text = good(vm_disk="root.qcow2:vda:r:qcow2,$(io):vdb:w:$(kind)", transfer_input_files="root.qcow2,$(io)")
    report = lint_text(text.replace("queue\n", "queue io,kind from jobs.csv\n"), "job.sub", directory=tmp_path)
    assert [(finding.rule.code, str(finding.where)) for finding in report.findings] == [("fmt-case", "jobs.csv:2:7")]


def test_a_queue_whose_list_is_absent_leaves_values_unknown() -> None:
    text = good(vm_disk="$(disk):vda:w:qcow2", transfer_input_files="$(disk)").replace(
        "queue\n", "queue disk from no.csv\n"
    )
    report = lint_text(text)
    assert report.ok
    assert [finding.rule.code for finding in report.findings] == ["queue-items"]


def test_what_stops_a_job_first_is_its_effect() -> None:
    # Not in the sandbox (held by condor_vm-gahp) and twice the same device (refused by libvirt, which never gets it).
    text = good(vm_disk="root.qcow2:vda:w:qcow2,data.raw:vda:w:raw")
    report = lint_text(text)
    assert {"tif-missing", "dev-duplicate"} <= {finding.rule.code for finding in report.findings}
    assert report.effect is Effect.HELD
    assert lint_text(good(vm_type="qemu", vm_disk="a:vda:w,a:vda:w")).effect is Effect.IDLE
    assert lint_text(good(vm_memory="0", vm_disk="a:vda:w,a:vda:w")).effect is Effect.REJECTED


def test_the_worst_of_several_jobs_is_the_effect_of_all() -> None:
    text = good(vm_disk="root.qcow2:$(dev):w:qcow2").replace("queue\n", "queue dev in (vda vdaa1 VDA)\n")
    assert lint_text(text).effect is Effect.HASVM_FALSE


def test_json_has_the_contract_s_keys() -> None:
    data = lint_text(good(vm_memory="-1"), "job.sub").to_json()
    assert data["ok"] is False
    assert data["effect"] == "rejected_by_condor_submit"
    (finding,) = json.loads(json.dumps(data))["findings"]
    assert {"code", "severity", "line", "column", "message", "hint", "source"} <= set(finding)
    assert (finding["code"], finding["severity"], finding["line"], finding["column"]) == ("memory", "error", 4, 13)


def test_render_writes_compiler_lines_with_hints() -> None:
    first, second = lint_text(good(vm_memory="-1"), "job.sub").render()
    assert first == "job.sub:4:13: error: vm_memory = '-1' is not an amount of memory [memory]"
    assert second.startswith("    hint: ")


def test_control_characters_never_reach_the_terminal() -> None:
    lines = lint_text(good(vm_type="\x1b[31mkvm\x9b")).render()
    assert all(char.isprintable() for line in lines for char in line)


def test_a_description_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        lint_file(tmp_path / "absent.sub")
    with pytest.raises(UsageError):
        lint_file(tmp_path)


def test_files_that_are_absent_are_warnings(tmp_path: Path) -> None:
    file = tmp_path / "job.sub"
    file.write_text(good())
    report = lint_file(file)
    assert report.ok
    assert report.effect is Effect.OK
    assert [(finding.rule.code, finding.rule.severity) for finding in report.findings] == [
        ("file-missing", Severity.WARNING)
    ]


def test_every_rule_says_what_to_do_and_where_it_is_written() -> None:
    for code, rule in ALL.items():
        assert rule.code == code
        assert rule.hint
        assert rule.source


@given(st.binary(max_size=400))
def test_lint_never_raises_on_any_bytes(data: bytes) -> None:
    lint_text(data.decode("utf-8", "replace"))


_WORDS = """vm_disk vm_type vm_memory = : , $( ) $$( $ENV( $CHOICE( $F( $INT( a b kvm xen included root.iso vda 'x' " #
    if elif else endif defined version queue from in matching ( @= @x include command + - += && 1 true 512 :: { [ ?"""
WORDS = st.sampled_from([*_WORDS.split(), "\\\n", "\n", "\0", "\r"])


@given(st.lists(WORDS, max_size=60).map(" ".join))
def test_lint_never_raises_on_any_words_of_the_language(text: str) -> None:
    lint_text(text, environment={})
    lint_text(good() + text, environment={})
    lint_text(good(vm_disk=text.replace("\n", " "), vm_type="xen"), environment={})


@pytest.mark.parametrize(
    "text",
    [
        "a = $(b)\nb = $(a)\nvm_disk = $(a)\nvm_type = kvm\nuniverse = vm\n",
        "".join(f"a{i} = $(a{i + 1})$(a{i + 1})\n" for i in range(60)) + "a60 = x\nuniverse = $(a0)\n",
        "vm_disk = " + "$(" * 100_000 + "\nvm_type = kvm\nuniverse = vm\n",
        "requirements = " + "(" * 100_000 + "\nuniverse = vm\n",
        "requirements = " + "!-" * 50_000 + "1\nuniverse = vm\n",
        "if true\n" * 10_000,
        "a = x\n" + "a = $(a)$(a)\n" * 40,
        "vm_disk = " + "a:vda:w:raw," * 5_000 + "\nvm_type = kvm\nuniverse = vm\n",
        "queue x from (\n" + "1\n" * 50_000 + ")\n",
        "\\\n" * 100_000,
    ],
    ids=[
        "circle",
        "explosion",
        "nested-macros",
        "nested-expression",
        "signs",
        "nested-if",
        "doubling",
        "disks",
        "rows",
        "lines",
    ],
)
def test_what_grows_without_end_ends(text: str) -> None:
    lint_text(text)


def test_where_an_include_is_missing_nothing_is_missing_of_roost(tmp_path: Path) -> None:
    report = lint("include : other.sub\nuniverse = vm\nqueue\n", file="a.sub", directory=tmp_path)
    told = next(one for one in report.findings if one.rule.code == "judge")
    assert "doctor" not in told.hint and "includes" in told.hint


def test_what_is_behind_the_first_mebibyte_is_not_missed() -> None:
    rows = "".join(f"  io-{number}.raw\n" for number in range(100_000))
    for text in (f"universe = vm\nqueue io from (\n{rows})\n", f"if true\nx @=end\n{rows}@end\nendif\nqueue\n"):
        codes = {one.rule.code for one in lint_text(text).findings if one.rule.severity is Severity.ERROR}
        assert not codes & {"queue", "heredoc-open", "if-open", "queue-missing"}


@pytest.mark.parametrize(
    "line",
    [
        "periodic_remove = " + '\\"' * 60_000,
        "periodic_hold = JobStatus " + '"a' * 60_001,
        "queue " + "a1" * 60_000 + "% from (",
        "queue " + "1a" * 60_000 + " from x",
        "requirements = " + "(" * 100_000,
        "x = " + "$(a" * 60_000,
    ],
)
def test_long_lines_take_no_longer_than_their_length(line: str) -> None:
    begin = time.process_time()
    lint_text(f"universe = vm\nvm_type = kvm\nvm_memory = 64\nvm_disk = a.raw:vda:w:raw\n{line}\nqueue\n")
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(
    ("text", "variables", "count"),
    [("3 a,b2 from x", ("a", "b2"), 3), ("2 in (x)", (), 2), ("a in (x)", ("a",), 1), ("5 a from x", ("a",), 5)],
)
def test_the_names_of_a_queue_statement_stand_before_its_keyword(
    text: str, variables: tuple[str, ...], count: int
) -> None:
    queue = parse_queue(Traced.of(text, Location("a.sub", 1, 1)))
    assert (queue.variables, queue.count, queue.problem) == (variables, count, None)


@pytest.mark.parametrize(
    "command", ["vm_memory", "vm_vcpus", "request_cpus", "request_memory", "request_disk", "queue"]
)
@pytest.mark.parametrize(
    "number", ["1" * 5000, "1e999", "0x" + "f" * 5000, "1" * 5000 + "K", "-1e999", "0." + "1" * 5000]
)
def test_a_number_beyond_all_numbers_is_reported(command: str, number: str) -> None:
    sign = "" if command == "queue" else "="
    text = (
        f"universe = vm\nvm_type = kvm\nvm_memory = 64\nvm_disk = a.raw:vda:w:raw\n{command} {sign} {number}\nqueue\n"
    )
    assert lint_text(text).findings


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "ignores vm_type and vm_disk"),
        ({"vm_type": None}, "ignores vm_disk"),
        ({"vm_type": None, "vm_disk": None}, "runs executable, and no disk image"),
    ],
)
def test_another_universe_ignores_what_is_there(changes: dict[str, str | None], said: str) -> None:
    findings = [one.message for one in lint_text(good(universe="vanilla", **changes)).findings]
    assert any(one == f"universe 'vanilla' {said}" for one in findings), findings


def test_a_variable_of_the_queue_statement_can_be_a_command(tmp_path: Path) -> None:
    text = good(vm_disk=None, transfer_input_files=None, vm_memory=None)
    rows = "queue vm_disk, transfer_input_files, vm_memory from (\n {} root.qcow2 512\n)\n"
    assert not lint_text(text.replace("queue\n", rows.format("root.qcow2:vda:w:qcow2"))).findings
    (finding,) = lint_text(text.replace("queue\n", rows.format("root.qcow2:vda:w:QCOW2"))).findings
    assert (finding.rule.code, finding.where.line) == ("fmt-case", 6)


def test_jobs_whose_rows_have_the_process_in_them_write_no_file_twice() -> None:
    text = good(
        vm_disk="root.qcow2:vda:r:qcow2,io.raw:vdb:w:raw",
        transfer_input_files="root.qcow2,io.raw",
        transfer_output_files="io.raw",
        transfer_output_remaps='"io.raw = $(out)"',
    )
    for out in ("r-$(Process).raw", "r-$(JobId).raw"):
        rows = f"queue out from (\n{out}\n{out}\n)\n"
        assert not lint_text(text.replace("queue\n", rows), variables=()).findings, out
    same = lint_text(text.replace("queue\n", "queue out from (\nr-$(Cluster).raw\nr-$(Cluster).raw\n)\n"), variables=())
    assert [one.rule.code for one in same.findings] == ["remap-collides"]


def test_vm_memory_without_a_value_is_refused_even_beside_request_memory() -> None:
    (finding,) = lint_text(good(vm_memory="")).findings
    assert (finding.rule.code, finding.where.line) == ("memory", 4)


@pytest.mark.parametrize("call", ["$CHOICE($(Process),a,b)", "$INT($(Process)+1)"])
def test_a_call_with_a_macro_in_its_arguments_is_refused(call: str) -> None:
    found = lint_text(good(transfer_output_files="root.qcow2", transfer_output_remaps=f'"root.qcow2 = r-{call}"'))
    assert "macro-aborts" in {one.rule.code for one in found.findings}
    assert found.effect is Effect.REJECTED


RETURNED = {"transfer_output_files": "io.raw", "transfer_output_remaps": '"io.raw = out-$(Cluster).$(Process).raw"'}
TWO = {
    "vm_disk": "root.qcow2:vda:w:qcow2,io.raw:vdb:w:raw",
    "transfer_input_files": "root.qcow2,io.raw",
    **RETURNED,
}


def found_in(queue: str = "queue", **changes: str | None) -> tuple[Effect, set[str]]:
    """Return the effect, and the codes of the findings, of two disks of a kvm job."""
    report = lint_text(good(**{**TWO, **changes}).replace("queue\n", f"{queue}\n"), variables=())
    return report.effect, {one.rule.code for one in report.findings if one.rule.severity is not Severity.NOTE}


@pytest.mark.parametrize(
    ("changes", "effect", "codes"),
    [
        ({"transfer_output_remaps": '"io.raw = /dev/null"'}, Effect.OK, set()),
        ({"transfer_output_remaps": '"io.raw = out-$$(Name).raw"'}, Effect.OK, set()),
        ({"transfer_output_remaps": None, "output_directory": "out/$(JobId)"}, Effect.OK, set()),
        ({"transfer_output_files": "out/io.raw"}, Effect.HELD, {"tof-missing"}),
        ({"transfer_output_files": "/shared/io.raw"}, Effect.OK, {"tof-missing"}),
        ({"transfer_input_files": "a/root.qcow2,io.raw", "preserve_relative_paths": "true"}, Effect.OK, set()),
        ({"vm_disk": "$$(Root):vda:w:qcow2,io.raw:vdb:w:raw"}, Effect.OK, set()),
        ({"request_memory": "0"}, Effect.OK, {"memory-request"}),
        ({"requirements": "false"}, Effect.IDLE, {"requirements-false"}),
        ({"requirements": "(1 == 2) && TRUE"}, Effect.IDLE, {"requirements-false"}),
        ({"requirements": "TARGET.RoostVMWorks =?= true"}, Effect.OK, set()),
        ({"requirements": "TARGET.HasVM && MY.x == 1"}, Effect.OK, set()),
        ({"transfer_output_remaps": "io.raw = out-$(Process).raw"}, Effect.OK, {"quotes"}),
        (
            {"transfer_output_remaps": '"io.raw = o-$(Process).raw'},
            Effect.WRONG_DATA,
            {"quotes", "remap-unused", "output-collides"},
        ),
        ({"request_memory": "256 + 64"}, Effect.OK, {"memory-request"}),
    ],
)
def test_what_is_certain_is_an_error_and_nothing_else(
    changes: dict[str, str | None], effect: Effect, codes: set[str]
) -> None:
    assert found_in("queue 2", **changes) == (effect, codes)


@pytest.mark.parametrize("name", ["root.vmdk", "root.vdi", "root.VHDX", "root.ova"])
def test_an_image_of_another_program_is_not_a_raw_disk(name: str) -> None:
    changes = {"transfer_input_files": f"{name},io.raw"}
    told = Effect.RUNS_FOREVER, {"fmt-mismatch"}
    assert found_in(vm_disk=f"{name}:vda:w:raw,io.raw:vdb:w:raw", **changes) == told
    assert found_in(vm_disk=f"{name}:vda:w,io.raw:vdb:w:raw", **changes) == (Effect.RUNS_FOREVER, {"fmt-missing"})
    flat = {"vm_disk": "root-flat.vmdk:vda:w:raw,io.raw:vdb:w:raw", "transfer_input_files": "root-flat.vmdk,io.raw"}
    assert found_in(**flat) == (Effect.OK, set())


XEN_FILES = {"xen_kernel": "/boot/vmlinuz", "xen_initrd": "/boot/initrd.img", "xen_root": "/dev/xvda1"}


@pytest.mark.parametrize(
    ("parameters", "effect", "codes"),
    [
        ("root=/dev/xvda1 ro", Effect.OK, set()),
        ('"root=LABEL=root ro"', Effect.OK, set()),
        ("root=/dev/vda1 ro", Effect.RUNS_FOREVER, {"xen-root-device"}),
        ("root=/dev/xvda1 root=/dev/xvdc1", Effect.RUNS_FOREVER, {"xen-root-device"}),
        ("root=/dev/sda1", Effect.OK, {"xen-root-device"}),
        ("root=/dev/xvda1 init=<x>", Effect.HASVM_FALSE, {"xen-xml"}),
        ("root=/dev/xvda1 a&b", Effect.HASVM_FALSE, {"xen-xml"}),
        ('root="LABEL=my root"', Effect.OK, {"xen-xml"}),
    ],
)
def test_the_command_line_of_a_xen_kernel(parameters: str, effect: Effect, codes: set[str]) -> None:
    changes = {**XEN_FILES, "vm_type": "xen", "vm_disk": "root.img:xvda:w:raw,io.raw:xvdb:w:raw"}
    changes |= {"transfer_input_files": "root.img,io.raw", "xen_kernel_params": parameters}
    assert found_in(**changes) == (effect, codes)


def test_pygrub_reads_the_first_disk_and_a_disk_is_not_a_partition_of_another() -> None:
    xen = {"vm_type": "xen", "xen_kernel": "included", "transfer_input_files": "root.img,io.raw"}
    first = found_in(vm_disk="io.raw:xvda:w:raw,root.img:xvdb:w:raw", **xen)
    assert first[0] is Effect.HASVM_FALSE and "boot-order" in first[1]
    assert found_in(vm_disk="root.img:xvda:w:raw,io.raw:xvdb:w:raw", **xen) == (Effect.OK, set())
    inside = found_in(vm_disk="root.img:xvda:w:raw,io.raw:xvda2:w:raw", **xen)
    assert inside == (Effect.WRONG_DATA, {"dev-alias"})


MISSPELT = {
    "requirments": "requirements",
    "requirement": "requirements",
    "reqest_memory": "request_memory",
    "shoud_transfer_files": "should_transfer_files",
    "notfication": "notification",
    "periodic_hodl": "periodic_hold",
    "on_exit_remov": "on_exit_remove",
    "Transfer_Input_File": "transfer_input_files",
    "vm_netwroking": "vm_networking",
    "xen_kernal": "xen_kernel",
    "rnak": "rank",
    "max_retrys": "max_retries",
    "acounting_group": "accounting_group",
    "request_disc": "request_disk",
    "request_cpu": "request_cpus",
    "request_memmory": "request_memory",
}


@pytest.mark.parametrize(("written", "meant"), MISSPELT.items())
def test_a_misspelt_command_is_a_warning_that_names_the_command(written: str, meant: str) -> None:
    report = lint_text(good(**{written: "1"}))
    (finding,) = [one for one in report.findings if one.rule.severity is not Severity.NOTE]
    assert (finding.rule.code, finding.rule.severity) == ("unknown-command", Severity.WARNING)
    assert finding.message.endswith(f"did you mean {meant}?")
    assert finding.where.column == 1


@pytest.mark.parametrize(
    "text",
    [
        "where = /data\nlog = $(where)/log",
        "where = /data\nlog = $Ffd(where)x",
        "names = a,b\nlog = $CHOICE(0, names)",
        "requirments = true\nrequirements = $(requirments)",
        "level = 1\nlog = $INT(level)",
        "inner = x\nouter = $(inner)\nlog = $(outer:y)",
        "site = x\nif defined site\nlog = x\nendif",
        'where = x\n+Where = "$(where)"',
        'where = x\nMY.Where = "$(where)"',
        "FACTORY.Iwd = /x\ntmp.thing = 1\n+Requirments = true\nMY.Requirments = true",
        "DAG_STATUS = 0\nFAILED_COUNT = 0\nJOB = a\nRETRY = 0",
        "request_licenses = 1\nuse_oauth_services = box\nbox_oauth_permissions = read:/",
        "JobPrio = 1\nRequestDisk = 1\nNodeCount = 1\nprio = 1\ndocker_image = x\nec2_tag_Name = x",
        "count = 2\nqueue $(count)",
        "where = x\nqueue name in ($(where)/a b)\nlog = $(name)",
        "one = a\nqueue\nlog = $(one)",
    ],
)
def test_a_name_that_is_used_or_read_is_no_slip(text: str) -> None:
    head, _, _ = good().rpartition("queue")
    findings = lint_text(f"{head}{text}\nqueue\n").findings
    assert not [one for one in findings if one.rule.code in ("unknown-command", "unused-name")], findings


def test_a_name_that_nothing_uses_is_a_note_and_so_is_a_variable_of_the_queue_statement() -> None:
    report = lint_text(good(colour="blue").replace("queue", "queue 1 shade, vm_vcpu from (\nx, 2\n)"))
    found = [(one.rule.code, one.rule.severity, one.message.split()[0], one.where.line) for one in report.findings]
    assert report.ok
    last = len(good().splitlines()) + 1
    assert found == [
        ("unused-name", Severity.NOTE, "colour", last - 1),
        ("unused-name", Severity.NOTE, "shade", last),
        ("unknown-command", Severity.WARNING, "vm_vcpu", last),
    ]


def test_a_slip_that_condor_submit_refuses_is_one_finding_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "root.qcow2").touch()
    text = good().replace("queue", "request_disc = 2G\nqueue")
    report = lint(text, file="job.sub", directory=tmp_path)
    (finding,) = [one for one in report.findings if one.rule.effect is Effect.REJECTED]
    assert (finding.rule.code, finding.where.line) == ("unknown-command", len(text.splitlines()) - 1)
    assert "did you mean request_disk?" in finding.message
    assert not [one for one in report.findings if one.where.line == 1]


@pytest.mark.parametrize(("written", "effect"), [("request_cpu", Effect.OK), ("request_licenses", Effect.REJECTED)])
def test_the_effect_of_a_request_is_what_condor_submit_makes_of_it(
    written: str, effect: Effect, tmp_path: Path
) -> None:
    text = good(**{written: "2G"})
    assert lint_text(text).effect is effect
    refused = judge.ask(text, tmp_path, read(text, "job.sub", lambda _: None, {})).accepted is False
    assert refused == (effect is Effect.REJECTED)


def test_where_an_include_is_missing_a_name_that_no_command_is_like_may_be_used_there() -> None:
    text = "include : absent.sub\n" + good(colour="blue", requirments="true")
    codes = [one.rule.code for one in lint_text(text).findings]
    assert "unknown-command" in codes
    assert "unused-name" not in codes


@pytest.mark.parametrize(
    ("disks", "what"),
    [
        ("d", "'d' has 1 field, not 3 or 4"),
        ("c:::", "the device and the permission and the format of 'c:::' are empty"),
        ("c:vda::", "the permission and the format of 'c:vda::' are empty"),
        ("c::w", "the device of 'c::w' is empty"),
    ],
)
def test_the_words_for_an_item_of_vm_disk(disks: str, what: str) -> None:
    messages = [finding.message for finding in lint_text(good(vm_disk=disks)).findings]
    assert what in messages, messages
