"""The lint against condor_submit's own parser: what it calls rejected is rejected, and nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from roost.condor.lint import lint_text
from roost.condor.rules import Effect
from roost.condor.submit.expression import as_bool, parses
from roost.condor.submit.values import UNKNOWN

Oracle = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    """One parser process for the module, asked line by line."""
    argv = [sys.executable, "-m", "roost.condor.oracle"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asks, answers = process.stdin, process.stdout

        def ask(text: str) -> dict[str, Any]:
            asks.write(json.dumps(text) + "\n")
            asks.flush()
            answer: dict[str, Any] = json.loads(answers.readline())
            return answer

        yield ask
        asks.close()


VALUES = {
    "universe": ["vm", "VM", "13", "kvm", '"vm"', "vmx"],
    "executable": ["sim", "my job", "", "root.qcow2", '"a"', "$(x)"],
    "vm_type": ["kvm", "xen", "KVM", "qemu", "vmware", '"kvm"', "", "$(x)"],
    "vm_memory": [
        "512", "1G", "1.5G", "-5", '"512"', "0", "512 MB", "512MiB", "$(m)", "512*2", "", ".5G", "1e3", "+5",
        "512 M B",
        "5.", ".", "1 k", "99999999999999999999", "$(vm_memory)", "0x10", "1.5.5", "1,000", "512GBs", "1T", "1P",
    ],
    "request_memory": ["512", "1G", "2*512", "", " 1 GB", "1 2", '"2G"', "x+1", "MY.JobVMMemory", "(1", "1..2"],
    "vm_disk": [
        "root.qcow2:vda:w:qcow2", "a:b:c", "a:b", "a:b:c:d:e", ",", "a:b:c,", "", "::", ":::", "::::", "$(d)",
        "a:b:c d:e:f", "'a:b:c'", "a:b:c # x", "a:b:c#,x", " , ", "a:b:c;d",
    ],
    "vm_networking": [
        "true", "false", "yes", "1", "0", "1+1", '"x"', "undefined", "true && x", "true || x", "!x", "$(x)", "TRUE",
        "t", "x == 1", "x =?= 1", "false && x", "1/0", "-1", "{1}", "[a=1]", "~1", "ifThenElse(1,true,false)",
        "isUndefined(x)",
    ],
    "vm_checkpoint": ["true", "false", "yes"],
    "vm_vnc": ["true", "on", "1==1"],
    "vm_no_output_vm": ["true", "no", "error"],
    "when_to_transfer_output": ["ON_EXIT", "ON_EXIT_OR_EVICT", "on_exit_or_evict", "x"],
    "transfer_input_files": ["root.qcow2", "s3://b/x", "gs://b", "a,b", '"a"', "https://x?1,2", "", "x,s3://a/b"],
    "s3_access_key_id_file": ["/dev/null", ""],
    "s3_secret_access_key_file": ["/dev/null", ""],
    "xen_kernel": ["included", "INCLUDED", "vmx", "vmlinuz", "", '"included"'],
    "xen_root": ["/dev/xvda1", "", '"x"'],
    "xen_initrd": ["initrd", ""],
    "output": ["/dev/null", "x", ""],
    "stderr": ["x", ""],
    "request_cpus": ["1", "1+1", "a b", "", '"2"', "(("],
    "request_disk": ["1G", "1 2", "10GB", "x*2", "1GiB", ""],
    "requirements": ['Arch == "x"', "(a", "a b", '"', "true", ""],
    "+Foo": [
        "1", '"x"', "a b", "", '"x" "y"', "bar", "$(x)", "{1,2}", "[a=1]", "http://x", "5 K", "'a b'", "a.b.c", "a[0]",
        "f(x,y)", "f(", "a ? b : c", "a ?: b", "5.", "1e", "0x1g", "-  5", '"a\\"b"', "a//b", "@x", "%", "a=b", "a==",
        '"a\\"', '"\\"', '"a\\" + "b"', '(x == "c:\\")', '"a\\"b\\"',
    ],
    "MY.Bar": ["1", "a b", '("x")'],
    "hold": ["true", "x"],
    "priority": ["1", "x", "1.5"],
    "notification": ["never", "x", "NEVER"],
    "arguments": ["a b", '"a', '"a b"'],
    "periodic_remove": ["x y", "JobStatus == 5", "true"],
    "x": ["1", "$(y)", "abc"],
    "y": ["2", "$(z:5)", "true"],
    "d": ["a:b:c", "a:b"],
    "m": ["512", "x", "$(y)00"],
    "a-b": ["1"],
    "$(n)": ["1"],
    "n": ["vm_memory", "x y"],
}  # fmt: skip
#: Lines between the commands. (Not `use`, which depends on a site's templates, and not `+=`, which 24.12 lacks.)
LINES = [
    "# comment", "", "   # c \\", "if true", "if false", "endif", "else", "elif true", "if $(x)", "if defined vm_type",
    "if version > 8.0", "if foo", "if ! defined x", "hello", "hello world", "a @=e\nfoo\n@e", "a @=e\nb",
    "vm_vcpus : 2",
    "foo = bar \\\n baz", "foo = bar \\\n# hi\n baz", "foo = bar \\\n# hi \\\n baz", "\\", "foo = \\", "= 5",
    "a = b = c",
    "include", "vm_memory", "error : x", "warning : x", "vm_memory @=q\n600\n@q", "foo=$(foo)x", "a == b", "else x",
    "include ifexist : nothing.here",
]  # fmt: skip
#: The parser stops at the first of these, so they come last.
QUEUES = [
    "", "queue", "queue 2", "queue x", "queue a in (1 2)", "queue a from (\n1\n2\n)", "queue a from (", "queue 1,2",
    "queue 1 a in b", "queue in", "queue a", "Queue 0", "queue -1", "queue $(x)", "queue a from",
    "queue io_2", "queue io_1 from (\n1\n)", "queue 2 a1_b,c2 from (\n1 2\n)", "queue a_1b in (1)",
]  # fmt: skip
COMMANDS = {
    "kvm": {"vm_type": "kvm", "vm_disk": "root.qcow2:vda:w:qcow2", "transfer_input_files": "root.qcow2"},
    "xen": {
        "vm_type": "xen",
        "vm_disk": "root.img:xvda:w",
        "transfer_input_files": "root.img",
        "xen_kernel": "included",
    },
}


@st.composite
def descriptions(draw: st.DrawFn) -> str:
    chosen = draw(st.sampled_from(["kvm", "xen"]))
    commands = {"universe": "vm", "executable": "sim", "vm_memory": "512", **COMMANDS[chosen]}
    for name in draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=3)):
        commands[name] = draw(st.sampled_from(VALUES[name]))
    for name in draw(st.lists(st.sampled_from(sorted(commands)), max_size=1)):
        if name != "universe":
            del commands[name]
    lines = [f"{name} = {value}" for name, value in commands.items()]
    for line in draw(st.lists(st.sampled_from(LINES), max_size=2)):
        # After the universe, so that a condition cannot switch it off and make another kind of job.
        lines.insert(draw(st.integers(1, len(lines))), line)
    return "\n".join([*lines, draw(st.sampled_from(QUEUES)), ""])


@pytest.mark.parametrize(
    "text", ["1 ? : 1", "1 ? /* x */ : 2 ?: 3", "(x ? : 2) + 3", "(1 ? : 2 2)", "1 ? :", "1 ? : : 3"]
)
def test_blanks_may_stand_in_the_short_conditional(oracle: Oracle, text: str) -> None:
    description = f"universe = vanilla\nexecutable = x\n+Value = {text}\n"
    assert (parses(text) is None) == oracle(description)["accepted"]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(descriptions())
def test_lint_calls_rejected_what_condor_submit_rejects(oracle: Oracle, text: str) -> None:
    answer = oracle(text)
    report = lint_text(text, environment={}, variables=())
    # The parser of the bindings takes a description without a queue statement; condor_submit does not.
    rejected = any(f.rule.effect is Effect.REJECTED and f.rule.code != "queue-missing" for f in report.findings)
    assert rejected is not answer["accepted"], [text, answer["message"], report.render()]


_TOKENS = """1 2.5 true false undefined error "a" "A" x MY.y TARGET.z ( ) + - * / % == != =?= =!= && || ! ? : { } [ ] ,
    < >= isUndefined(x) ifThenElse(true,1,2) is isnt ~ a.b 1e3 .5 5. = | ^ << ; $ @"""
EXPRESSIONS = st.lists(
    st.sampled_from(_TOKENS.split()),
    min_size=1,
    max_size=6,
).map(" ".join)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EXPRESSIONS)
def test_an_expression_parses_exactly_when_condor_submit_parses_it(oracle: Oracle, text: str) -> None:
    # condor_submit ignores whatever stands behind `? :` with a blank in it and one operand: nobody means that.
    assume("/ /" not in text and "? :" not in text)
    description = "universe = vanilla\nexecutable = x\n+Value = " + text + "\n"
    assert (parses(text) is None) == oracle(description)["accepted"], text


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EXPRESSIONS)
def test_a_boolean_has_the_value_that_condor_submit_gives_it(oracle: Oracle, text: str) -> None:
    value = as_bool(text)
    assume(value is not UNKNOWN)
    answer = oracle(
        "universe = vm\nexecutable = x\nvm_type = kvm\nvm_memory = 1\nvm_disk = a:vda:w\n"
        f"transfer_input_files = a\nvm_vnc = {text}\n"
    )
    assert answer["ad"].get("JobVMVNCConsole") == (None if value is None else str(value)), text


def test_a_description_that_makes_the_parser_hang_is_an_answer_too(oracle: Oracle) -> None:
    answer = oracle("a = $CHOICE(9,1,2)\nuniverse = vm\nexecutable = $(a)\n")
    # The parser itself died: that is no refusal, and lint has a finding of its own for such a call.
    assert answer["accepted"] is None
    assert oracle("universe = vm\n")["accepted"] is False


def test_the_ad_is_that_of_condor_submit(oracle: Oracle) -> None:
    text = "universe = vm\nexecutable = x\nvm_type = KVM\nvm_memory = 1.5G\nvm_disk = a:vda:w:raw\nvm_vcpus = 4\n"
    ad = oracle(text)["ad"]
    assert (ad["JobVMType"], ad["JobVMMemory"], ad["JobVM_VCPUS"], ad["RequestCpus"]) == ("kvm", "1536", "4", "1")
