"""What a recipe says of where jobs run and what becomes of them, held against ClassAds and condor_submit's parser."""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import classad
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.condor.from_recipe import refusals
from roost.condor.lint import lint_text
from roost.condor.policy import WORKS
from roost.errors import RecipeError
from roost.recipe import loader
from tests.unit.submitting import BUILT, IO, ROOT, CondorSubmit, condor_submit, jobs_of, recipe, submit_description


@pytest.fixture(scope="module")
def condor() -> Iterator[CondorSubmit]:
    with condor_submit() as parser:
        yield parser


def description(**submit: Any) -> str:
    return submit_description(recipe(submit={"return": ["io"], **submit}), "kvm", files=BUILT)


def matches(text: str, **machine: Any) -> bool:
    """Return whether the lines of requirements take a machine (condor_submit's own clauses left out)."""
    line = next(line for line in text.splitlines() if line.startswith("requirements "))
    job, host = classad.ClassAd({"A": 1}), classad.ClassAd({"Arch": "X86_64", "Machine": "node1.pool.org", **machine})
    job["Requirements"] = classad.ExprTree(line.partition("=")[2].strip())
    host["Requirements"] = classad.ExprTree("true")
    return bool(job.symmetricMatch(host))


@pytest.mark.parametrize(
    ("avoid", "away", "stay"),
    [
        (["node1.pool.org"], ["node1.pool.org", "NODE1.Pool.org"], ["node12.pool.org", "node1.pool.org.au", "node1"]),
        (["node1"], ["node1", "node1.pool.org", "NODE1.x"], ["node12.pool.org", "anode1.pool.org"]),
        (["*.bad.org"], ["a.bad.org", "a.b.bad.org"], ["bad.org", "a.badxorg", "a.bad.org.uk"]),
        (["gpu*"], ["gpu", "gpu7.x.org"], ["agpu.x.org"]),
        (["a.x.org", "b.x.org", "c"], ["a.x.org", "b.x.org", "c.y"], ["d.x.org"]),
    ],
)
def test_hosts_to_avoid(avoid: list[str], away: list[str], stay: list[str]) -> None:
    text = description(avoid=avoid)
    assert [name for name in away if matches(text, Machine=name)] == []
    assert [name for name in stay if not matches(text, Machine=name)] == []


def test_attributes_that_a_machine_must_have() -> None:
    text = description(require={"HasGluster": True, "OpSysMajorVer": [8, 9], "Site": 'a "b" c', "Speed": 1.5})
    good = {"HasGluster": True, "OpSysMajorVer": 9, "Site": 'A "b" c', "Speed": 1.5}
    assert matches(text, **good)
    for name, value in {"HasGluster": False, "OpSysMajorVer": 7, "Site": "a b c", "Speed": 2}.items():
        assert not matches(text, **{**good, name: value}), name
        assert not matches(text, **{key: one for key, one in good.items() if key != name}), f"without {name}"


def test_a_working_virtual_machine_is_required_by_what_the_probe_advertises() -> None:
    text = description(require_working_vm=True)
    assert matches(text, **{WORKS: True})
    assert not matches(text, **{WORKS: False}) and not matches(text)


@given(st.text(alphabet=[*string.printable.split("\t")[0], *'é"(),;=%&|'], max_size=30))
def test_any_text_that_is_taken_is_that_text_for_condor(value: str) -> None:
    if not value.isprintable() or "\\" in value or "$" in value:
        with pytest.raises(ValueError, match="printable"):
            recipe(submit={"require": {"Site": value}})
        return
    text = description(require={"Site": value})
    assert matches(text, Site=value)
    assert not matches(text, Site=value + "x")


def test_all_of_it_is_taken_by_condor_submit_and_by_the_lint(condor: CondorSubmit) -> None:
    text = description(
        avoid=["node1", "a.b.org", "*.c"],
        require={"Site": 'say "x"', "Cores": [1, 2]},
        require_working_vm=True,
        on_timeout="hold",
        max_starts=3,
        return_as={"io": "results/$(Cluster).$(Process).raw"},
    )
    ad = condor.ad(text)
    assert ad["TransferOutputRemaps"] == "io.raw = results/1.0.raw"
    assert ad["PeriodicRelease"].startswith("(NumJobStarts < 3) && ")
    assert "PeriodicRemove" not in ad or ad["PeriodicRemove"].lower() == "false"
    report = lint_text(text, environment={})
    assert (report.findings, report.effect.value) == ((), "ok")


#: As a user writes it: names are not case-sensitive.
REMAPS = "Transfer_Output_Remaps"
HELD = {"JobStatus": 5, "HoldReasonCode": 6, "NumJobStarts": 1}


@pytest.mark.parametrize(
    ("job", "released"),
    [
        ({**HELD, "HoldReason": "Error from slot1@x: VMGAHP_ERR_INTERNAL"}, True),
        ({**HELD, "HoldReason": "Internal error occurred while managing the VM", "HoldReasonCode": 1020}, True),
        ({**HELD, "HoldReason": "Error from slot1@x: VMGAHP_ERR_INTERNAL", "NumJobStarts": 3}, False),
        ({**HELD, "HoldReason": "VMGAHP_ERR_JOBCLASSAD_KVM_INVALID_DISK_PARAM"}, False),
        ({**HELD, "HoldReason": "via condor_hold", "HoldReasonCode": 1}, False),
    ],
)
def test_what_a_machine_could_not_start_is_released(condor: CondorSubmit, job: dict[str, Any], released: bool) -> None:
    ad = classad.ClassAd(job)
    ad["X"] = classad.ExprTree(condor.ad(description(max_starts=3))["PeriodicRelease"])
    assert (ad.eval("X") is True) == released


@pytest.mark.parametrize(
    ("job", "held"),
    [
        ({"JobStatus": 2, "EnteredCurrentStatus": 0, "NumJobStarts": 1}, "ran for more than 16200 s"),
        ({"JobStatus": 2, "EnteredCurrentStatus": 1 << 40, "NumJobStarts": 3}, None),
        ({"JobStatus": 1, "EnteredCurrentStatus": 0, "NumJobStarts": 2}, None),
        ({"JobStatus": 1, "EnteredCurrentStatus": 0}, None),
        ({"JobStatus": 1, "EnteredCurrentStatus": 0, "NumJobStarts": 3}, "started 3 times"),
    ],
)
def test_what_never_ends_is_held_with_the_reason(condor: CondorSubmit, job: dict[str, Any], held: str | None) -> None:
    made = condor.ad(description(max_starts=3, on_timeout="hold"))
    ad = classad.ClassAd(job)
    ad["X"], ad["Why"] = (classad.ExprTree(made[name]) for name in ("PeriodicHold", "PeriodicHoldReason"))
    assert (ad.eval("X") is True) == (held is not None)
    assert held is None or held in ad.eval("Why")


def test_a_job_is_removed_by_default() -> None:
    text = description()
    assert "periodic_remove" in text and "periodic_hold" not in text and "periodic_release" not in text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"submit": {"max_starts": 2, "commands": {"Periodic_Release": "true"}}}, "Periodic_Release is written for"),
        ({"submit": {"on_timeout": "hold", "commands": {"periodic_hold": "true"}}}, "periodic_hold is written for"),
        ({"submit": {"on_timeout": "hold", "commands": {"periodic_remove": "true"}}}, "a periodic_remove of its own"),
        ({"submit": {"on_timeout": "hold"}, "job": None, "disks": [ROOT]}, "on_timeout has no effect"),
        ({"submit": {"require": {"X": 1, "x": 2}}}, "required twice: names are not case-sensitive"),
        ({"submit": {"require": {WORKS: True}, "require_working_vm": True}}, "required twice"),
        ({"submit": {"return": ["io"], "return_as": {"io": "io.raw"}}}, "would overwrite the submitted io.raw"),
        ({"submit": {"return": ["io"], "return_as": {"io": "./root.qcow2"}}}, "would overwrite the submitted"),
        (
            {"submit": {"return": ["io", "root"], "return_as": {"io": "x", "root": "x"}}},
            "the disks io and root come back under one name",
        ),
        (
            {"submit": {"return": ["io"], "commands": {REMAPS: '"root.qcow2 = x"'}}},
            "names root.qcow2, which does not come",
        ),
        ({"submit": {"return": ["io"], "commands": {REMAPS: "io.raw"}}}, "is not a valid name for a returned disk"),
        (
            {"submit": {"return": ["io"], "commands": {REMAPS: "io.raw=a b"}}},
            "is not a valid name for a returned disk",
        ),
        ({"submit": {"return": ["io"], "commands": {REMAPS: "io.raw=io.raw"}}}, "would overwrite the submitted io.raw"),
        (
            {"submit": {"return": ["io"], "return_as": {"io": "x"}, "commands": {REMAPS: "io.raw=y"}}},
            "has a name in return_as already",
        ),
        (
            {"submit": {"return": ["io"], "return_as": {"io": "x"}, "transfer": "shared"}},
            "return_as has no effect",
        ),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], reason: str) -> None:
    assert any(reason in problem.what for problem in refusals(recipe(**changes), "kvm"))


@pytest.mark.parametrize(
    ("submit", "line", "words"),
    [
        ("avoid: ['a b']", 10, "'a b' is not a host's name"),
        ("avoid: ['*']", 10, "every host"),
        ("avoid: [slot1@node1]", 10, "'slot1@node1' is not a host's name"),
        ("max_starts: 0", 10, "1"),
        ("on_timeout: kill", 10, "kill"),
        ("require: {'a b': 1}", 10, "a b"),
        ("require: {A: 'x$y'}", 10, "printable characters"),
        ("require: {A: []}", 10, "is empty"),
        ("return_as: {io: 'a b.raw'}", 10, "'a b.raw' is not a valid name for a returned disk"),
        ("return_as: {io: 'x;y=z'}", 10, "'x;y=z' is not a valid name for a returned disk"),
        ("return_as: {io: out/}", 10, "is a directory"),
        ("return_as: {root: x.raw}", 10, "is not one of `return`"),
        ("return_as: {nope: x.raw}", 10, "is not one of `return`"),
        ("require_working_vms: true", 10, "did you mean require_working_vm"),
    ],
)
def test_mistakes_are_reported_with_their_place(tmp_path: Path, submit: str, line: int, words: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(
        "name: r\nos: {debian: {suite: bookworm}}\njob: {command: /bin/true}\ndisks:\n"
        "  - {name: root, partitions: [{mount: /, free: 64MiB}]}\n"
        "  - {name: io, filesystem: ext4, size: 64MiB, role: io}\n"
        f"hypervisors: [kvm]\nsubmit:\n  return: [io]\n  {submit}\n"
    )
    with pytest.raises(RecipeError) as caught:
        loader.load(file, tmp_path)
    told = [str(problem) for problem in caught.value.problems]
    assert any(problem.where is not None and problem.where.line == line for problem in caught.value.problems), told
    assert any(words in one for one in told), told


def test_a_name_without_a_number_of_the_job_is_refused_for_several_jobs(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.csv"
    jobs.write_text("scale\n1\n2\n")
    made = recipe(submit={"return": ["io"], "return_as": {"io": "result.raw"}})
    with pytest.raises(RecipeError, match=r"2 jobs bring back 'io.raw' as 'result.raw'"):
        submit_description(made, "kvm", files=BUILT, jobs=jobs)
    named = recipe(submit={"return": ["io"], "return_as": {"io": "out/$(scale).raw"}})
    text = submit_description(named, "kvm", files=BUILT, jobs=jobs)
    assert [ad["TransferOutputRemaps"].strip('"') for ad in jobs_of(text)] == [
        "io.raw = out/1.raw",
        "io.raw = out/2.raw",
    ]


LINTED = """\
universe = vm
executable = x
vm_type = kvm
vm_memory = 512
vm_disk = a.raw:vda:w:raw
transfer_input_files = a.raw
"""


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        ('periodic_release = regexp("VMGAHP_ERR_INTERNAL", HoldReason)', {"release-unbounded"}),
        ("periodic_release = true", {"release-unbounded"}),
        ("periodic_release = false", set()),
        ("periodic_release = NumJobStarts < 4", set()),
        ("periodic_release = NumJobStart < 4", {"policy-attribute", "release-unbounded"}),
        ("periodic_release = JobStatus == 2 && NumJobStarts < 4", {"policy-status"}),
        ("periodic_hold = JobStatus == 5 && time() - EnteredCurrentStatus > 5", {"policy-status"}),
        ("periodic_hold = JobStatus == 2 && time() - EnteredCurrentState > 5", {"policy-attribute"}),
        ('periodic_hold = JobStatus == 2 && HoldReason =!= "NumJobStart"', set()),
        ("periodic_remove = JobStatus == 5 && NumHolds > 3", set()),
        ("+MyNumJobStart = 4\nperiodic_remove = MyNumJobStart > 3", set()),
    ],
)
def test_the_lint_finds_expressions_that_do_not_do_what_they_say(line: str, codes: set[str]) -> None:
    found = {finding.rule.code for finding in lint_text(f"{LINTED}{line}\nqueue\n", environment={}).findings}
    policy = {code for code in found if code.startswith(("release-", "policy-"))}
    assert policy == codes


def test_remaps_among_the_commands_name_the_disk(condor: CondorSubmit) -> None:
    text = description(commands={REMAPS: '"io.raw = out/$(Cluster).$(Process).raw"'})
    assert text.lower().count("transfer_output_remaps") == 1
    assert condor.ad(text)["TransferOutputRemaps"] == "io.raw = out/1.0.raw"


def test_a_disk_of_two_names() -> None:
    assert recipe(disks=[ROOT, IO], submit={"return": ["io"], "return_as": {"io": "a+b_c-1.raw"}})
