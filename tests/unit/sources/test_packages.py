"""Packages as apt names them: its answers are read, its lists cut down to a selection, nothing else gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.errors import ImageError
from roost.sources import packages
from roost.sources.packages import Package

SUM = "ab" * 32
URIS = f"""\
'http://h/pool/main/l/login/login_1%3a4.13%2bdfsg1-1_amd64.deb' login_1%3a4.13+dfsg1-1_amd64.deb 90 SHA256:{SUM}
'http://h/pool/main/d/dash/dash_0.5_amd64.deb' dash_0.5_amd64.deb 9 SHA256:{SUM}
Reading package lists...
"""
LIST = f"""\
Package: dash
Version: 0.5
Architecture: amd64
Depends: libc6 (>= 2)
SHA256: {SUM}

Package: dash
Version: 0.6
Architecture: amd64
SHA256: {SUM}

Package: dash-static
Version: 0.5
Architecture: amd64
SHA256: {SUM}
"""


def test_what_apt_would_fetch_is_read() -> None:
    dash, login = packages.of_uris(URIS)
    assert dash == Package("dash", "0.5", "amd64", SUM)
    assert (login.name, login.version, login.file) == ("login", "1:4.13+dfsg1-1", "login_1%3a4.13+dfsg1-1_amd64.deb")
    assert login.exact == "login=1:4.13+dfsg1-1"
    assert packages.of_parts([login.parts(), dash.parts()]) == (dash, login)


def test_a_package_without_a_sha256_is_refused() -> None:
    with pytest.raises(ImageError, match=r"no SHA256 of dash 0\.5"):
        packages.of_uris(URIS.replace(f"9 SHA256:{SUM}", "9 MD5Sum:0123"))


def test_a_list_is_cut_down_to_the_packages_in_use() -> None:
    wanted = Package("dash", "0.5", "amd64", SUM)
    absent = Package("dash", "0.4", "amd64", SUM)
    text, found = packages.only(LIST.encode(), [wanted, absent])
    assert found == {wanted}
    assert text == LIST.split("\n\n", maxsplit=1)[0] + "\n\n"
    assert packages.only(LIST.encode(), [Package("dash", "0.5", "amd64", "cd" * 32)]) == ("", set())


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("value", ["", "../x", "a b", "-x", "a\nb", None, 7, "x" * 300])
def test_what_cannot_be_a_package_is_refused(part: int, value: object) -> None:
    parts: list[object] = ["dash", "0.5", "amd64", SUM]
    parts[part] = value
    if (part, value) != (2, "-x"):
        with pytest.raises(ValueError, match="not a package"):
            packages.package(*parts)


@given(
    st.from_regex(r"[a-z0-9][a-z0-9+.-]{0,20}", fullmatch=True),
    st.from_regex(r"[0-9][A-Za-z0-9.+~:-]{0,20}", fullmatch=True),
)
def test_the_name_of_a_file_tells_the_package(name: str, version: str) -> None:
    one = Package(name, version, "amd64", SUM)
    assert packages.of_uris(f"'http://h/x.deb' {one.file} 1 SHA256:{SUM}\n") == (one,)
