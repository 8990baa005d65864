"""`inv check` refuses what a build or a boot would fail at: each with file, line and column, and exit code 2."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.apt_repository import Key

PROJECT = Path(__file__).resolve().parents[3]
HEAD = """\
name: wrong
os: {debian: {suite: bookworm}}
"""
DISKS = """\
disks:
  - {name: root, partitions: [{mount: /, free: 64MiB}]}
"""
#: What is wrong → the recipe, and pieces of the message.
CASES: dict[str, tuple[str, str]] = {
    "too small a partition": (
        HEAD + "disks:\n  - name: root\n    partitions:\n      - {mount: /, filesystem: xfs, size: 1MiB}\n",
        "6:43: 1 MiB is too small for xfs",
    ),
    "partitions placed by hand, which could overlap": (
        HEAD + "disks:\n  - name: root\n    partitions:\n      - {mount: /, size: 64MiB, start: 0}\n",
        "6:33: unknown key 'start'",
    ),
    "overlapping mounts": (
        HEAD + "disks:\n  - {name: root, partitions: [{mount: /, free: 1MiB}, {mount: /data, free: 1MiB}]}\n"
        "  - {name: data, filesystem: ext4, mount: /data, free: 1MiB}\n",
        "5:43: a second file system mounted on '/data' (the first: recipes/wrong.yaml:4:63)",
    ),
    "more partitions than the table holds": (
        HEAD
        + "disks:\n  - name: root\n    partitions:\n      - {mount: /, free: 1MiB}\n"
        + "".join(f"      - {{mount: /d{number}, free: 1MiB}}\n" for number in range(4)),
        "10:9: mbr holds at most 4 partitions",
    ),
    "two roots": (
        HEAD + DISKS + "  - {name: second, partitions: [{mount: /, free: 64MiB}]}\n",
        "5:41: a second file system mounted on '/'",
    ),
    "an unknown kernel": (HEAD + DISKS + "kernel: {use: debain}\n", "5:15: unknown kernel 'debain'"),
    "a template with an undefined name": (
        HEAD + DISKS + "files: [{path: /a, template: files/undefined.j2}]\n",
        "5:30: recipes/files/undefined.j2:2: 'recpie' is undefined",
    ),
    "a template that is none": (
        HEAD + DISKS + "files: [{path: /a, template: files/syntax.j2}]\n",
        "5:30: recipes/files/syntax.j2:3: unexpected '}'",
    ),
    "a template whose expression fails": (
        HEAD + DISKS + "files: [{path: /a, template: files/fails.j2}]\n",
        "5:30: recipes/files/fails.j2:1: division by zero",
    ),
    "a template's variable that nobody declared": (
        HEAD + DISKS + "variables: {word: x}\nfiles: [{path: /a, template: files/variable.j2}]\n",
        "6:30: recipes/files/variable.j2:1: 'dict object' has no attribute 'wrod'",
    ),
    "a mode without quotes": (
        HEAD + DISKS + "files: [{path: /a, content: x, mode: 0755}]\n",
        "5:38: a mode is octal digits in quotes",
    ),
    "a sum that is not the file's": (
        f"name: wrong\nos: {{tarball: {{path: files/tree.tar, sha256: {'0' * 64}}}}}\n" + DISKS,
        "2:46: 'files/tree.tar' has another sha256: " + hashlib.sha256(b"a tar").hexdigest(),
    ),
    "an extends loop": ("extends: loop.yaml\n" + HEAD + DISKS, "loop.yaml:1:10: 'extends' forms a circle"),
    "an unknown variable": (
        HEAD + DISKS + 'variables: {suite: x}\ndescription: "{{ siute }}"\n',
        "6:14: no such variable: 'siute' (did you mean suite?)",
    ),
    "a key that is none": (
        HEAD.replace("bookworm", 'bookworm, repositories: [{uri: "http://h/", suite: ./, key: files/tree.tar}]')
        + DISKS,
        "2:82: 'files/tree.tar' is not a key of a repository: there is no OpenPGP public key in it",
    ),
    "a repository without its key": (
        HEAD.replace("bookworm", 'bookworm, repositories: [{uri: "http://h/", suite: ./}]') + DISKS,
        "2:47: the key 'key' is missing in repositories (a repository without its key is not used)",
    ),
    "a password that is not a hash": (
        HEAD + DISKS + "users: [{name: a, password: {file: files/tree.tar}}]\n",
        "5:36: what 'files/tree.tar' holds is not a crypt(3) hash",
    ),
    "user data that cloud-init would ignore": (
        HEAD + DISKS + "cloud_init: {user_data: files/tree.tar}\n",
        "5:25: 'files/tree.tar' is not in a format that cloud-init knows",
    ),
    "a host key, which sealing takes out": (
        HEAD + DISKS + "files: [{path: /etc/ssh/ssh_host_rsa_key, content: x}]\n",
        "5:16: /etc/ssh/ssh_host_rsa_key would be the same on all machines of this image",
    ),
    "a locale where nothing makes one": (
        HEAD.replace("bookworm", "bookworm, variant: unpacked") + DISKS + "locale: de_DE.UTF-8\n",
        "5:9: the variant unpacked has no locale de_DE.UTF-8",
    ),
    "a command that is none": (
        HEAD + DISKS + "run: [5]\n",
        "5:7: expected a command: text, or {command: TEXT, network: true}",
    ),
    "a misspelt key of a command": (
        HEAD + DISKS + "run: [{command: x, netwrok: true}]\n",
        "5:20: unknown key 'netwrok' (did you mean network?)",
    ),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "kernels", directory / "kernels")
    files = directory / "recipes/files"
    files.mkdir(parents=True)
    (files / "undefined.j2").write_text("{{ recipe.name }}\n{{ recpie.name }}\n")
    (files / "syntax.j2").write_text("\n\n{{ name } }\n")
    (files / "fails.j2").write_text("{{ 1 / 0 }}\n")
    (files / "variable.j2").write_text("{{ variables.wrod }}\n")
    (files / "good.j2").write_text("{{ variables.word }} {{ kernel }} {{ recipe.os.debian.suite }}\n")
    (files / "key.gpg").write_bytes(Key().binary)
    (files / "tree.tar").write_bytes(b"a tar")
    return directory


def check(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "roost", "check", *words],
        cwd=project, env={**os.environ}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def _file(name: str) -> str:
    return f"wrong{list(CASES).index(name)}.yaml"


@pytest.fixture(scope="module")
def said(project: Path) -> tuple[dict[str, list[str]], str]:
    """Return the problems of each wrong recipe by its file, and what the same call says in words, for people."""
    (project / "recipes/loop.yaml").write_text(f"extends: {_file('an extends loop')}\n")
    for name, (text, _) in CASES.items():
        file = _file(name)
        (project / "recipes" / file).write_text(text.replace("name: wrong\n", f"name: {file.removesuffix('.yaml')}\n"))
    names = [_file(name).removesuffix(".yaml") for name in CASES]
    done, words = check(project, *names, "--json"), check(project, *names)
    assert (done.returncode, words.returncode) == (2, 2), done.stdout + done.stderr
    whole = json.loads(done.stdout)
    answer = whole["recipes"]
    assert whole["error"] == {
        "problems": [what for one in answer for what in one["error"]["problems"]],
        "log": None,
        "tail": "",
    }
    for one in answer:
        assert one["error"].keys() == whole["error"].keys()
        assert [
            f"{what['file']}:{what['line']}:{what['column']}: {what['what']}" for what in one["error"]["problems"]
        ] == [
            text.removesuffix(f" ({what['hint']})")
            for text, what in zip(one["problems"], one["error"]["problems"], strict=True)
        ]
    found = {f"{one['name']}.yaml": one["problems"] for one in answer}
    return found, words.stdout


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_with_its_place(name: str, said: tuple[dict[str, list[str]], str]) -> None:
    problems, words = said
    file, place = _file(name), CASES[name][1].replace("wrong.yaml", _file(name))
    if ".yaml:" not in place.partition(" ")[0]:
        place = f"{file}:{place}"
    assert any(f"recipes/{place}" in problem for problem in problems[file]), problems[file]
    assert f"recipes/{place}" in words


def test_what_is_right_passes(project: Path) -> None:
    (project / "recipes/right.yaml").write_text(
        HEAD.replace("bookworm", 'bookworm, repositories: [{uri: "http://h/", suite: ./, key: files/key.gpg}]')
        + DISKS
        + "variables: {word: x}\nfiles: [{path: /a, template: files/good.j2}]\n"
        + "run: [{command: x, network: true}]\nlocale: de_DE.UTF-8\ncloud_init: {user_data: {}}\n"
        + "users: [{name: a, password: {env: ROOST_TEST_NOT_SET}}]\n"
    )
    done = check(project, "right", "--json")
    assert done.returncode == 0, done.stdout
    answer = json.loads(done.stdout)
    assert answer["error"] is None and answer["recipes"][0]["error"] is None


def test_resolved_shows_where_each_value_came_from(project: Path) -> None:
    (project / "recipes/base.yaml").write_text("variables: {suite: bookworm}\n" + DISKS + "run: [one]\n")
    (project / "recipes/last.yaml").write_text(
        'extends: base.yaml\nname: last\nos: {debian: {suite: "{{ suite }}"}}\nrun: !replace [two]\n'
        "matrix: {machine.cpus: [2, 4]}\n"
    )
    done = check(project, "--resolved", "last-4", "--set", "machine.memory=2GiB", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["key"]: row for row in json.loads(done.stdout)["values"]}
    assert rows["os.debian.suite"] == {
        "key": "os.debian.suite",
        "value": "bookworm",
        "from": "recipes/last.yaml:3:22",
        "through": ["recipes/base.yaml:1:20"],
    }
    assert (rows["run.0"]["value"], rows["run.0"]["from"]) == ("two", "recipes/last.yaml:4:16")
    assert "run.1" not in rows
    assert (rows["machine.cpus"]["value"], rows["machine.cpus"]["from"]) == (4, "recipes/last.yaml:5:28")
    assert (rows["machine.memory"]["value"], rows["machine.memory"]["from"]) == ("2GiB", "--set machine.memory")
    assert rows["disks.0.name"]["from"] == "recipes/base.yaml:3:12"
    assert rows["seal"]["from"] is None
    shown = check(project, "--resolved", "last-4").stdout
    assert "recipes/last.yaml:3:22, with recipes/base.yaml:1:20" in shown
