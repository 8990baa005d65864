"""Sealing: identity and traces go, what the recipe put there stays, no password is left but those that it names."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.customize import sealing
from roost.host.guestfs import Stat
from roost.recipe.model import Recipe
from roost.verify import sealing as readback_sealing
from tests.unit import submitting

IDENTITY = {
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "var/lib/dbus/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/ssh/ssh_host_ed25519_key": "private",
    "etc/ssh/ssh_host_ed25519_key.pub": "public",
    "var/lib/systemd/random-seed": "x",
    "var/lib/systemd/credential.secret": "x",
    "boot/loader/random-seed": "x",
}
TRACES = {
    "etc/resolv.conf": "nameserver 192.0.2.1\n",
    "etc/shadow-": "root:$6$old:1::::::\n",
    "root/.bash_history": "rm\n",
    "root/.python_history": "1\n",
    "home/me/.bash_history": "ls\n",
    "home/me/.cache/x/y": "x",
    "var/lib/dhcp/dhclient.eth0.leases": "lease\n",
    "var/lib/cloud/instances/i-1/user-data.txt": "x",
    "var/lib/apt/lists/archive_dists_x_InRelease": "x",
    "var/cache/apt/pkgcache.bin": "x",
    "var/log/dpkg.log": "x",
    "var/log/apt/history.log": "x",
    "var/log/journal/0123/system.journal": "x",
    "tmp/x": "x",
    "run/lock/x": "x",
}
STAYS = {
    "etc/ssh/sshd_config": "x",
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nold:abc:5:5::/:/bin/sh\n",
    "home/me/notes": "x",
    "usr/bin/tool": "x",
}


def tree(root: Path) -> Path:
    for name, content in {**IDENTITY, **TRACES, **STAYS}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (root / "usr/lib/systemd").mkdir(parents=True)
    (root / "usr/lib/systemd/systemd").touch()
    (root / "etc/shadow").write_text(
        "root:$6$abc$def:1::::::\nme:$y$j9T$x$y:1::::::\nempty::1::::::\nno:!:1::::::\nx:*:1::\n"
    )
    return root


class TreeGuest:
    """What the verifier asks of an image, answered from a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def lstat(self, path: str) -> Stat | None:
        return self._stat(path, False)

    def stat(self, path: str) -> Stat | None:
        return self._stat(path, True)

    def _stat(self, path: str, follow: bool) -> Stat | None:
        try:
            seen = (self.root / path[1:]).stat(follow_symlinks=follow)
        except OSError:
            return None
        return Stat(seen.st_mode, seen.st_uid, seen.st_gid, seen.st_size)

    def exists(self, path: str) -> bool:
        return (self.root / path[1:]).exists()

    def names(self, directory: str) -> list[str]:
        path = self.root / directory[1:]
        return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []

    def read(self, path: str, size: int, offset: int = 0) -> bytes:
        return (self.root / path[1:]).read_bytes()[offset : offset + size]


def verifier(root: Path, recipe: Recipe) -> list[str]:
    return list(readback_sealing.sealing(TreeGuest(root), recipe))  # type: ignore[arg-type]


def test_identity_and_traces_go(tmp_path: Path) -> None:
    root = tree(tmp_path)
    assert verifier(root, submitting.recipe()) != []
    sealing.seal([], [], root)
    assert (root / "etc/machine-id").read_bytes() == b""
    left = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert left == {*STAYS, "etc/machine-id", "etc/shadow", "usr/lib/systemd/systemd"}
    assert all((root / name).read_text() == text for name, text in STAYS.items() if name != "etc/passwd")
    assert [line.split(":")[1] for line in (root / "etc/shadow").read_text().splitlines()] == ["*", "*", "*", "!", "*"]
    # A hash in passwd opens the account as well.
    assert [line.split(":")[1] for line in (root / "etc/passwd").read_text().splitlines()] == ["x", "x"]
    assert verifier(root, submitting.recipe()) == []


@pytest.mark.parametrize("name", [*IDENTITY, *TRACES])
def test_the_witness_sees_each_thing_that_is_left(name: str, tmp_path: Path) -> None:
    root = tree(tmp_path)
    sealing.seal([], [], root)
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    # The sealed one may be read-only.
    path.unlink(missing_ok=True)
    path.write_text({**IDENTITY, **TRACES}[name])
    found = verifier(root, submitting.recipe())
    unimportant = {"home/me/.cache/x/y", "var/cache/apt/pkgcache.bin", "tmp/x", "run/lock/x",
                   "etc/ssh/ssh_host_ed25519_key.pub"}  # fmt: skip
    assert found or name in unimportant, name
    assert verifier(root, submitting.recipe(seal=False)) == []


def test_a_machine_id_that_makes_systemd_ask_is_none(tmp_path: Path) -> None:
    root = tree(tmp_path)
    sealing.seal([], [], root)
    (root / "etc/machine-id").chmod(0o644)
    (root / "etc/machine-id").write_text("uninitialized\n")
    assert verifier(root, submitting.recipe()) == [
        "/etc/machine-id is 'uninitialized': systemd would take the first boot for an installation"
    ]
    (root / "etc/machine-id").unlink()
    assert "is missing" in verifier(root, submitting.recipe())[0]
    # Of a link, the target stays what it is.
    (root / "etc/machine-id").symlink_to("../usr/bin/tool")
    sealing.seal([], [], root)
    assert stat.S_ISREG((root / "etc/machine-id").lstat().st_mode) and (root / "usr/bin/tool").read_text() == "x"


def test_what_the_recipe_put_there_stays(tmp_path: Path) -> None:
    root = tree(tmp_path)
    kept = [
        "/etc/resolv.conf",
        "/var/log/dpkg.log",
        "/root/.bash_history",
        "/var/lib/dhcp/dhclient.eth0.leases",
        "/tmp/x",
    ]
    sealing.seal(kept, ["me"], root)
    assert all((root / path[1:]).is_file() for path in kept)
    assert not (root / "var/log/apt/history.log").exists()
    assert (root / "etc/shadow").read_text().splitlines()[1] == "me:$y$j9T$x$y:1::::::"
    wanted = submitting.recipe(
        files=[{"path": path, "content": "x"} for path in kept], users=[{"name": "me", "password": {"env": "X"}}]
    )
    assert verifier(root, wanted) == []
    assert verifier(root, submitting.recipe(files=wanted.files, users=[{"name": "me"}])) == [
        "the account 'me' has a password"
    ]
    other = submitting.recipe(files=wanted.files, users=[*wanted.users, {"name": "you", "password": {"env": "X"}}])
    assert verifier(root, other) == ["the account 'you' does not have the password of the recipe"]


def test_a_resolvers_link_stays(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "etc/resolv.conf").unlink()
    (root / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    sealing.seal([], [], root)
    assert (root / "etc/resolv.conf").is_symlink()
    assert verifier(root, submitting.recipe()) == []


field = st.text(alphabet="abc$*!x6", max_size=6)


@given(st.lists(st.tuples(st.sampled_from(["root", "me", "you"]), field), max_size=6), st.sets(st.sampled_from(["me"])))
def test_no_password_is_left_but_those_named(entries: list[tuple[str, str]], accounts: set[str]) -> None:
    text = "".join(f"{name}:{password}:1:::::\n" for name, password in entries)
    lines = [sealing._locked(line, accounts, False) for line in text.splitlines()]
    for (name, password), line in zip(entries, lines, strict=True):
        now = line.split(":")[1]
        assert now == password if name in accounts else re.match(r"[*!]", now)
        assert line.split(":")[2:] == ["1", "", "", "", "", ""]
