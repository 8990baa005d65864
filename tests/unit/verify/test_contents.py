"""The files of an image out of its tar: each kind of member, hostile names, what is not a tar."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from roost.errors import ImageError
from roost.verify import contents


def _tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def _member(name: str, kind: bytes = tarfile.REGTYPE, **values: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    for key, value in values.items():
        setattr(member, key, value)
    return member


def test_each_kind_of_member_says_what_it_is(tmp_path: Path) -> None:
    tar = _tar(
        tmp_path / "x.tar",
        (_member("./", tarfile.DIRTYPE, mode=0o755), b""),
        (_member("./bin/su", mode=0o104755, uid=0, gid=12), b"program"),
        (_member("./bin/other", tarfile.LNKTYPE, linkname="./bin/su"), b""),
        (_member("./lib", tarfile.SYMTYPE, linkname="usr/lib"), b""),
        (_member("./dev/tty", tarfile.CHRTYPE, devmajor=5, devminor=0, mode=0o666), b""),
        (_member("./p", pax_headers={"SCHILY.xattr.security.capability": "x"}), b""),
    )
    found = contents.members(tar)
    digest = hashlib.sha256(b"program").hexdigest()
    assert found["/"] == contents.Entry("directory", 0o755, "0:0", 0, "")
    assert found["/bin/su"] == found["/bin/other"] == contents.Entry("file", 0o4755, "0:12", 7, digest)
    assert found["/lib"].content == "usr/lib"
    assert (found["/dev/tty"].type, found["/dev/tty"].content) == ("character device", "5:0")
    assert found["/p"].xattrs


def test_names_stay_names(tmp_path: Path) -> None:
    tar = _tar(tmp_path / "x.tar", (_member("../../etc/x"), b"1"), (_member("./\x1b]0;owned\x07"), b""))
    assert set(contents.members(tar)) == {"/../../etc/x", "/\x1b]0;owned\x07"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.tar"]


def test_what_is_not_a_tar_or_too_much_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no.tar").write_bytes(b"no" * 400)
    with pytest.raises(ImageError, match="cannot be read"):
        contents.members(tmp_path / "no.tar")
    tar = _tar(tmp_path / "cut.tar", (_member("a"), b"x" * 4000))
    tar.write_bytes(tar.read_bytes()[:1500])
    with pytest.raises(ImageError, match="cannot be read"):
        contents.members(tar)
    monkeypatch.setattr(contents, "MOST", 2)
    with pytest.raises(ImageError, match="more than 2 files"):
        contents.members(_tar(tmp_path / "many.tar", *((_member(str(number)), b"") for number in range(3))))
