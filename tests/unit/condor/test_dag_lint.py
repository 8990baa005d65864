"""Descriptions judged with what VARS or --set give them, and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.condor.dag_lint import lint_dag
from roost.condor.lint import LintReport, lint, lint_text
from roost.condor.rules import Effect, Severity
from roost.condor.submit.description import Variable
from roost.condor.submit.source_text import Traced
from roost.errors import Location, UsageError
from roost.pipeline import lint as story

NODE = """\
universe = vm
executable = job
vm_type = kvm
vm_memory = $(mem)
request_memory = $(mem)
vm_disk = root.raw:vda:r:raw,$(io):vdb:w:raw
transfer_input_files = root.raw,$(io)
transfer_output_files = $(io)
transfer_output_remaps = "$(io) = out-$(JOB).raw"
request_disk = 1G
queue
"""


def variables(**values: str) -> list[Variable]:
    return [Variable(name, Traced.of(text, Location("--set", 1, 1), fixed=True)) for name, text in values.items()]


def codes(report: LintReport, severity: Severity | None = None) -> set[str]:
    return {one.rule.code for one in report.findings if severity in (None, one.rule.severity)}


def workflow(directory: Path, text: str, **descriptions: str) -> LintReport:
    for name in ("root.raw", "a.raw", "b.raw"):
        (directory / name).write_bytes(bytes(1024))
    for name, content in {"node": NODE, **descriptions}.items():
        (directory / f"{name}.sub").write_text(content)
    (directory / "w.dag").write_text(text)
    return lint_dag(directory / "w.dag")


def test_what_vars_would_set_is_unknown_and_not_nothing() -> None:
    report = lint_text(NODE, environment={})
    assert (report.effect, report.ok) == (Effect.OK, True)
    assert codes(report) == {"macro-undefined"}
    messages = [one.message for one in report.findings]
    assert all("unknown until VARS are set" in one for one in messages)
    assert {one.split(")")[0] for one in messages} == {"$(mem", "$(io", "$(JOB"}


def test_condor_submit_cannot_tell_either(tmp_path: Path) -> None:
    report = lint(NODE, file="n.sub", directory=tmp_path)
    (told,) = [one for one in report.findings if one.rule.code == "condor-submit"]
    assert told.rule.severity is Severity.WARNING and "without VARS" in told.message and report.ok


def test_what_is_set_is_judged() -> None:
    good = lint_text(NODE, environment={}, variables=variables(mem="512", io="a.raw", JOB="A"))
    assert good.findings == ()
    bad = lint_text(NODE, environment={}, variables=variables(mem="many", io="iso.raw", JOB="A"))
    assert {"memory", "iso-substring"} <= codes(bad, Severity.ERROR) and bad.effect is Effect.REJECTED
    lacking = lint_text(NODE, environment={}, variables=variables(mem="512", JOB="A"))
    assert not lacking.ok and any("expands to nothing" in one.message for one in lacking.findings)


@pytest.mark.parametrize(("append", "memory"), [(False, "512"), (True, "0")])
def test_the_description_wins_over_prepended_and_loses_against_appended(append: bool, memory: str) -> None:
    text = NODE.replace("$(mem)", "512").replace("$(io)", "a.raw")
    given = [Variable("vm_memory", Traced.of("0", Location("v", 1, 1), fixed=True), append)]
    report = lint_text(text, environment={}, variables=[*given, *variables(JOB="A")])
    assert ("memory" in codes(report)) == (memory == "0")


def test_conditions_see_what_is_prepended() -> None:
    text = NODE.replace("queue", "if defined big\nvm_memory = 0\nendif\nqueue")
    given = variables(mem="512", io="a.raw", JOB="A")
    assert "memory" not in codes(lint_text(text, environment={}, variables=given))
    assert "memory" in codes(lint_text(text, environment={}, variables=[*given, *variables(big="1")]))


def test_the_parser_of_condor_submit_gets_what_is_set(tmp_path: Path) -> None:
    (tmp_path / "root.raw").write_bytes(bytes(512))
    (tmp_path / "a.raw").write_bytes(bytes(512))
    given = variables(mem="512", io="a.raw", JOB="A")
    assert lint(NODE, file="n.sub", directory=tmp_path, variables=given).findings == ()
    wrong = NODE.replace("request_disk = 1G", "request_disk = $(d)")
    report = lint(wrong, file="n.sub", directory=tmp_path, variables=[*given, *variables(d="x y")])
    assert not report.ok


def test_each_node_is_judged_with_its_own_values(tmp_path: Path) -> None:
    report = workflow(
        tmp_path,
        'JOB A node.sub\nJOB B node.sub\nVARS A io="a.raw" mem="512"\nVARS B io="b.raw" mem="none"\n',
    )
    (error,) = [one for one in report.findings if one.rule.severity is Severity.ERROR]
    assert error.message == "node B: vm_memory = 'none' is not an amount of memory"
    assert (error.where.file, error.where.line, error.where.column) == (str(tmp_path / "w.dag"), 4, 19)
    assert report.effect is Effect.REJECTED


def test_a_good_workflow_has_no_finding(tmp_path: Path) -> None:
    report = workflow(
        tmp_path,
        'JOB A node.sub\nJOB B node.sub\nVARS A io="a.raw"\nVARS B io="b.raw"\nVARS ALL_NODES mem="512"\n'
        "PARENT A CHILD B\nRETRY ALL_NODES 2\nCATEGORY ALL_NODES vm\nMAXJOBS vm 1\nSCRIPT POST A check $RETURN\n",
    )
    assert (report.render(), report.effect) == ([], Effect.OK)


def test_many_nodes_with_one_mistake_are_one_finding(tmp_path: Path) -> None:
    lines = [f"JOB N{number} node.sub" for number in range(40)]
    report = workflow(tmp_path, "\n".join([*lines, 'VARS ALL_NODES io="a.raw" mem="512"', ""]), node=NODE + "queue\n")
    told = [one.message for one in report.findings if one.rule.code == "queue-several"]
    assert len(told) == 1 and told[0].startswith("nodes N0, N1, N2 and 37 more: ")
    assert "dag-clusters" in codes(report)


def test_descriptions_within_the_file_and_their_places(tmp_path: Path) -> None:
    body = NODE.replace("queue\n", "").replace("$(mem)", "512").replace("$(io)", "a.raw")
    report = workflow(tmp_path, f"SUBMIT-DESCRIPTION d {{\n{body}}}\nJOB A d\nJOB B {{\n{body}vm_vcpus = many\n}}\n")
    (found,) = [one for one in report.findings if one.rule.code == "vcpus"]
    assert found.where.line == 25 and found.message.startswith("node B: ")
    assert "queue-missing" not in codes(report) and "condor-submit" not in codes(report)


def test_nodes_that_leave_their_disks_under_one_name(tmp_path: Path) -> None:
    same = NODE.replace("out-$(JOB).raw", "out.raw")
    text = 'JOB A node.sub\nJOB B node.sub DIR d\nJOB C node.sub\nVARS ALL_NODES io="a.raw" mem="512"\n'
    (tmp_path / "d").mkdir()
    (tmp_path / "d/node.sub").write_text(same)
    (tmp_path / "d/a.raw").write_bytes(bytes(512))
    (tmp_path / "d/root.raw").write_bytes(bytes(512))
    report = workflow(tmp_path, text, node=same)
    (found,) = [one for one in report.findings if one.rule.code == "remap-collides"]
    assert found.rule.severity is Severity.WARNING and "2 jobs bring back" in found.message
    numbered = NODE.replace("out-$(JOB).raw", "out-$(Cluster).raw")
    assert "remap-collides" not in codes(workflow(tmp_path, text, node=numbered))


def test_a_value_that_the_description_overrides_is_reported(tmp_path: Path) -> None:
    text = 'JOB A node.sub\nVARS A io="a.raw" mem="512" request_disk="2G"\n'
    report = workflow(tmp_path, text)
    (found,) = report.findings
    assert "sets request_disk itself" in found.message and found.where.line == 2


def test_nodes_of_other_universes_are_not_judged_as_virtual_machines(tmp_path: Path) -> None:
    local = "universe = local\nexecutable = make\noutput = $(JOB).out\narguments = $(io)\nqueue\n"
    report = workflow(tmp_path, 'JOB A make.sub\nVARS A io="a.raw"\nFINAL F plain.sub\n', make=local, plain=local[16:])
    assert [one.message for one in report.findings] == ["node F: $(io) is not defined: it expands to nothing"]
    broken = workflow(tmp_path, 'JOB A make.sub\nVARS A io="a.raw"\n', make=f"nonsense\n{local}")
    assert codes(broken) == {"syntax"} and broken.effect is Effect.REJECTED
    meant = workflow(tmp_path, "JOB A make.sub\n", make=f"vm_type = kvm\n{local}")
    assert "universe" in codes(meant)


def test_what_is_not_here_is_a_warning(tmp_path: Path) -> None:
    report = workflow(tmp_path, "JOB A no.sub\nJOB B no.sub NOOP\nSUBDAG EXTERNAL D d.dag\n")
    assert report.ok and codes(report) == {"dag-description-missing", "dag-subdag"}
    with pytest.raises(UsageError):
        lint_dag(tmp_path / "none.dag")


def test_the_task_takes_both_files_and_settings(tmp_path: Path) -> None:
    text = 'JOB A node.sub\nJOB B other.sub\nVARS A io="a.raw" mem="0"\n'
    workflow(tmp_path, text, other="universe = kvm\nqueue\n")
    assert "universe" in codes(story.lint(str(tmp_path / "w.dag")))
    one = story.lint(str(tmp_path / "node.sub"), dag=str(tmp_path / "w.dag"))
    assert "memory" in codes(one) and "universe" not in codes(one)
    assert story.lint(str(tmp_path / "node.sub")).ok
    assert story.lint(str(tmp_path / "node.sub"), ["mem=512", "io=a.raw"]).render() == []
    assert not story.lint(str(tmp_path / "node.sub"), ["mem=0", "io=a.raw"]).ok


@pytest.mark.parametrize("setting", ["x", "=1", "a b=1", "x=a\nb", "x=\x1b[2J"])
def test_settings_that_are_none(tmp_path: Path, setting: str) -> None:
    (tmp_path / "n.sub").write_text(NODE)
    with pytest.raises(UsageError):
        story.lint(str(tmp_path / "n.sub"), [setting])


def test_several_queue_statements_are_reported_with_the_version() -> None:
    base = NODE.replace("$(mem)", "512").replace("$(io)", "a.raw").replace("$(JOB)", "$(Cluster).$(Process)")
    report = lint_text(f"{base}vm_memory = 1024\nqueue 2\n", environment={}, variables=())
    (found,) = [one for one in report.findings if one.rule.code == "queue-several"]
    assert found.where.line == 13 and "since HTCondor 24" in found.message and report.ok
    assert "SUBMIT_PREVENT_MULTI_QUEUE" in found.message


@pytest.mark.parametrize("universe", ["local", "vanilla", "scheduler"])
def test_nodes_of_other_universes_are_not_judged_as_vm_jobs(universe: str, tmp_path: Path) -> None:
    other = f"universe = {universe}\nexecutable = /bin/true\nqueue\n"
    report = workflow(tmp_path, 'JOB a other.sub\nJOB b node.sub\nVARS b mem="64" io="a.raw"\n', other=other)
    assert report.ok, report.render()
    # One that was meant as one is.
    meant = workflow(tmp_path, "JOB a other.sub\n", other=f"vm_type = kvm\n{other}")
    assert "universe" in codes(meant, Severity.ERROR)


def test_what_nodes_before_it_may_make_is_one_note(tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(2100)]
    lines = [f'JOB {name} node.sub\nVARS {name} mem="64" io="later-{name}.raw"' for name in names]
    make = "JOB make make.sub\n" + "\n".join(lines)
    made = {"make": "universe = local\nexecutable = /bin/true\nqueue\n"}
    report = workflow(tmp_path, f"{make}\nPARENT make CHILD {' '.join(names)}\n", **made)
    (told,) = [one for one in report.findings if one.rule.code in {"file-missing", "dag-file-later", "dag-doubt"}]
    assert told.rule.code == "dag-file-later" and "n0, n1, n2 and 2097 more" in told.message
    # A splice's nodes come after what the splice comes after; the others do not.
    (tmp_path / "part.dag").write_text('JOB x node.sub\nVARS x mem="64" io="gone.raw"\n')
    text = "JOB make make.sub\nSPLICE after part.dag\nSPLICE alone part.dag\nPARENT make CHILD after\n"
    told_of = {one.rule.code: one.message for one in workflow(tmp_path, text, **made).findings}
    assert "after+x" in told_of["dag-file-later"] and "alone+x" in told_of["file-missing"]


def test_findings_that_are_not_told_are_counted(tmp_path: Path) -> None:
    text = "\n".join(f'JOB n{number} node.sub\nVARS n{number} mem="64" io="x{number}.raw"' for number in range(600))
    report = workflow(tmp_path, f"{text}\n")
    (told,) = [one for one in report.findings if one.rule.code == "dag-left-out"]
    assert "the first 500 of 600 findings" in told.message and len(report.findings) == 501
