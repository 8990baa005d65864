"""Passwords: read where the recipe says, told from what is not a hash, and in no key, log or message."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from roost.customize import inputs, passwords
from roost.customize.passwords import NoPasswordError
from roost.errors import RecipeError
from roost.recipe import loader
from roost.recipe.customize import Secret
from roost.recipe.loader import Loaded

#: All of the word `roost`, as Debian 12's crypt(3) and `openssl passwd -6` make them.
YESCRYPT = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$XBNCL/2GM.f6tC2iwAcyxMsow9/nxWFNdPCLMqacwz8"
SHA512 = "$6$saltsalt$QVzCQIStH18VSn/AqwWPIx32CLVvgJUrDCtxJI2hL6lIGXjHdbzp9NclNUR40nSks3VDKbILwWDvV7pSFsMwK."
BCRYPT = "$2b$05$abcdefghijklmnopqrstuuaMFbNnCCCM1Ja0gT6xKiUYy0IITcA4G"
RECIPE = """\
name: p
os: {{debian: {{suite: bookworm}}}}
users: [{{name: me, password: {{{secret}}}}}, {{name: you}}]
disks: [{{name: root, partitions: [{{mount: /, free: 64MiB}}]}}]
"""


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("HASH", raising=False)


def load(tmp_path: Path, secret: str) -> Loaded:
    (tmp_path / "p.yaml").write_text(RECIPE.format(secret=secret))
    return loader.load(str(tmp_path / "p.yaml"), tmp_path)


@pytest.mark.parametrize("value", [YESCRYPT, SHA512, BCRYPT])
def test_hashes_are_read(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text(f"{value}\n")
    assert passwords.read(Secret(file="secret"), tmp_path) == value
    monkeypatch.setenv("HASH", value)
    assert passwords.read(Secret(env="HASH"), tmp_path) == value
    assert passwords.hashes(load(tmp_path, "file: secret")) == {"me": value}


@pytest.mark.parametrize(
    "value", ["", "hunter2", "*", "!", "$1$md5$0123456789abcdefghijkl", YESCRYPT + ":0:0", SHA512[:-1], f"x\n{SHA512}"]
)
def test_what_is_not_a_hash_is_refused_and_not_shown(value: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(value)
    with pytest.raises(NoPasswordError) as caught:
        passwords.read(Secret(file="secret"), tmp_path)
    assert "not a crypt(3) hash" in str(caught.value)
    assert len(value) < 3 or value not in str(caught.value)
    (problem,) = passwords.problems(load(tmp_path, "file: secret"))
    assert problem.where is not None and (problem.where.line, problem.where.column) == (3, 37)


def test_a_variable_may_be_absent_until_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(tmp_path, "env: HASH")
    assert list(passwords.problems(loaded)) == []
    with pytest.raises(RecipeError, match="the environment has no HASH"):
        passwords.hashes(loaded)
    monkeypatch.setenv("HASH", "plain")
    assert [problem.what for problem in passwords.problems(loaded)] == [
        "what HASH holds is not a crypt(3) hash of a password (`mkpasswd` or `openssl passwd -6` makes one)"
    ]


def test_the_key_changes_with_the_password_and_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(tmp_path, "env: HASH")

    def key(value: str) -> str:
        monkeypatch.setenv("HASH", value)
        return inputs.recipe_key(loaded.recipe, loaded.directory)

    one = key(SHA512)
    assert one == key(SHA512) != key(YESCRYPT)
    state = tmp_path / "state/digest-key"
    assert stat.S_IMODE(state.stat().st_mode) == 0o600 and len(state.read_bytes()) == 32
    assert [path.name for path in state.parent.iterdir()] == ["digest-key"]
    # Without the key of this state directory nobody can try passwords against the digest.
    monkeypatch.setenv("ROOST_STATE", str(tmp_path / "elsewhere"))
    assert key(SHA512) != one


def test_the_file_of_a_password_is_in_no_list_of_sums(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SHA512)
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAA\n")
    loaded = load(tmp_path, "file: secret")
    assert inputs.local_files(loaded.recipe, loaded.directory) == {}


@pytest.mark.parametrize("secret", ["", "file: a, env: B", "env: 'A B'", "text: x"])
def test_a_secret_is_in_exactly_one_place(secret: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with pytest.raises(RecipeError):
        load(tmp_path, secret)


def test_a_password_is_never_written_in_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(RECIPE.replace("{{{secret}}}", SHA512).format(secret=""))
    with pytest.raises(RecipeError, match="expected a mapping"):
        loader.load(str(tmp_path / "p.yaml"), tmp_path)
