"""One job a row: per-job disks, their names when they come back, and files of jobs with mistakes."""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path

import pytest

from roost.condor.jobs_check import check_jobs
from roost.condor.jobs_file import Jobs, parse_jobs, read_jobs, variable_of
from roost.condor.lint import lint_text
from roost.errors import RecipeError, UsageError
from tests.unit.submitting import BUILT, IO, ROOT, MiB, jobs_of, recipe, submit_description


def parsed(text: str) -> Jobs:
    return parse_jobs(text, "jobs.csv", Path("/jobs"))


def refused(text: str, transfer: str = "files", **changes: object) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        submit_description(recipe(**changes), "kvm", files=BUILT, transfer=transfer, jobs=parsed(text))
    return [str(problem) for problem in caught.value.problems]


def test_each_job_has_its_disk_and_returns_it_under_its_own_name() -> None:
    made = recipe(submit={"return": ["io"], "attributes": {"Sample": "$(sample)"}})
    text = submit_description(made, "kvm", files=BUILT, jobs=parsed('io,sample\na/one.raw,"x y"\n/b/two.img,z\n'))
    first, second = jobs_of(text)
    assert first["VMPARAM_vm_Disk"] == "root.qcow2:vda:w:qcow2,one.raw:vdb:w:raw"
    assert second["VMPARAM_vm_Disk"] == "root.qcow2:vda:w:qcow2,two.img:vdb:w:raw"
    assert first["TransferInput"] == "root.qcow2,a/one.raw"
    assert second["TransferInput"] == "root.qcow2,/b/two.img"
    assert first["TransferOutput"] == "one.raw" and second["TransferOutput"] == "two.img"
    assert first["TransferOutputRemaps"] == "one.raw = one-7.0.raw"
    assert second["TransferOutputRemaps"] == "two.img = two-7.1.img"
    assert (first["Sample"], second["Sample"]) == ("x y", "z")
    assert not [line for line in lint_text(text, environment={}).render() if ": error: " in line]


def test_one_column_and_disks_from_a_url() -> None:
    text = submit_description(
        recipe(), "kvm", files=BUILT, transfer="osdf:///pool/i", jobs=parsed("io\none.raw\ntwo.raw\n")
    )
    first, second = jobs_of(text)
    assert first["TransferInput"] == "osdf:///pool/i/root.qcow2,one.raw"
    assert second["VMPARAM_vm_Disk"].endswith(",two.raw:vdb:w:raw")


def test_a_hundred_jobs_return_a_hundred_different_files_none_of_which_was_submitted() -> None:
    names = [f"io-{number}.raw" for number in range(100)]
    text = submit_description(recipe(), "kvm", files=BUILT, jobs=parsed("\n".join(["io", *names])))
    returned = [ad["TransferOutputRemaps"].partition(" = ")[2] for ad in jobs_of(text)]
    assert len(set(returned)) == 100 and not set(returned) & set(names)


def test_shared_disks_are_each_jobs_own_and_absolute() -> None:
    made = recipe(disks=[{**ROOT, "readonly": True}, IO])
    text = submit_description(made, "kvm", files=BUILT, transfer="shared", jobs=parsed("io\n/s/1.raw\n/s/2.raw\n"))
    first, second = jobs_of(text)
    assert first["VMPARAM_vm_Disk"] == "/images/debian-12/root.qcow2:vda:r:qcow2,/s/1.raw:vdb:w:raw"
    assert second["VMPARAM_vm_Disk"].endswith(",/s/2.raw:vdb:w:raw")


def test_jobs_that_would_write_one_shared_disk_together_are_refused() -> None:
    (problem,) = refused("io\n/s/1.raw\n/s/2.raw\n", "shared")
    assert "2 jobs would write the shared disk root.qcow2 at once" in problem
    made = [{**ROOT, "readonly": True}, IO]
    assert "is the disk of line 2 too" in refused("io\n/s/1.raw\n/s/1.raw\n", "shared", disks=made)[0]
    assert "is not absolute" in refused("io\n1.raw\n", "shared")[0]


def test_request_disk_covers_the_largest_disk_of_the_jobs(tmp_path: Path) -> None:
    with (tmp_path / "big.raw").open("wb") as big:
        big.truncate(2048 * MiB)
    (tmp_path / "jobs.csv").write_text("io\nbig.raw\nsmall.raw\n")
    text = submit_description(recipe(), "kvm", files=BUILT, jobs=tmp_path / "jobs.csv")
    assert all(int(ad["RequestDisk"]) > (1300 + 2048) * 1024 for ad in jobs_of(text))


def test_addresses_from_the_file() -> None:
    network = {"network": "nat", "mac": "auto"}
    text = submit_description(
        recipe(machine=network),
        "kvm",
        files=BUILT,
        jobs=parsed("io,mac\na.raw,02:00:00:00:00:01\nb.raw,02:00:00:00:00:02"),
    )
    assert [ad["JobVM_MACADDR"] for ad in jobs_of(text)] == ["02:00:00:00:00:01", "02:00:00:00:00:02"]
    assert "another job's too" in refused("io,mac\na,02:00:00:00:00:01\nb,02:00:00:00:00:01", machine=network)[0]
    assert "not an address of one machine" in refused("io,mac\na,01:00:00:00:00:01", machine=network)[0]
    fixed = {"network": "nat", "mac": "02:00:00:00:00:01"}
    assert "2 jobs would have the address" in refused("io\na\nb", machine=fixed)[0]


def test_automatic_addresses_differ_from_job_to_job() -> None:
    made = recipe(machine={"network": "nat", "mac": "auto"})
    text = submit_description(made, "kvm", files=BUILT, jobs=parsed("io\n" + "\n".join(f"{n}.raw" for n in range(300))))
    addresses = [ad["JobVM_MACADDR"] for ad in jobs_of(text)]
    assert len(set(addresses)) == 300 and addresses[257] == "02:00:00:07:01:01"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "there are no jobs"),
        ("io\n", "no job"),
        ("io,io\na,b\n", "two columns"),
        ("io,2nd\na,b\n", "not a valid variable name"),
        ("io_2\na\n", "a digit cannot follow _"),
        ("io,Log\na,b\n", "would be taken for"),
        ("io,input\na,b\n", "would be taken for"),
        ("io,vm_disk\na,b\n", "would be taken for"),
        ("io,Process\na,b\n", "would be taken for"),
        ("io,n\na\n", "there is 1 value for 2 variables"),
        ("io\na,b\n", "there are 2 values for 1 variable"),
        ("io,n\na,b\nc,d\0e\n", "jobs.csv:3: the value of n has a NUL byte (remove it"),
        ("io,n\na,b\x1bc\n", "jobs.csv:2: the value of n has the control character U+001B"),
        ("io,n\na\x7f,b\x80\n", "jobs.csv:2: the value of io has the control character U+007F"),
        ("io;n\na;0,5\n", "separated by semicolons, not by commas"),
        ("io\tn\na\tb\n", "separated by tabs"),
        ("io,my name\na,b\n", "column 2 is named 'my name', which is not a valid variable name"),
        ("io,\na,b\n", "column 2 has no name"),
        ("io,roost_row\na,b\n", "would be taken for"),
        ('io,n\na,"b\n', "a double quote is opened here or before, and never closed (close it"),
        ('io,n\na,"b"c\n', "something between a closing double quote and the comma"),
        (f"io,n\na,{'x' * 200_000}\n", "a value is longer than 131072 characters (name a file"),
    ],
)
def test_a_mistake_in_the_file_is_reported_with_its_line(text: str, what: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parsed(text)
    assert what in str(caught.value) and str(caught.value).startswith("jobs.csv")


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("", "the column io names no file"),
        ("a.qcow2", "the disk 'a.qcow2' is raw: name it a.raw"),
        ("x/a.QCOW2", "name it a.raw"),
        ("a.vmdk", "name it a.raw"),
        ("a.raw.gz", "the disk 'a.raw.gz' is raw: name it a.raw.raw"),
        ("a b.raw", "characters"),
        ("https://h.example/a.raw", "characters"),
        ("isolated.raw", "iso"),
        ("x/root.qcow2", "would overwrite"),
        ("folder/", "characters"),
    ],
)
def test_a_disk_that_htcondor_would_misread_is_reported_with_its_line(value: str, what: str) -> None:
    (problem,) = refused(f"io,n\n{value},1\n")
    assert what in problem and problem.startswith("jobs.csv:2")


SAMPLE = {"return": ["io"], "attributes": {"Sample": "<$(sample)>", "Note": "<$(note)>"}}
VALUES = [
    "plain",
    "",
    "two words",
    "a, b",
    "0,5",
    "$(Cluster)",
    "$HOME",
    "5 $",
    'x " y',
    "it's",
    "\\n a\\b",
    "#no comment",
    ") no end",
    "(x)",
    "@x",
    "a = b",
    "caf\u00e9 \u65e5\u672c",
    "\u00a0x",
    "queue",
    "a\tb",
    "$(sample_1)",
    "'",
    ",",
    "%s {x}",
]


def table(header: str, rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([header.split(","), *rows])
    return text.getvalue()


@pytest.mark.parametrize("header", ["io,sample,note", "sample,io,note", "note,sample,io"])
def test_condor_submit_reads_every_value_of_every_column_as_it_stands(header: str) -> None:
    rows = [
        [{"io": f"{number}.raw", "sample": value, "note": VALUES[-number]}[name] for name in header.split(",")]
        for number, value in enumerate(VALUES)
    ]
    text = submit_description(recipe(submit=SAMPLE), "kvm", files=BUILT, jobs=parsed(table(header, rows)))
    for number, ad in enumerate(jobs_of(text)):
        assert ad["VMPARAM_vm_Disk"] == f"root.qcow2:vda:w:qcow2,{number}.raw:vdb:w:raw"
        assert ad["Sample"] == f"<{VALUES[number]}>"
        assert ad["Note"] == f"<{VALUES[-number]}>"


@pytest.mark.parametrize("value", VALUES)
def test_one_column_with_an_odd_value_needs_no_macros(value: str) -> None:
    made = recipe(submit={"return": ["io"], "attributes": {"Sample": "<$(sample)>"}})
    text = submit_description(
        made, "kvm", files=BUILT, jobs=parsed(table("sample,io", [[value, "1.raw"], ["x", "2.raw"]]))
    )
    first, second = jobs_of(text)
    assert (first["Sample"], second["Sample"]) == (f"<{value}>", "<x>")
    assert first["VMPARAM_vm_Disk"].endswith(",1.raw:vdb:w:raw") and "roost_row" not in text


def test_the_example_of_the_readme() -> None:
    for given in ("io,inputs,scale\nio-1.raw,common/ one.txt,0.5\n", "inputs,io,scale\ncommon/ one.txt,io-1.raw,0.5\n"):
        text = submit_description(recipe(), "kvm", files=BUILT, jobs=parsed(given))
        assert text.endswith("queue io, scale, inputs from (\n  io-1.raw, 0.5, common/ one.txt\n)\n")


def test_columns_that_nothing_refers_to_are_left_out_rather_than_split() -> None:
    rows = [["1.raw", "a b", "c, d", "line\nbreak", "end\\"], ["2.raw", "", "", "", ""]]
    text = submit_description(recipe(), "kvm", files=BUILT, jobs=parsed(table("io,one,two,three,four", rows)))
    assert "# Not needed here" in text and "one, two, three, four" in text
    assert text.endswith("queue io from (\n  1.raw\n  2.raw\n)\n")
    assert [ad["VMPARAM_vm_Disk"][-16:] for ad in jobs_of(text)] == [",1.raw:vdb:w:raw", ",2.raw:vdb:w:raw"]


def test_a_row_that_would_be_blank_is_still_a_job() -> None:
    made = recipe(submit={"attributes": {"Sample": "<$(sample)>"}})
    text = submit_description(made, "kvm", files=BUILT, jobs=parsed(table("sample,note", [["", "a b"], ["x", ""]])))
    assert [ad["Sample"] for ad in jobs_of(text)] == ["<>", "<x>"]


@pytest.mark.parametrize(
    ("value", "attribute", "what"),
    [
        ("a\nb", "$(sample)", "a line break"),
        ("a\u2028", "$(sample)", "control character"),
        ("a\\", "$(sample)", "ends in a backslash"),
        ("$$(HOME)", "$(sample)", "has $$"),
        ('a\\"b', "$(sample)", "a backslash before a double quote"),
    ],
)
def test_what_no_description_can_carry_is_reported_before_a_disk_is_made(value: str, attribute: str, what: str) -> None:
    jobs = parsed(table("io,sample", [["1.raw", "x"], ["2.raw", value]]))
    made = recipe(submit={"return": ["io"], "attributes": {"Sample": attribute}})
    for ask in (lambda: check_jobs(jobs, made), lambda: submit_description(made, "kvm", files=BUILT, jobs=jobs)):
        with pytest.raises(RecipeError, match=re.escape(what)) as caught:
            ask()
        assert caught.value.problems[0].where is not None
    check_jobs(jobs, recipe())


def test_a_quote_cannot_be_both_escaped_and_bare() -> None:
    jobs = parsed(table("io,sample", [["1.raw", 'a"b']]))
    check_jobs(jobs, recipe(submit={"commands": {"batch_name": "$(sample)"}}))
    both = {"commands": {"batch_name": "$(sample)"}, "attributes": {"Sample": "$(sample)"}}
    with pytest.raises(RecipeError, match="double quote"):
        check_jobs(jobs, recipe(submit=both))


def test_a_disk_is_checked_before_it_is_made() -> None:
    with pytest.raises(RecipeError, match=r"the disk 'run 1.raw' may only have the characters"):
        check_jobs(parsed("io,inputs,x\nrun 1.raw,one.txt,3\n"), recipe())
    check_jobs(parsed("io,inputs,x\nrun-1.raw,one.txt two.txt,3\n"), recipe())


def test_a_column_is_a_disks_in_whatever_case() -> None:
    text = submit_description(recipe(), "kvm", files=BUILT, jobs=parsed("IO\n1.raw\n"))
    assert jobs_of(text)[0]["VMPARAM_vm_Disk"].endswith(",1.raw:vdb:w:raw")


def test_a_file_of_jobs_is_read_within_bounds(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "jobs.csv")
    with pytest.raises(UsageError, match="a FIFO, not a file"):
        read_jobs(tmp_path / "jobs.csv")
    (tmp_path / "long.csv").write_bytes(b"io\n" * (6 << 20))
    with pytest.raises(UsageError, match="larger than 16 MiB"):
        read_jobs(tmp_path / "long.csv")
    (tmp_path / "excel.csv").write_bytes("io\n1.raw\n".encode("utf-16"))
    with pytest.raises(UsageError, match="UTF-16"):
        read_jobs(tmp_path / "excel.csv")


def test_every_bad_row_is_reported() -> None:
    assert [text.partition(": ")[0] for text in refused("io\na b\nc.raw\niso\n")] == ["jobs.csv:2", "jobs.csv:4"]


def test_the_label_is_not_a_jobs_disk() -> None:
    text = submit_description(recipe(), "kvm", files=BUILT, jobs=parsed("io\nx/debian-12\n"))
    assert jobs_of(text)[0]["Cmd"].endswith("debian-12-job")


def test_a_name_that_no_variable_can_have() -> None:
    names = ("io", "io-disk", "io-disk.2", "2nd", "a_1")
    assert [variable_of(name) for name in names] == ["io", "io_disk", "io_disk2", "disk2nd", "a1"]
    disks = [ROOT, {**IO, "name": "io-2"}]
    text = submit_description(recipe(disks=disks, submit={}), "kvm", jobs=parsed("io2\nx.raw\n"))
    assert ",x.raw:vdb:w:raw" in jobs_of(text)[0]["VMPARAM_vm_Disk"]


def test_a_column_is_one_disks_only() -> None:
    disks = [ROOT, {**IO, "name": "io-2"}, {"name": "io2", "filesystem": "ext4", "size": "9MiB"}]
    assert "that of two disks, io-2 and io2" in refused("io2\nx.raw\n", disks=disks, submit={})[0]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_jobs(tmp_path / "none.csv")
    (tmp_path / "odd.csv").write_bytes(b"io\n\xff\n")
    with pytest.raises(UsageError, match="UTF-8"):
        read_jobs(tmp_path / "odd.csv")


def test_spreadsheets_write_a_byte_order_mark_and_carriage_returns(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_bytes(b"\xef\xbb\xbfio, n\r\n a.raw , 1\r\n\r\n")
    jobs = read_jobs(tmp_path / "jobs.csv")
    assert (jobs.variables, jobs.rows, jobs.directory) == (("io", "n"), (("a.raw", "1"),), tmp_path)
