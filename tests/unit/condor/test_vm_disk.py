"""The grammar of vm_disk: parse, format, positions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.condor.machine import VmDisk
from roost.condor.vm_disk import VmDiskError, format_disks, parse, problem_of, scan
from roost.recipe.hypervisor import Hypervisor

NAMES = st.from_regex(r"\A[A-Za-z0-9._+-]{1,20}\Z").filter(lambda name: "iso" not in name and name not in (".", ".."))
PATHS = st.one_of(NAMES, st.lists(NAMES, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts)))


@st.composite
def machines(draw: st.DrawFn) -> tuple[tuple[VmDisk, ...], Hypervisor]:
    hypervisor: Hypervisor = draw(st.sampled_from(["kvm", "xen"]))
    prefix = draw(st.sampled_from(["vd", "sd"] if hypervisor == "kvm" else ["xvd", "sd"]))
    letters = draw(st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=1, max_size=6, unique=True))
    formats = st.sampled_from(["raw", "qcow2"] if hypervisor == "kvm" else ["raw"])
    disks = [
        VmDisk(draw(PATHS), prefix + letter, draw(st.sampled_from(["r", "w"])), draw(formats)) for letter in letters
    ]
    return tuple(disks), hypervisor


@given(machines())
def test_parse_gives_back_what_format_wrote(machine: tuple[tuple[VmDisk, ...], Hypervisor]) -> None:
    disks, hypervisor = machine
    assert parse(format_disks(disks, hypervisor)) == disks
    assert parse(format_disks(disks)) == disks


@given(st.text())
def test_scan_keeps_every_item_and_field_with_its_position(text: str) -> None:
    items = scan(text)
    assert len(items) == text.count(",") + 1
    for item in items:
        assert text[item.start : item.end] == item.text
        assert len(item.fields) == item.text.count(":") + 1
        assert all(text[field.start : field.end] == field.text for field in item.fields)


@given(st.text(alphabet="ab:, \t/."))
def test_parse_raises_nothing_but_its_own_error(text: str) -> None:
    try:
        disks = parse(text)
    except VmDiskError as error:
        assert error.problem.where is not None
    else:
        assert all(disk.file and disk.device and disk.permission for disk in disks)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("d", "'d' has 1 field, not 3 or 4"),
        ("a:b", "'a:b' has 2 fields, not"),
        ("a::w", "the device of 'a::w' is empty"),
    ],
)
def test_the_words_for_a_wrong_item(text: str, what: str) -> None:
    with pytest.raises(VmDiskError, match=what):
        parse(text)


def test_blanks_around_items_and_fields_do_not_count() -> None:
    assert parse(" a.raw : vda:w:raw ,\tb.raw:vdb:r") == (
        VmDisk("a.raw", "vda", "w", "raw"),
        VmDisk("b.raw", "vdb", "r", None),
    )


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 1),
        ("a:vda:w,", 9),
        ("a:vda:w,,b:vdb:w", 9),
        ("a.raw", 1),
        ("a:vda:w:raw:x", 1),
        ("a:vda:w,b::w", 11),
        ("::", 1),
    ],
)
def test_parse_says_where_it_stopped(text: str, column: int) -> None:
    with pytest.raises(VmDiskError) as caught:
        parse(text)
    assert caught.value.problem.where is not None
    assert caught.value.problem.where.column == column


@pytest.mark.parametrize(
    ("disk", "hypervisor"),
    [
        (VmDisk("my root.raw", "vda", "w", "raw"), "kvm"),
        (VmDisk("a&b.raw", "vda", "w", "raw"), "kvm"),
        (VmDisk("a:b.raw", "vda", "w", "raw"), "kvm"),
        (VmDisk("img/root.raw", "vda", "w", "raw"), "kvm"),
        (VmDisk("/x/../root.raw", "vda", "w", "raw"), "kvm"),
        (VmDisk("", "vda", "w", "raw"), "kvm"),
        (VmDisk("isolated.qcow2", "vda", "w", "qcow2"), "kvm"),
        (VmDisk("seed.iso", "vdb", "r", "raw"), "kvm"),
        (VmDisk("root.raw", "sda2", "w", "raw"), "kvm"),
        (VmDisk("root.raw", "VDA", "w", "raw"), "kvm"),
        (VmDisk("root.raw", "hde", "w", "raw"), "kvm"),
        (VmDisk("root.raw", "nvme0n1", "w", "raw"), "kvm"),
        (VmDisk("root.raw", "xvda", "w", "raw"), "kvm"),
        (VmDisk("root.raw", "hda", "r", "raw"), "kvm"),
        (VmDisk("root.raw", "vda", "rw", "raw"), "kvm"),
        (VmDisk("root.raw", "vda", "W", "raw"), "kvm"),
        (VmDisk("root.raw", "vda", "w", "QCOW2"), "kvm"),
        (VmDisk("root.raw", "vda", "w", None), "kvm"),
        (VmDisk("root.qcow2", "xvda", "w", "qcow2"), "xen"),
        (VmDisk("root.raw", "vda", "w", "raw"), "xen"),
        (VmDisk("root.raw", "hda1", "w", "raw"), "xen"),
    ],
)
def test_what_htcondor_would_refuse_or_misread_is_not_emitted(disk: VmDisk, hypervisor: Hypervisor) -> None:
    assert problem_of(disk, hypervisor)
    with pytest.raises(VmDiskError):
        format_disks([disk], hypervisor)


def test_two_disks_never_share_a_device() -> None:
    pair = (VmDisk("a.raw", "vda", "w", "raw"), VmDisk("b.raw", "vda", "w", "raw"))
    with pytest.raises(VmDiskError, match="same"):
        format_disks(pair, "kvm")
    # A Xen guest sees both sda and xvda as xvda (seen in a real guest).
    with pytest.raises(VmDiskError, match="same"):
        format_disks((VmDisk("a.raw", "sda", "w", "raw"), VmDisk("b.raw", "xvda", "w", "raw")), "xen")
    assert format_disks((VmDisk("a.raw", "xvda1", "w", "raw"), VmDisk("b.raw", "sda2", "w", "raw")), "xen")


def test_a_cd_is_an_iso_on_a_bus_that_has_cds() -> None:
    assert format_disks([VmDisk("root.raw", "vda", "w", "raw"), VmDisk("seed.iso", "hdc", "r", "raw")], "kvm")


def test_no_disk_at_all_is_refused() -> None:
    with pytest.raises(VmDiskError):
        format_disks([])
