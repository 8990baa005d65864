"""The submit language: lines, macros, conditions, includes, queue statements, and where everything stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.condor.submit.description import Description
from roost.condor.submit.language import decode, read
from roost.condor.submit.macros import Expander
from roost.condor.submit.source_text import Traced, logical_lines
from roost.errors import Location


def read_text(text: str, files: dict[str, str] | None = None, environment: dict[str, str] | None = None) -> Description:
    return read(text, "job.sub", (files or {}).get, environment or {})


def value(text: str, name: str = "x", *, job: int = 0, environment: dict[str, str] | None = None) -> str:
    description = read_text(text, environment=environment)
    chosen = description.jobs[job]
    expander = Expander(chosen.table, chosen.live, environment or {})
    return expander.expand(chosen.table[name].value).strip().text


def codes(text: str, files: dict[str, str] | None = None) -> list[str]:
    return [remark.code for remark in read_text(text, files).remarks]


@given(st.text(alphabet="ab \\#\n\t=", max_size=60))
def test_every_character_of_a_logical_line_knows_its_place(text: str) -> None:
    physical = text.split("\n")
    for line in logical_lines(text, "f"):
        for offset, char in enumerate(line.text):
            where = line.at(offset)
            assert physical[where.line - 1][where.column - 1] == char


@given(st.lists(st.text(alphabet="abc ", max_size=5), min_size=1, max_size=5), st.data())
def test_cutting_and_joining_keep_places(parts: list[str], data: st.DataObject) -> None:
    joined = Traced.join([Traced.of(part, Location("f", number, 1)) for number, part in enumerate(parts, 1)])
    start = data.draw(st.integers(0, len(joined.text)))
    piece = joined.cut(start)
    assert piece.text == joined.text[start:]
    for offset in range(len(piece.text)):
        assert piece.at(offset) == joined.at(start + offset)


def test_a_backslash_continues_a_line_and_leading_blanks_are_dropped() -> None:
    assert value("x = a, \\\n     b\n") == "a, b"


def test_a_comment_in_a_continuation_goes_on_only_with_its_own_backslash() -> None:
    assert value("x = a \\\n# no \\\n b\n") == "a b"
    assert "syntax" in codes("x = a \\\n# no\n b\n")


def test_a_comment_is_a_whole_line_and_never_continues() -> None:
    assert value("# x = 1 \\\nx = 2 # three\n") == "2 # three"


def test_names_have_no_case_and_the_last_value_counts() -> None:
    assert value("X = 1\nx = 2\n") == "2"


def test_an_attribute_is_kept_under_my() -> None:
    assert value("+Site = 1\n", "my.site") == "1"
    assert value("-Site = 1\n", "my.site") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\nx = $(a)", "1"),
        ("x = $(a)\na = 2", "2"),
        ("x = $(A:3)", "3"),
        ("a =\nx = $(a:3)", "3"),
        ("x = $(a)", ""),
        ("x = $(a:$(b:4))", "4"),
        ("a = b\nb = 5\nx = $($(a))", "5"),
        ("x = $(a:f(g)h)", "f(g)h"),
        ("x = 1\nx = $(x)2", "12"),
        ("x = $(x:0)2", "02"),
        ("x = $$(Memory)", "$$(Memory)"),
        ("a = 6\nx = $$(M:$(a))", "$$(M:6)"),
        ("x = $(DOLLAR)(a)", "$(a)"),
        ("x = $(a b)", "$(a b)"),
        ("x = $(a", "$(a"),
        ("x = $FOO(a)", "$FOO(a)"),
        ("x = $ENV(HOME)", "/root"),
        ("x = $ENV(NONE)", "UNDEFINED"),
        ("x = $ENV(NONE:7)", "7"),
        ("x = $CHOICE(1,a,b)", "b"),
        ("x = $SUBSTR(a,1,2)\na = 12345", "23"),
        ("x = $INT(a)\na = 2*4", "8"),
        ("x = $EVAL(a)\na = 2+3", "5"),
        ('x = $STRING(a)\na = "b"', "b"),
        ("x = $Fn(a)\na = /b/c.d", "c"),
        ("x = $Fnx(a)\na = /b/c.d", "c.d"),
        ("x = $Fp(a)\na = /b/c.d", "/b/"),
        ("x = $BASENAME(a)\na = /b/c.d", "c.d"),
        ("x = $DIRNAME(a)\na = /b/c.d", "/b/"),
        ("x = $(Cluster).$(Process)", "1.0"),
        ("x = $(JobId) $(Process:7) $(Row:8) $(Item:9)", "1.0 0 0 9"),
        # A function's arguments end at the first parenthesis; what is left is read again.
        ("x = $Fn($(a))\na = /b/c.d", "/b/c.d"),
        ("x = $BASENAME($(a),.d)\na = /b/c.d", "$(a,.d)"),
        ("x = $ENV($(a))\na = HOME", "/root"),
        ("x = $RANDOM_CHOICE($(a))\na = 1,2", "1,2"),
        ("x = $Fd(a)|$Fdd(a)|$Fdb(a)|$Fxb(a)|$Fpb(a)\na = /b/c/d.e.f", "c/|b/c/|c|f|/b/c"),
        ("x = $Fqa(a)|$Fw(a)|$Fn(.profile)|$Fx(.profile)\na = b/c d", "'b/c d'|b\\c d|.profile|"),
        ("x = $INT(a,%03d)|$INT(a,%d%%)|$INT(a,%lld)\na = 5.9", "005|5%|5"),
        ("x = $INT(a)|$REAL(b)|$REAL(c)\na = true\nb = 1/3.0\nc = 1e20", "1|0.3333333333333333|1E+20"),
        ('x = $STRING(a)|$STRING(a,%4s)|$STRING(b)\na = "b"\nb = a-b.raw', "b|   b|a-b.raw"),
        ('x = $EVAL(a)|$EVAL(b)|$EVAL(c)\na = "b"\nb = 1.5*2\nc = 1 == 1', "b|3.000000000000000E+00|true"),
        ("x = $SUBSTR(a,i)|$SUBSTR(a,1+1,-1)|$SUBSTR(a,-9,2)\na = abcdef\ni = 4", "ef|cde|ab"),
        ("x = $CHOICE(Process,a)|$CHOICE(1.7,a)\na = b c, d", "b c|d"),
    ],
)
def test_macros_expand_as_in_condor_submit(text: str, expected: str) -> None:
    assert value(text, environment={"HOME": "/root"}) == expected


@pytest.mark.parametrize(
    "call",
    [
        "$CHOICE($(Process),a,b)", "$INT($(n)+1)", "$INT($(n),%03d)", "$SUBSTR($(n),1)", "$RANDOM_INTEGER(1,$(n))",
        "$CHOICE(3,a,b)", "$CHOICE(0,nothing)", "$CHOICE(1,n)", "$INT(n,%s)", "$INT(n,)", "$INT( n )", "$SUBSTR(n)",
    ],
)  # fmt: skip
def test_a_call_that_ends_condor_submit_is_found(call: str) -> None:
    chosen = read_text(f"n = 5\nx = {call}\n").jobs[0]
    expander = Expander(chosen.table, chosen.live, {})
    expander.expand(chosen.table["x"].value)
    assert expander.aborted


def test_what_only_submission_decides_is_unknown() -> None:
    description = read_text("x = $RANDOM_CHOICE(a,b)\ny = $(ARCH)\n")
    job = description.jobs[0]
    expander = Expander(job.table, job.live, {})
    assert expander.expand(job.table["x"].value).unknown
    assert expander.expand(job.table["y"].value).unknown


def test_a_circle_is_found() -> None:
    description = read_text("a = $(b)\nb = $(a)\n")
    expander = Expander(description.jobs[0].table, {}, {})
    assert expander.expand(description.jobs[0].table["a"].value).unknown
    assert expander.endless


@pytest.mark.parametrize(
    ("condition", "taken"),
    [
        ("true", True), ("false", False), ("yes", True), ("!true", False), ("0", False), ("2", True),
        ("$(none)", False), ("defined a", True), ("defined none", False),
        ("! defined none", True), ("version >= 8.1.6", True),
        ("version < 8.0", False), ("defined", False), ("$(a)", True),
    ],
)  # fmt: skip
def test_if_takes_the_branch_that_condor_submit_takes(condition: str, taken: bool) -> None:
    text = f"a = 1\nif {condition}\n  x = yes\nelse\n  x = no\nendif\n"
    assert value(text) == ("yes" if taken else "no")


def test_elif_and_nesting() -> None:
    assert value("if false\nx = 1\nelif true\nif false\nx = 2\nelse\nx = 3\nendif\nelse\nx = 4\nendif\n") == "3"


@pytest.mark.parametrize(
    "text",
    [
        "if 1 == 1\nendif",
        "if foo\nendif",
        "else",
        "endif",
        "if true\nelse\nelse\nendif",
        "if true\nelse\nelif 1\nendif",
    ],
)
def test_a_condition_that_condor_submit_refuses_is_remarked(text: str) -> None:
    assert "if-condition" in codes(text)


def test_an_open_if_and_an_open_value_are_remarked() -> None:
    assert codes("if true\n") == ["if-open"]
    assert codes("x @=end\nfoo\n") == ["heredoc-open"]


def test_a_multi_line_value() -> None:
    assert value("x @=end\na,\n# comment\n b\n@end\n") == "a,\nb"


def test_included_files_are_read_and_missing_ones_remarked() -> None:
    assert codes("include : a.inc\n", {"a.inc": "x = 1\n"}) == []
    assert codes("include : a.inc\n") == ["include-missing"]
    assert codes("include ifexist : a.inc\n") == []
    assert codes("include : a.inc\n", {"a.inc": "include : a.inc\n"}) == ["include-depth"]


@pytest.mark.parametrize("line", ["include command : rm -rf x", "include : rm -rf x |", "queue a from rm -rf x |"])
def test_commands_are_noticed_and_never_run(line: str) -> None:
    description = read_text(line + "\n")
    assert description.runs_commands
    assert not any(remark.code in ("include-missing", "queue-items") for remark in description.remarks)


@pytest.mark.parametrize(
    ("statement", "jobs", "count"),
    [
        ("queue", 1, 1),
        ("queue 3", 1, 3),
        ("Queue 1+1", 1, 2),
        ("queue x in (a b, c)", 3, 3),
        ("queue 2 x in a b", 2, 4),
        ("queue x from (\n a 1\n b 2\n)", 2, 2),
        ("queue x,y from list", 4, 4),
        ("queue x from [1:] list", 3, 3),
        ("queue x from [::2] list", 2, 2),
        ("queue 3 x from [-1:] list", 1, 3),
        ("queue x in [1:2] (a b c)", 1, 1),
        ("queue x in [ab] c", 2, 2),
        ("queue x matching *.raw", 1, None),
        ("queue x from nothing", 1, None),
    ],
)
def test_queue_forms(statement: str, jobs: int, count: int | None) -> None:
    description = read_text(statement + "\n", {"list": "# head\n1, 2\n\n3, 4\n"})
    assert len(description.jobs) == jobs
    assert description.jobs[0].count == count


def test_queue_variables_take_their_columns() -> None:
    description = read_text("queue a, b from (\n 1, 2 3\n x y\n)\n")
    rows = [{name: row.text for name, row in job.live.items() if row and name in "ab"} for job in description.jobs]
    assert rows == [{"a": "1", "b": "2 3"}, {"a": "x", "b": "y"}]


def test_each_line_of_a_file_of_items_is_one() -> None:
    # condor_submit -dry-run of 23.9 and the parser of 24.12: comments and blank lines are items of their own.
    description = read_text("queue x from list\n", {"list": "# head\na\n\nb\n"})
    assert [job.live["x"].text for job in description.jobs if job.live["x"]] == ["# head", "a", "", "b"]
    assert [(one.code, one.where.line) for one in description.remarks] == [("queue-comment", 1), ("queue-blank", 3)]


def test_macros_in_the_rows_of_a_queue_statement_are_expanded() -> None:
    text = "n = 7\nx = $(a)|$(b)\nqueue a,b from (\n r-$(Process).raw,$(n)\n r-$(Process).raw,$(m:8)\n)\n"
    assert [value(text, job=0), value(text, job=1)] == ["r-0.raw|7", "r-1.raw|8"]


def test_a_queue_statement_in_an_included_file_is_refused() -> None:
    assert "queue" in codes("include : more\n", {"more": "queue 2\n"})


def test_assignments_after_a_queue_statement_count_for_the_next_one() -> None:
    text = "x = 1\nqueue\nx = 2\nqueue\n"
    assert [value(text, job=0), value(text, job=1)] == ["1", "2"]


@pytest.mark.parametrize(
    "statement", ["queue a", "queue -1", "queue x y z", "queue a in", "queue a from (\n1", 'queue "3"']
)
def test_a_queue_statement_that_condor_submit_refuses_is_remarked(statement: str) -> None:
    assert "queue" in codes(statement + "\n")


@pytest.mark.parametrize("line", ["hello", "hello world", "vm_vcpus : 2", "= 1"])
def test_a_line_that_is_not_a_statement_is_remarked(line: str) -> None:
    assert set(codes(line + "\n")) & {"syntax", "identifier"}


@given(st.binary(max_size=300))
def test_the_reader_never_raises_on_any_bytes(data: bytes) -> None:
    read_text(decode(data))
