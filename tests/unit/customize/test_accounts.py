"""Accounts as text: what useradd(8) would write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.customize import accounts

PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
GROUP = "root:x:0:\naudio:x:29:pulse\nnogroup:x:65534:\n"
SHADOW = "root:*::0:99999:7:::\n"


def _add(name: str = "job", passwd: str = PASSWD, group: str = GROUP, **options: object) -> accounts.Added:
    account = accounts.Account(name, "/bin/sh", 20000, **options)  # type: ignore[arg-type]
    return accounts.add(passwd, group, SHADOW, account)


def test_an_account_has_a_group_of_its_own_and_no_password() -> None:
    added = _add(groups=["audio"])
    assert added.passwd == PASSWD + "job:x:1000:1000::/home/job:/bin/sh\n"
    assert added.group == "root:x:0:\naudio:x:29:pulse,job\nnogroup:x:65534:\njob:x:1000:\n"
    assert added.shadow == SHADOW + "job:*:20000:0:99999:7:::\n"
    assert (added.number, added.home) == (1000, "/home/job")


def test_the_number_is_free_as_user_and_as_group() -> None:
    assert _add(passwd=PASSWD + "a:x:1004:1004::/:/bin/sh\n").number == 1005
    assert _add(group=GROUP + "staff:x:1007:\n").number == 1008


@pytest.mark.parametrize("number", ["\u00b2", "\u0661\u0660\u0660\u0660", "9" * 5000, "-1", ""])
def test_what_is_not_a_number_takes_none(number: str) -> None:
    """Digits of other scripts, and more of them than Python reads: a tree's passwd may hold anything."""
    assert _add(passwd=f"odd:x:{number}:0::/:/bin/sh\n", group=f"odd:x:{number}:\n").number == accounts.FIRST


def test_a_file_whose_last_line_has_no_end() -> None:
    added = _add(passwd=PASSWD.rstrip("\n"), group=GROUP.rstrip("\n"))
    assert added.passwd.splitlines()[-2:] == [PASSWD.splitlines()[-1], "job:x:1000:1000::/home/job:/bin/sh"]
    assert added.group.splitlines()[-1] == "job:x:1000:"


def test_what_is_there_or_is_not() -> None:
    with pytest.raises(accounts.AccountError, match="already has a user root"):
        _add("root")
    with pytest.raises(accounts.AccountError, match="already has a group audio"):
        _add("audio")
    with pytest.raises(accounts.AccountError, match="has no group video for user job"):
        _add(groups=["video"])


@given(st.text(max_size=200), st.text(max_size=200))
def test_unknown_lines_are_kept_as_they_are(passwd: str, group: str) -> None:
    try:
        added = accounts.add(passwd, group, "", accounts.Account("job", "/bin/sh", 1))
    except accounts.AccountError:
        return
    assert added.passwd.startswith(passwd)
    assert added.number >= accounts.FIRST
