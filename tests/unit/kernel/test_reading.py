"""Kernels and initrds of strangers: read as Linux reads them, or refused; never at any price of memory or time."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from roost.host import bzimage, decompress, magic
from roost.host.decompress import CorruptError
from roost.kernel import contents, cpio
from roost.kernel.cpio import BadInitrdError
from tests.unit.kernel_lab import PACK, RELEASE, elf, initrd, module, newc
from tests.unit.kernel_lab import bzimage as made

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40).filter(
    lambda name: name.lstrip("/").removeprefix("./") == name and name != "TRAILER!!!"
)
FILES = st.dictionaries(NAMES, st.one_of(st.none(), st.binary(max_size=300)), min_size=1, max_size=6)
PARTS = st.lists(st.tuples(FILES, st.sampled_from(["", *PACK]), st.integers(0, 5)), min_size=1, max_size=3)


def listed(data: bytes) -> list[tuple[str, bytes]]:
    return [(entry.name, entry.read(1 << 20)) for entry in cpio.entries(io.BytesIO(data))]


@given(PARTS)
def test_archives_one_after_the_other_plain_or_packed(parts: list[tuple[dict[str, bytes | None], str, int]]) -> None:
    data, wanted = b"", []
    for files, packed, zeros in parts:
        archive = newc(files)
        data += (PACK[packed](archive) if packed else archive) + bytes(4 * zeros)
        wanted += [(name, content or b"") for name, content in files.items()]
    assert listed(data) == wanted


@given(
    st.binary(max_size=400), st.sampled_from([b"", b"070701", *(forms[0][1] for forms in magic.SIGNATURES.values())])
)
def test_anything_is_read_or_refused(data: bytes, magic: bytes) -> None:
    try:
        listed(magic + data)
    except BadInitrdError:
        return


@given(st.sampled_from(["", *PACK]), st.data())
def test_whatever_is_cut_or_flipped_is_read_or_refused(packed: str, data: st.DataObject) -> None:
    archive = newc({"init": b"#!/bin/sh\n" * 30, "bin": None})
    whole = bytearray(PACK[packed](archive) if packed else archive)
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = bytes(whole[: data.draw(st.integers(1, len(whole)))])
    try:
        listed(cut)
    except BadInitrdError:
        return


@pytest.mark.parametrize("packed", list(PACK))
def test_a_packed_archive_that_ends_early_is_refused(packed: str) -> None:
    whole = PACK[packed](newc({"init": bytes(range(256)) * 400}, trailer=False))
    with pytest.raises(BadInitrdError):
        listed(whole[: len(whole) * 2 // 3])


def test_an_empty_file_is_not_an_initrd() -> None:
    for data in (b"", bytes(4096), b"no initrd at all", b"070701" + b"g" * 200, newc({})):
        with pytest.raises(BadInitrdError):
            listed(data)


def test_names_and_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    header = b"070701" + b"".join(b"%08X" % field for field in (0, 0o100644, 0, 0, 1, 0, 8, 0, 0, 0, 0, 5000, 0))
    with pytest.raises(BadInitrdError, match="a name of 5000 bytes"):
        listed(header + bytes(6000))
    monkeypatch.setattr(cpio, "MAX_ENTRIES", 3)
    with pytest.raises(BadInitrdError, match="more than 3 entries"):
        listed(newc({str(number): b"" for number in range(5)}))


@pytest.mark.parametrize("packed", ["zstd", "xz", "gzip", "bzip2", "lz4"])
def test_a_bomb_takes_neither_memory_nor_long(packed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # An entry that says 4 GiB and is zeros: a few hundred KiB packed.
    monkeypatch.setattr(cpio, "MAX_UNPACKED", 64 << 20)
    header = newc({"bomb": b""}, trailer=False)
    bomb = header[: 6 + 6 * 8] + b"FFFFFFFF" + header[6 + 7 * 8 :]
    data = PACK[packed](bomb + bytes(96 << 20))
    assert len(data) < 1 << 20
    tracemalloc.start()
    started = time.monotonic()
    with pytest.raises(BadInitrdError, match="more than"):
        for _ in cpio.entries(io.BytesIO(data)):
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 << 20
    assert time.monotonic() - started < 20


def test_a_window_larger_than_any_kernels_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30, compression_level=1)
    data = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = data.compress(newc({"init": bytes(1000)})) + data.flush()
    with pytest.raises(BadInitrdError, match="not a complete zstd file"):
        listed(packed)


@given(st.binary(max_size=2000), st.sampled_from(list(PACK)), st.binary(max_size=3))
@example(b"kernel", "gzip", b"\x1f\x8b")
@example(b"kernel", "bzip2", b"BZh")
def test_what_was_packed_comes_out_whatever_follows(data: bytes, packed: str, tail: bytes) -> None:
    assert decompress.unpack(io.BytesIO(PACK[packed](data) + tail), 1 << 20) == data


@pytest.mark.parametrize("packed", list(PACK))
def test_what_unpacks_to_too_much_is_refused(packed: str) -> None:
    with pytest.raises(CorruptError, match="more than"):
        decompress.unpack(io.BytesIO(PACK[packed](bytes(3 << 20))), 2 << 20)


@given(
    st.lists(st.one_of(st.integers(0, 50).map(lambda n: ("read", n)), st.integers(0, 50).map(lambda n: ("peek", n))))
)
def test_a_source_gives_every_byte_once(steps: list[tuple[str, int]]) -> None:
    data = bytes(range(256)) * 2
    source, at = decompress.LookaheadReader(io.BytesIO(data)), 0
    for what, size in steps:
        got = source.read(size) if what == "read" else source.peek(size)
        assert got == data[at : at + size]
        at += len(got) if what == "read" else 0
        if what == "read" and size % 3 == 0:
            source.give_back(got)
            at -= len(got)
    assert source.read(1000) == data[at:]


@pytest.mark.parametrize("packed", list(PACK))
def test_a_kernel_says_what_it_is(packed: str, tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(made(packed=packed))
    found = bzimage.read(path)
    assert found is not None
    assert (found.release, found.version, found.compression) == (RELEASE, "6.1.9-1", packed)
    assert bzimage.unpacked(path) == elf([1, 18])
    assert bzimage.starts_under_xen(path) is True
    assert bzimage.for_qemu(path) == elf([1, 18])


def test_a_kernel_without_the_entry_for_pv(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(made(kernel=elf([18])))
    assert bzimage.starts_under_xen(path) is False
    path.write_bytes(made(kernel=elf([1], owner=b"GNU\0")))
    assert bzimage.starts_under_xen(path) is False
    for broken in (made(packed=None), made(kernel=b"no ELF"), made()[:2700]):
        path.write_bytes(broken)
        assert bzimage.starts_under_xen(path) is None


def test_the_version_is_the_distributions() -> None:
    def version(banner: str) -> str:
        return bzimage.BzImage("6.8.0-31-generic", banner, None, 0, 0).version

    assert (
        version("6.8.0-31-generic (buildd@host) #31-Ubuntu SMP PREEMPT_DYNAMIC Sat Apr 20 UTC 2024")
        == "6.8.0-31-generic"
    )
    assert version("6.12.1+deb13-amd64 (debian@x) #1 SMP PREEMPT_DYNAMIC Debian 6.12.1-1 (2026-01-01)") == "6.12.1-1"


@given(st.binary(max_size=700), st.dictionaries(st.integers(0, 0x260), st.integers(0, 255), max_size=20))
def test_any_header_is_a_kernel_or_none(tail: bytes, changes: dict[int, int]) -> None:
    data = bytearray(made()[:0x600] + tail)
    for place, value in changes.items():
        data[place] = value
    found = bzimage.parse(bytes(data))
    assert found is None or found.release
    bzimage.notes(bytes(data), b"Xen")


@given(st.dictionaries(st.integers(0, 200), st.integers(0, 255), max_size=12))
def test_notes_of_any_elf(changes: dict[int, int]) -> None:
    data = bytearray(elf([1, 2, 18]))
    for place, value in changes.items():
        data[min(place, len(data) - 1)] = value
    assert all(0 <= kind < 1 << 32 for kind in bzimage.notes(bytes(data), b"Xen"))


@pytest.mark.parametrize("packed", ["", "xz", "zstd", "gzip"])
def test_a_module_says_for_which_kernel_it_is(packed: str) -> None:
    data = module("ext4")
    assert contents.vermagic(PACK[packed](data) if packed else data) == RELEASE
    assert contents.vermagic(b"\x7fELF nothing") is None
    assert contents.vermagic(b"\xfd7zXZ\0 broken") is None


def test_an_initrd_with_microcode_in_front(tmp_path: Path) -> None:
    for packed in PACK:
        (tmp_path / "initrd").write_bytes(initrd(["virtio_blk", "xen_blkfront"], packed=packed))
        found = contents.read(tmp_path / "initrd")
        assert found.modules == {"virtio_blk", "xen_blkfront"} and found.releases == {RELEASE}
        assert found.built_for == RELEASE


def test_roosts_own_initrd_numbers_its_modules(tmp_path: Path) -> None:
    (tmp_path / "initrd").write_bytes(newc({"modules/007-virtio_blk.ko": module("virtio_blk"), "modules/order": b""}))
    assert contents.read(tmp_path / "initrd").modules == {"virtio_blk"}


def test_lz4_of_the_tool_and_its_size_behind_it(tmp_path: Path) -> None:
    # The size that the kernel's build appends looks like one more block.
    data = PACK["lz4"](b"x" * 100) + struct.pack("<I", 100)
    assert decompress.unpack(io.BytesIO(data), 1000) == b"x" * 100
