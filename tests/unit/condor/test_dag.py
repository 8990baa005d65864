"""DAG files: what their words are, which nodes they make, and what DAGMan would refuse, with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.condor.submit import dag
from roost.condor.submit.dag_lines import WordError, lines
from roost.condor.submit.dag_model import MAX_FILES, Dag


def read(text: str, **others: str) -> Dag:
    files = {name.replace("_", "."): content for name, content in others.items()}
    return dag.read(text, "w.dag", files.get)


def mistakes(found: Dag) -> list[str]:
    return [f"{one.where}: {one.what}" for one in found.mistakes]


def values(found: Dag, node: str) -> dict[str, str]:
    return {one.name: one.value.text for one in found.nodes[node].variables}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("JOB A a.sub", ["JOB", "A", "a.sub"]),
        ('JOB  "A B"\ta.sub', ["JOB", "A B", "a.sub"]),
        ('VARS A x = "1 2" y= "3"', ["VARS", "A", "x=1 2", "y=3"]),
        (r'VARS A q="say \"x\" \\ end"', ["VARS", "A", r'q=say "x" \ end']),
        ('VARS A e="it\'s" f=\'say "x"\'', ["VARS", "A", "e=it's", 'f=say "x"']),
        ('VARS A x="a=b"', ["VARS", "A", "x=a=b"]),
    ],
)
def test_words(line: str, words: list[str]) -> None:
    (found,) = lines(line, "w.dag")
    assert [word.text for word in found.words()] == words


@pytest.mark.parametrize("line", ['VARS A x="open', "VARS A x=", "JOB A 'a.sub"])
def test_words_that_do_not_end(line: str) -> None:
    (found,) = lines(line, "w.dag")
    with pytest.raises(WordError):
        found.words()


def test_nodes_with_their_directories_and_variables() -> None:
    found = read(
        "# a comment\n// another\n\njob A a.sub DIR one\nJOB B b.sub NOOP\nJOB C c.sub DONE\nFINAL F f.sub\n"
        'VARS A x="1" My.Y="\\"q\\""\nVARS ALL_NODES z="3"\nVARS A APPEND z="4"\n'
        "PARENT A B CHILD C\nRETRY A 3 UNLESS-EXIT 2\nPRIORITY A -5\nSCRIPT DEFER 4 60 POST A check $RETURN\n"
        "CATEGORY A heavy\nMAXJOBS heavy 2\nABORT-DAG-ON A 3 RETURN 1\nPRE_SKIP A 5\n"
        "CONFIG d.config\nDOT x.dot UPDATE\n"
    )
    assert mistakes(found) == []
    assert [(one.name, one.kind, one.directory, one.idle) for one in found.nodes.values()] == [
        ("A", "JOB", "one", False),
        ("B", "JOB", "", True),
        ("C", "JOB", "", True),
        ("F", "FINAL", "", False),
    ]
    assert [(one.name, one.value.text, one.append) for one in found.nodes["A"].variables] == [
        ("x", "1", False),
        ("My.Y", '"q"', False),
        ("z", "3", False),
        ("z", "4", True),
    ]
    assert values(found, "F") == {"z": "3"}


def test_descriptions_within_the_file_keep_their_lines() -> None:
    found = read(
        "JOB A {\n  universe = vm\n  # JOB Z z.sub\n} DIR d\n"
        "SUBMIT-DESCRIPTION common @=end\n  x = 1\n  }\n@end\nJOB B common\n"
    )
    assert mistakes(found) == []
    assert found.nodes.keys() == {"A", "B"} and found.nodes["A"].directory == "d"
    inline = found.nodes["A"].inline
    assert inline is not None and inline.text.split("\n")[1:] == ["  universe = vm", "  # JOB Z z.sub"]
    assert found.descriptions["common"].text.split("\n")[5:] == ["  x = 1", "  }"]


def test_splices_have_names_of_their_own_and_includes_do_not() -> None:
    found = read(
        'SPLICE S s.dag DIR d\nSPLICE T t.dag\nINCLUDE i.dag\nPARENT S CHILD A\nVARS S+N x="top"\n',
        **{"d/s_dag": 'JOB N n.sub DIR e\nVARS N x="in"\n', "t_dag": "JOB N n.sub\n", "i_dag": "JOB A a.sub\n"},
    )
    assert mistakes(found) == []
    assert {name: node.directory for name, node in found.nodes.items()} == {"S+N": "d/e", "T+N": "", "A": ""}
    assert [one.value.text for one in found.nodes["S+N"].variables] == ["in", "top"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("JOBS A a.sub\n", "w.dag:1:1: 'JOBS' is not a command of a DAG file"),
        ("JOB A\n", "w.dag:1:1: JOB lacks a submit description"),
        ("JOB\n", "w.dag:1:1: JOB lacks the name of a node"),
        ("JOB A a.sub FOO\n", "w.dag:1:13: JOB does not take 'FOO'"),
        ("JOB A a.sub DIR\n", "w.dag:1:13: DIR lacks its directory"),
        ("JOB PARENT a.sub\n", "w.dag:1:5: PARENT is a word of the DAG language, not a name for a node"),
        ("JOB A+B a.sub\n", "w.dag:1:5: the name A+B has a +, which DAGMan keeps for splices"),
        ("JOB A a.sub\n  JOB A b.sub\n", "w.dag:2:7: A is already defined: w.dag:1:5"),
        ("JOB A {\nuniverse = vm\n", "w.dag:1:1: the description is never closed by a line }"),
        ("SUBMIT-DESCRIPTION x\n", "w.dag:1:1: SUBMIT-DESCRIPTION lacks its name or its text"),
        ("SUBDAG A a.dag\n", "w.dag:1:1: SUBDAG lacks the word EXTERNAL"),
        ("VARS A\n", "w.dag:1:1: VARS takes a node and at least one value"),
        ('VARS A x="1\n', 'w.dag:1:8: the quote " is not closed'),
        ("VARS A x=1\n", "w.dag:1:8: HTCondor 23 refuses the value of x, which is not in double quotes"),
        ("VARS A x='1' y=\"2\"\n", "w.dag:1:8: HTCondor 23 refuses the value of x, which is not in double quotes"),
        ("CONFIG a\nCONFIG a\nCONFIG b\n", "w.dag:3:8: there is a second file of settings beside a"),
        ("VARS A x\n", "w.dag:1:8: 'x' is not a value for a name"),
        ('VARS A queue_x="1"\n', "w.dag:1:8: the name queue_x begins with queue, which DAGMan refuses"),
        ('VARS A a-b="1"\n', "w.dag:1:8: 'a-b' is not a name for a macro: letters, digits and _ only"),
        ('VARS A x="1"\n', "w.dag:1:6: there is no node A"),
        ("PARENT A B\n", "w.dag:1:1: PARENT lacks CHILD"),
        ("PARENT CHILD B\n", "w.dag:1:1: PARENT lacks its parents"),
        ("JOB A a\nPARENT A CHILD\n", "w.dag:2:1: PARENT lacks its children"),
        ("JOB A a\nPARENT A CHILD B\n", "w.dag:2:16: there is no node B"),
        ("JOB A a\nJOB B b\nPARENT A CHILD B\nPARENT B CHILD A\n", "w.dag:3:16: the nodes "),
        ("JOB A a\nPARENT A CHILD A\n", "w.dag:2:16: the node A waits for itself"),
        ("FINAL F f\nJOB A a\nPARENT A CHILD F\n", "w.dag:3:16: the FINAL node F can be neither parent nor child"),
        ("FINAL F f\nFINAL G g\n", "w.dag:2:1: there is a second FINAL node"),
        ("JOB A a\nRETRY A -1\n", "w.dag:2:9: RETRY does not take '-1' here"),
        ("JOB A a\nRETRY A 1 UNLESS 2\n", "w.dag:2:11: RETRY does not take 'UNLESS'"),
        ("JOB A a\nRETRY A\n", "w.dag:2:1: RETRY lacks a word"),
        ("JOB A a\nSCRIPT A x\n", "w.dag:2:1: SCRIPT lacks PRE, POST or HOLD"),
        ("JOB A a\nSCRIPT PRE A\n", "w.dag:2:1: SCRIPT lacks a program"),
        ("MAXJOBS c many\n", "w.dag:1:1: MAXJOBS takes a category and a number"),
        ("MAXJOBS c 2\n", "w.dag:1:9: no node is in the category c"),
        ("JOB A a\nCATEGORY A c\n", "w.dag:2:12: the category c has no MAXJOBS, so it limits nothing"),
        ("REJECT\n", "w.dag:1:1: the DAG is marked as rejected: DAGMan does not run it"),
        ("SPLICE S\n", "w.dag:1:1: SPLICE takes a name, a DAG file, and optionally a directory"),
        ("SPLICE S no.dag\n", "w.dag:1:10: the file no.dag is not here, so its nodes are not judged"),
        ("INCLUDE w.dag\n", "w.dag:1:9: w.dag includes itself"),
        ("JOB A \\\na.sub\n", "w.dag:1:1: a backslash continues a line before HTCondor 25 only"),
    ],
)
def test_mistakes(text: str, expected: str) -> None:
    found = mistakes(read(text))
    assert any(one.startswith(expected) for one in found), found


def test_a_wrong_name_gets_the_near_one() -> None:
    found = read('JOB simulate a.sub\nVARS simulat x="1"\n')
    assert [one.hint for one in found.mistakes] == ["did you mean simulate?"]


def test_many_parents_of_many_children_take_no_time() -> None:
    names = [f"N{number}" for number in range(2000)]
    text = "".join(f"JOB {name} a.sub\n" for name in names)
    text += f"PARENT {' '.join(names[:1000])} CHILD {' '.join(names[1000:])}\n" * 20
    assert mistakes(read(text)) == []


def test_splices_of_splices_have_an_end() -> None:
    text = "".join(f"SPLICE S{number} a.dag\n" for number in range(4))
    other = "".join(f"SPLICE S{number} b.dag\n" for number in range(400))
    found = read(text, a_dag=other, b_dag="JOB N n.sub\n")
    assert found.files <= MAX_FILES
    assert any("is not read" in one for one in mistakes(found))


WORDS = st.sampled_from(
    ["JOB", "A", "B", "a.sub", "{", "}", "@=x", "@x", "VARS", 'x="1"', "x=", '"', "PARENT", "CHILD", "SPLICE",
     "INCLUDE", "w.dag", "DIR", "\\", "#", "RETRY", "1", "SCRIPT", "POST", "MAXJOBS", "FINAL",
     "SUBMIT-DESCRIPTION", "ALL_NODES"]
)  # fmt: skip


@given(st.lists(st.lists(WORDS, max_size=6), max_size=12))
def test_no_text_raises(rows: list[list[str]]) -> None:
    text = "\n".join(" ".join(row) for row in rows)
    found = read(text, w_dag=text)
    assert all(one.where.line >= 1 for one in found.mistakes)


@given(st.text(max_size=200))
def test_no_text_at_all_raises(text: str) -> None:
    read(text)
