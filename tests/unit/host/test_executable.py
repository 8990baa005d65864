"""What Linux makes of a file that is run, by its first bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.host import executable
from tests.unit.program_lab import elf


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (elf(), None),
        (elf(3, wide=False), None),
        (elf(183), "is a program for aarch64, not for x86-64"),
        (elf(40, wide=False), "is a program for 32-bit ARM, not for x86-64"),
        (elf(21, order=">"), "is a program for ppc64, not for x86-64"),
        (elf(9999), "another processor (ELF machine 9999)"),
        (elf(62, 1), "is an object file"),
        (b"\xcf\xfa\xed\xfe" + bytes(60), "is a macOS program"),
        (b"MZ\x90\0" + bytes(100), "is a program for Windows"),
        ("\ufeff#!/bin/sh\n".encode("utf-16-le"), "is UTF-16 text"),
        (b"#!/bin/sh\n", None),
        (b"MZ is a word\n" * 10, None),
        (b"", None),
    ],
)
def test_what_is_made_for_something_else(head: bytes, said: str | None) -> None:
    found = executable.foreign(head)
    assert found is None if said is None else found is not None and said in found


@pytest.mark.parametrize("wide", [True, False])
def test_the_loader_of_a_dynamic_program(wide: bool) -> None:
    assert executable.loader(elf(wide=wide, loader="/lib/ld-musl-x86_64.so.1")) == "/lib/ld-musl-x86_64.so.1"
    assert executable.loader(elf(wide=wide)) is None
    own = Path("/bin/true").read_bytes()[:4096]
    assert executable.loader(own) in {None, "/lib64/ld-linux-x86-64.so.2"} and executable.foreign(own) is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("#!/usr/bin/env python3 -u", "write #!/usr/bin/env -S python3 -u"),
        ("#!/usr/bin/env -S python3 -u", None),
        ("#!/usr/bin/env python3", None),
        ("#!/usr/bin/env A=1 python3", None),
        ("#! /bin/sh -e -u", "passes sh the single word '-e -u'"),
        ("#!/bin/bash -eu", None),
        ("#!/bin/sh -- # -*- perl -*-", None),
        ("#!/usr/bin/perl -w -T", None),
        ("#!/usr/bin/python3.11 -u -O", "single word"),
    ],
)
def test_arguments_of_a_first_line(line: str, said: str | None) -> None:
    found = executable.one_word(line)
    assert found is None if said is None else found is not None and said in found


@given(st.binary(max_size=300))
def test_no_bytes_raise(data: bytes) -> None:
    for head in (data, b"\x7fELF" + data, elf()[:40] + data):
        executable.foreign(head)
        executable.loader(head)
    executable.one_word(data.decode("utf-8", "replace"))
