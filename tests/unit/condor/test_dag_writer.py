"""What is written for DAGMan is read back as it was meant, by a reader of the manual's rules and by condor_submit."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roost.condor import dag_writer, oracle
from roost.condor.dag_writer import Dag, Node
from roost.errors import RecipeError

LETTERS = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=40)
FOLDER = "/srv/run"


def read_vars(line: str) -> dict[str, str]:
    """Read a VARS line as the manual says: macroname="string", in which \\" and \\\\ are the only escapes."""
    rest = line.removeprefix("VARS ").partition(" ")[2]
    found: dict[str, str] = {}
    while rest:
        head = re.match(r'\s*(\w+)\s*=\s*"', rest)
        assert head, rest
        at, value = head.end(), ""
        while rest[at] != '"':
            if rest[at] == "\\":
                at += 1
                assert rest[at] in '"\\', rest
            value += rest[at]
            at += 1
        found[head[1]], rest = value, rest[at + 1 :]
    return found


def lines(text: str, word: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"{word} ")]


@given(LETTERS, LETTERS)
@example('she said "yes"', "a\\b, c")
@example("two  words", "$(Cluster) and $$(x) and $ENV(HOME)")
@example('\\"', "'single'")
def test_values_come_back_as_they_were(one: str, other: str) -> None:
    values = {"io": one.rstrip("\\"), "note": other.rstrip("\\")}
    text = dag_writer.render(
        Dag([Node("a", "a.sub", {name: dag_writer.value(v) for name, v in values.items()})], FOLDER)
    )
    (line,) = lines(text, "VARS")
    assert {name: v.replace("$(DOLLAR)", "$") for name, v in read_vars(line).items()} == values


@pytest.mark.parametrize(
    "value", ["two words", "a, b", "a\\b", "$(Cluster)", "100 $", "it's", "x=y", "#no comment", "ü µ"]
)
def test_condor_submit_takes_the_value_that_was_meant(value: str) -> None:
    text = dag_writer.render(Dag([Node("a", "a.sub", {"note": dag_writer.value(value)})], FOLDER))
    macro = read_vars(lines(text, "VARS")[0])["note"]
    # DAGMan gives its macros to condor_submit's parser as if they were lines before the description.
    told = oracle.answer(f'note = {macro}\nuniverse = vanilla\nexecutable = /bin/true\n+Note = "$(note)"\n')
    assert told["accepted"], told
    assert told["ad"]["Note"].strip('"').replace("\\\\", "\\") == value


def test_a_whole_workflow() -> None:
    nodes = [
        Node("make-1", "make.sub", category="make", priority=1),
        Node("1", "job.sub", {"io": "1.raw"}, ("make-1",), ("post", "$JOBID", "$RETURN"), 3, 2, 10, "run"),
        Node("report", "report.sub", final=True),
    ]
    text = dag_writer.render(Dag(nodes, FOLDER, {"run": 5}, ["for a\nperson"]))
    assert text.splitlines() == [
        "# for a person", "",
        "JOB make-1 make.sub DIR /srv/run", "PRIORITY make-1 1", "CATEGORY make-1 make", "",
        "JOB 1 job.sub DIR /srv/run", 'VARS 1 io="1.raw"',
        "SCRIPT POST 1 post $JOBID $RETURN", "RETRY 1 3 UNLESS-EXIT 2",
        "PRIORITY 1 10", "CATEGORY 1 run", "",
        "FINAL report report.sub DIR /srv/run", "",
        "PARENT make-1 CHILD 1", "",
        "MAXJOBS run 5",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (Node("a.b", "a.sub"), "takes no node named 'a.b'"),
        (Node("PARENT", "a.sub"), "takes no node"),
        (Node("a\nJOB b", "a.sub"), "takes no node"),
        (Node("a", "a b.sub"), "cannot read the word 'a b.sub'"),
        (Node("a", "a.sub", post=("p", "x;\ny")), "cannot read the word"),
        (Node("a", "a.sub", {"x": "a\nb"}), "line break"),
        (Node("a", "a.sub", {"x": "a\x1b"}), "control character"),
        (Node("a", "a.sub", {"x": "a\\"}), "ends in a backslash"),
        (Node("a", "a.sub", {"QueueName": "1"}), "takes no variable named 'QueueName'"),
        (Node("a", "a.sub", {"a b": "1"}), "takes no variable"),
        (Node("a", "a.sub", parents=("b",)), "waits for b"),
    ],
)
def test_what_dagman_cannot_read_is_refused(node: Node, words: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(words)):
        dag_writer.render(Dag([node], FOLDER))


def test_directories_and_throttles_that_cannot_be_written() -> None:
    with pytest.raises(RecipeError) as caught:
        dag_writer.render(Dag([Node("a", "a.sub"), Node("A", "a.sub")], FOLDER, {"run": 0}))
    assert [problem.what.split(":")[0] for problem in caught.value.problems] == [
        "two nodes are named A",
        "MAXJOBS takes a category and a number from 1, not 'run' and 0",
    ]
    # Said once, and not again of each name that begins with it.
    with pytest.raises(RecipeError) as caught:
        dag_writer.render(Dag([Node("a", "a.sub", post=["/my run/x"])], "/my run"))
    (problem,) = caught.value.problems
    assert problem.what == "DAGMan cannot read the path of the directory '/my run'"


@given(st.lists(st.text(min_size=1, max_size=20), max_size=8))
@example(["a.b", "a+b", "a_b", "A_B", "a_b_2"])
def test_every_text_has_a_name_of_its_own(texts: list[str]) -> None:
    names = dag_writer.names_of(texts, "run-")
    assert len({name.lower() for name in names}) == len(texts)
    dag_writer.render(Dag([Node(name, "a.sub") for name in names], FOLDER))
