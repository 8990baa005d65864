"""The loader: every mistake of a recipe at once, each with file, line and column; bases, matrix, --set."""

from __future__ import annotations

import contextlib
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roost.errors import RecipeError
from roost.pipeline import planning
from roost.recipe import loader, messages
from roost.recipe.loader import Loaded
from roost.recipe.model import Recipe

GOOD = """\
name: small
os: {debian: {suite: bookworm, packages: [ssh]}}
disks:
  - {name: root, partitions: [{mount: /, free: 64MiB}]}
"""


class Project:
    """A throw-away project directory; the tests run in it, so that problems show relative names."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.directory / "recipes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        return path

    def load(self, name: str, *sets: str) -> Loaded:
        return loader.load(name, self.directory, sets)

    def problems(self, name: str, *sets: str) -> list[str]:
        with pytest.raises(RecipeError) as caught:
            self.load(name, *sets)
        assert caught.value.exit_code == 2
        return [str(problem) for problem in caught.value.problems]

    def one(self, text: str | bytes) -> str:
        self.write("one.yaml", text)
        found = self.problems("one")
        assert len(found) == 1, found
        return found[0].removeprefix("recipes/one.yaml:")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    (tmp_path / "recipes").mkdir()
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


def test_good_recipe_by_name_and_by_path(project: Project) -> None:
    path = project.write("small.yaml", GOOD)
    loaded = project.load("small")
    assert loaded.recipe.name == "small"
    assert (loaded.path, loaded.files, loaded.directory) == (path, (path,), path.parent)
    assert project.load(str(path)).recipe == project.load("recipes/small.yaml").recipe == loaded.recipe


def test_problem_is_located_at_the_value_or_the_nearest_part_written(project: Project) -> None:
    project.write("small.yaml", GOOD)
    loaded = project.load("small")
    assert str(loaded.problem(("os", "debian", "suite"), "no", "yes")) == "recipes/small.yaml:2:22: no (yes)"
    assert str(loaded.where(("os", "debian", "mirror"))) == "recipes/small.yaml:2:6"
    assert str(loaded.where(("disks", 0, "partitions", 0, "free"))) == "recipes/small.yaml:4:48"
    assert str(loaded.where(("kernel",))) == "recipes/small.yaml:1:1"


def test_five_mistakes_are_five_located_errors(project: Project) -> None:
    project.write(
        "five.yaml",
        """\
        name: five
        os:
          debian: {siute: bookworm}
        files:
          - {path: /a, content: x, mode: 0755}
          - {path: /b, source: files/absent}
        disks:
          - name: root
            partitions:
              - {mount: /, filesystem: ext5}
              - {mount: /, filesystem: ext4}
        """,
    )
    assert project.problems("five") == [
        "recipes/five.yaml:3:12: unknown key 'siute' (did you mean suite?)",
        'recipes/five.yaml:5:34: a mode is octal digits in quotes, such as "0755"',
        "recipes/five.yaml:6:24: no such file or directory: 'files/absent'"
        f" (looked for {project.directory}/recipes/files/absent)",
        "recipes/five.yaml:10:32: 'ext5' is not one of ext4, ext3, ext2, vfat, squashfs, erofs, xfs, btrfs, swap"
        " (did you mean ext4?)",
        "recipes/five.yaml:11:17: a second file system mounted on '/' (the first: recipes/five.yaml:10:17)",
    ]


def test_a_model_check_is_not_hidden_by_a_wrong_key_beside_it(project: Project) -> None:
    project.write("two.yaml", GOOD + "files:\n  - {path: /a, content: x, source: y, mdoe: '0755'}\n")
    assert project.problems("two") == [
        "recipes/two.yaml:6:5: a file has exactly one of content, source, template, link, directory;"
        " here: content, source",
        f"recipes/two.yaml:6:36: no such file or directory: 'y' (looked for {project.directory}/recipes/y)",
        "recipes/two.yaml:6:39: unknown key 'mdoe' (did you mean mode?)",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + "memory: 1GiB\n", "5:1: unknown key 'memory' (did you mean machine.memory?)"),
        (GOOD + "extend: x\n", "5:1: unknown key 'extend' (did you mean extends?)"),
        (GOOD + "machine: {cpus: '2'}\n", "5:17: expected a whole number, found the text '2' (leave out the quotes)"),
        (GOOD + "machine: {cpus: true}\n", "5:17: expected a whole number, found true"),
        (GOOD + "machine: {memory: 1MiB}\n", "5:19: '1MiB' is out of bounds (at least 32 MiB)"),
        (GOOD + "machine: {memory: 0}\n", "5:19: the number 0 is out of bounds (at least 32 MiB)"),
        (GOOD + "machine: {cpus: 5000}\n", "5:17: the number 5000 is out of bounds (at most 1024)"),
        (GOOD + "machine: [1]\n", "5:1: expected a mapping (lines of `key: value`), found a list"),
        (GOOD + "machine:\n", "5:1: expected a mapping (lines of `key: value`), found nothing"),
        (GOOD + "description: 1.5\n", "5:14: expected text, found the number 1.5 (put it in quotes)"),
        (
            GOOD + "run: apt-get update\n",
            "5:6: expected a list, found the text 'apt-get update' (write [apt-get update])",
        ),
        (GOOD + "hypervisors: []\n", "5:1: 'hypervisors' needs at least 1 item"),
        (GOOD + "hypervisors: [kmv]\n", "5:15: 'kmv' is not one of kvm, xen (did you mean kvm?)"),
        (GOOD + "hypervisors: [kvm, kvm]\n", "5:20: named twice: hypervisor 'kvm' (the first: recipes/one.yaml:5:15)"),
        (GOOD + "users: [{shell: /bin/sh}]\n", "5:9: the key 'name' is missing in users"),
        (GOOD + "submit: {return: [rot]}\n", "5:19: there is no disk 'rot' (did you mean root?)"),
        (GOOD + "boot_test: {expect: [{file: /x, on: io}]}\n", "5:37: there is no disk 'io' (known: root)"),
        (
            GOOD + "boot_test: {expect: [{exit: 0}]}\n",
            "5:29: exit is reported by the job's runner, and there is no job (add job)",
        ),
        (
            GOOD + "job: {command: x}\nboot_test: {expect: [{exit: 0}, {exit: 1}]}\n",
            "6:40: a second 'exit' (the first: recipes/one.yaml:6:29)",
        ),
        (
            GOOD + "boot_test: {expect: [{serial: x, mode: '0644'}]}\n",
            "5:22: mode belongs to file, not to serial",
        ),
        (
            GOOD + "boot_test: {expect: [{file: /x, mode: 0644}]}\n",
            '5:39: a mode is octal digits in quotes, such as "0755"',
        ),
        (GOOD + "  - {name: root, filesystem: swap, size: 1MiB}\n", "5:12: a second disk named 'root'"),
        (GOOD + "name: other\n", "5:1: duplicate key 'name', first in line 1 (keep one of them)"),
        (GOOD + "machine:\n\tcpus: 1\n", "6:1: a tab is not allowed here (indent with blanks)"),
        (GOOD + "description: a: b\n", "5:15: a ':' is not allowed here (check the indentation, or quote the text)"),
        (GOOD + "description: 'a\n", "6:1: a quote that is not closed"),
        (GOOD + "users: - name\n", "5:8: a '- ' is not allowed here"),
        (GOOD + "description: ]\n", "5:14: a value is missing before ']'"),
        (GOOD + "description: |x\n", "5:15: a text after '|' or '>'"),
        (GOOD + 'description: "\\xzz"\n', "5:17: an escape whose hexadecimal digits are missing"),
        (GOOD + "description: !<\n", "5:16: a '!' that begins no tag"),
        ("%YAML x\n---\n" + GOOD, "1:7: a line that begins with '%'"),
        (GOOD + "run: [a, b\n", "6:1: a '[' or '{' that is not closed "),
        (GOOD + "run: [*x]\n", "5:7: the alias *x has no anchor before it"),
        (GOOD + "run: &x [*x]\n", "5:10: the alias *x has no anchor before it"),
        (
            GOOD + "description: !!python/object:os.system x\n",
            "5:14: unknown tag tag:yaml.org,2002:python/object:os.system",
        ),
        (GOOD + "description: !replace x\n", "5:14: !replace belongs before a list or a mapping"),
        (GOOD + "<<: {a: b}\n", "5:1: YAML 1.2 has no merge key '<<'"),
        (GOOD + "---\nname: x\n", "5:1: a second document"),
        (GOOD + "? [a]\n: b\n", "5:3: a list or mapping cannot be a key"),
        (GOOD.encode() + b"description: '\xff'\n", "5:15: byte 0xff is not UTF-8 (save the recipe as UTF-8)"),
        (GOOD + "description: '\x07'\n", "5:15: a control character (a recipe may contain only printable text)"),
        (GOOD + 'description: "\\ud800"\n', "5:14: half a surrogate pair is not a character"),
        (GOOD + "description: " + "[" * 60 + "]" * 60 + "\n", "5:53: nested more than 40 deep"),
        ("", "1:1: the recipe is empty"),
        ("- a\n", "1:1: a recipe is a mapping (lines of `key: value`), found a list"),
        ("just text\n", "1:1: a recipe is a mapping (lines of `key: value`), found the text 'just text'"),
        (GOOD.replace("mount: /", "mount: /srv"), "3:1: no file system is mounted on / (give the root's partition"),
        (GOOD.replace("{debian:", "{debain:"), "2:6: unknown key 'debain' (did you mean debian?)"),
        (GOOD.replace("name: small", "naem: small"), "1:1: unknown key 'naem' (did you mean name?)"),
        (GOOD.replace("name: small\n", ""), "1:1: the key 'name' is missing"),
        (GOOD.replace("name: small", "name: 12"), "1:7: expected text, found the number 12 (put it in quotes)"),
        (GOOD.replace("64MiB", "64 MX"), "4:48: '64 MX' is not a size"),
        (GOOD.replace("debian:", "tarball: {path: x}, debian:"), "2:1: os is exactly one of debian, tree, tarball"),
    ],
)
def test_mistake_in_words_with_its_place(project: Project, text: str | bytes, expected: str) -> None:
    if "tarball" in expected:
        project.write("x", "")
    assert project.one(text).startswith(expected)


def test_no_words_of_pydantic_or_escape_sequences(project: Project) -> None:
    project.write("odd.yaml", GOOD + 'timezone: "\\e[31m"\nlocale: "x\\ny"\nkernel: {"a\\e": 1}\nusers: [3]\n')
    for problem in project.problems("odd"):
        assert "Input should" not in problem and "valid" not in problem
        assert problem.isprintable()


def test_a_value_of_several_kinds_is_one_mistake(project: Project) -> None:
    expected = "5:23: expected text or true or false or a whole number or a number, found a list"
    assert project.one(GOOD + "submit: {attributes: {a: [1]}}\n") == expected


def test_expectations_of_every_kind(project: Project) -> None:
    """As the loader reads them: strictly, nothing converted."""
    wanted = (
        "{failed_units: none}, {failed_units: [a.service]}, {within: 60s, phase: job}, {memory_free: 64MiB}, {exit: 3},"
        " {file: /x, size: 3}, {file: /x, size: 4KiB}, {file: /x, size: {max: 1MiB}, mode: '644'}"
    )
    project.write("small.yaml", f"{GOOD}job: {{command: x}}\nboot_test: {{evict: true, expect: [{wanted}]}}\n")
    tried = project.load("small").recipe.boot_test
    assert [one.kind for one in tried.expect] == [
        "failed_units", "failed_units", "within", "memory_free", "exit", "file", "file", "file",
    ]  # fmt: skip
    assert [one.failed_units for one in tried.expect[:2]] == ["none", ("a.service",)]
    assert (tried.exit_status, tried.expect[6].size, tried.evict) == (3, 4096, True)


def test_every_pattern_of_the_model_has_words() -> None:
    def patterns(schema: object) -> Iterator[str]:
        if isinstance(schema, dict):
            if isinstance(schema.get("pattern"), str):
                yield schema["pattern"]
            for part in schema.values():
                yield from patterns(part)
        elif isinstance(schema, list):
            for part in schema:
                yield from patterns(part)

    unknown = set(patterns(Recipe.model_json_schema())) - messages.PATTERNS.keys()
    assert not unknown, "roost.recipe.messages.PATTERNS lacks words for these"


def test_yaml_1_2_scalars(project: Project) -> None:
    project.write("small.yaml", GOOD + "submit: {commands: {on: yes, 80: 'no', date: 2024-01-01, hex: '0x10'}}\n")
    assert project.load("small").recipe.submit.commands == {
        "on": "yes",
        "80": "no",
        "date": "2024-01-01",
        "hex": "0x10",
    }


def test_anchors_are_shared_and_bombs_are_bounded(project: Project) -> None:
    project.write("small.yaml", GOOD + "files:\n  - &f {path: /a, content: x}\n  - *f\n")
    assert len(project.load("small").recipe.files) == 2
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    start = time.monotonic()
    assert "grows to more than 50000 values" in project.one("\n".join(lines))
    assert time.monotonic() - start < 2


def test_absent_recipe_names_a_near_one(project: Project) -> None:
    project.write("small.yaml", GOOD)
    project.write("base/bottom.yaml", "{}")
    assert project.problems("smal") == ["no such recipe: 'smal' (did you mean small?)"]
    assert project.problems("./smal.yaml") == ["no such recipe: './smal.yaml' (did you mean small?)"]
    assert project.problems("recipes/base") == ["'recipes/base' is a directory, not a recipe (known: small)"]
    assert project.problems("recipes/small/small.yaml") == [
        "no such recipe: 'recipes/small/small.yaml' (did you mean small?)"
    ]
    assert loader.names(project.directory) == ["small"]


def test_bases_merge_and_keep_their_places(project: Project) -> None:
    project.write("base/common.yaml", "run: [one]\nservices: {enable: [a], disable: [b]}\n")
    project.write("base/left.yaml", "extends: [common.yaml]\nrun: [two]\ntimezone: Europe/Berlin\n")
    project.write("base/right.yaml", "extends: common.yaml\nrun: [three]\ntimezone: Asia/Tokyo\n")
    path = project.write(
        "small.yaml",
        "extends: [base/left.yaml, base/right.yaml]\n" + GOOD + "services: {enable: !replace [c]}\nrun: [four]\n",
    )
    loaded = project.load("small")
    # `common` is reached twice and counts once.
    assert loaded.recipe.run == ("one", "two", "three", "four")
    assert loaded.recipe.timezone == "Asia/Tokyo"
    assert (loaded.recipe.services.enable, loaded.recipe.services.disable) == (("c",), ("b",))
    assert str(loaded.where(("run", 0))) == "recipes/base/common.yaml:1:7"
    assert str(loaded.where(("timezone",))) == "recipes/base/right.yaml:3:11"
    base = path.parent / "base"
    assert loaded.files == (path, base / "left.yaml", base / "common.yaml", base / "right.yaml")


def test_a_hypervisor_that_a_base_has_may_be_named_again(project: Project) -> None:
    project.write("base/both.yaml", "hypervisors: [kvm, xen]\n")
    for named, meant in (("[kvm]", ("kvm", "xen")), ("[xen]", ("kvm", "xen")), ("!replace [xen]", ("xen",))):
        project.write("small.yaml", f"extends: [base/both.yaml]\n{GOOD}hypervisors: {named}\n")
        assert project.load("small").recipe.hypervisors == meant


def test_mistakes_in_recipe_and_bases_come_in_the_order_of_the_files(project: Project) -> None:
    project.write("base/a.yaml", "timezon: UTC\nmachine: {cpus: none}\n")
    project.write("small.yaml", "extends: [base/a.yaml, base/b.yaml, base/c.yaml]\n" + GOOD + "locales: C\n")
    project.write("base/c.yaml", "name: [\n")
    assert project.problems("small") == [
        "recipes/small.yaml:1:24: no such base: 'base/b.yaml' (did you mean base/c.yaml?)",
        "recipes/small.yaml:6:1: unknown key 'locales' (did you mean locale?)",
        "recipes/base/a.yaml:1:1: unknown key 'timezon' (did you mean timezone?)",
        "recipes/base/a.yaml:2:17: expected a whole number, found the text 'none'",
        "recipes/base/c.yaml:2:1: a '[' or '{' that is not closed"
        " (items need ',' between them, and a bracket after the last)",
    ]


def test_what_an_unreadable_base_may_hold_is_not_missed(project: Project) -> None:
    project.write("small.yaml", "extends: [base/a.yaml]\nname: small\nsubmit: {return: [io]}\n")
    assert len(project.problems("small")) == 1


def test_circle_of_bases(project: Project) -> None:
    project.write("base/a.yaml", "extends: [../small.yaml]\n")
    project.write("small.yaml", "extends: [base/a.yaml]\n" + GOOD)
    circle = "recipes/small.yaml → recipes/base/a.yaml → recipes/small.yaml"
    assert project.problems("small") == [
        f"recipes/base/a.yaml:1:11: 'extends' forms a circle: {circle} (remove this one)"
    ]


def test_local_names_start_from_the_file_they_stand_in(project: Project) -> None:
    project.write("files/motd", "hello\n")
    project.write("base/files/key.pub", "ssh-ed25519 AAAA\n")
    project.write(
        "base/a.yaml",
        "files: [{path: /etc/motd, source: ../files/motd}]\n"
        "users: [{name: u, ssh_keys: [files/key.pub, /etc/group]}]\n",
    )
    project.write("small.yaml", "extends: [base/a.yaml]\n" + GOOD)
    recipe = project.load("small").recipe
    assert recipe.files[0].source == "files/motd"
    assert recipe.users[0].ssh_keys == ("base/files/key.pub", "/etc/group")


def test_set_overrides_and_is_located(project: Project) -> None:
    project.write("small.yaml", GOOD)
    recipe = project.load(
        "small", "machine.memory=2GiB", "disks.root.format=qcow2", "disks.0.partitions.0.free=1GiB", "run=[a, b]"
    ).recipe
    assert (recipe.machine.memory, recipe.run) == (2 << 30, ("a", "b"))
    assert (recipe.disks[0].format, recipe.disks[0].partitions[0].free) == ("qcow2", 1 << 30)


def test_all_wrong_settings_at_once(project: Project) -> None:
    project.write("small.yaml", GOOD)
    found = project.problems("small", "machine.cpus=two", "disks.rot.size=1", "=", "run=[")
    assert len(found) == 4


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("machine.cpus=two", "--set machine.cpus: expected a whole number, found the text 'two'"),
        ("machine.cpu=2", "--set machine.cpu: unknown key 'cpu' (did you mean cpus?)"),
        ("disks.rot.format=raw", "--set disks.rot.format: the list has no 'rot' (did you mean root?)"),
        ("run=[", "--set run: a '[' or '{' that is not closed "),
        ("machine..cpus=1", "--set machine..cpus: 'machine..cpus' is not a key"),
        ("machine", "--set machine: '--set' needs key=value"),
        ("=1", "--set : '--set' needs key=value"),
        ("name=", "--set name: expected text, found nothing"),
    ],
)
def test_wrong_set(project: Project, setting: str, expected: str) -> None:
    project.write("small.yaml", GOOD)
    assert project.problems("small", setting)[0].startswith(expected)


def test_matrix_makes_named_images(project: Project) -> None:
    project.write(
        "small.yaml",
        GOOD + "matrix:\n  os.debian.suite: [bookworm, trixie]\n  machine: {s: {memory: 1GiB}, l: {memory: 2GiB}}\n",
    )
    expected = ["small-bookworm-s", "small-bookworm-l", "small-trixie-s", "small-trixie-l"]
    assert loader.names(project.directory) == expected
    assert [one.recipe.name for one in loader.load_all("small", project.directory)] == expected
    chosen = project.load("small-trixie-l")
    assert chosen.recipe.machine.memory == 2 << 30
    assert chosen.recipe.os.debian is not None and chosen.recipe.os.debian.suite == "trixie"
    assert str(chosen.where(("machine", "memory"))) == "recipes/small.yaml:7:44"
    assert project.load(str(project.directory / "recipes/small-trixie-l")).recipe == chosen.recipe
    assert "makes 4 images" in project.problems("small")[0]
    assert project.load("small-trixie-l", "machine.cpus=3").recipe.machine.cpus == 3


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ("[a]", "expected a mapping from keys to lists of values"),
        ("{machine.cpus: 3}", "expected a list of values, found the number 3"),
        ("{machine.cpus: []}", "needs at least one value"),
        ("{machine: [{cpus: 1}]}", "a list of a matrix holds single values"),
        ("{run: {a: [x], A: [y]}}", "two images would be named 'small-a'"),
        ("{machine.cpus: [1, two]}", "expected a whole number, found the text 'two'"),
        ("{machine.cpus: [1], machine.memory: [" + ", ".join(map(str, range(300))) + "]}", "more than 256 images"),
    ],
)
def test_wrong_matrix(project: Project, matrix: str, expected: str) -> None:
    project.write("small.yaml", GOOD + f"matrix: {matrix}\n")
    with pytest.raises(RecipeError) as caught:
        loader.load_all("small", project.directory)
    assert expected in str(caught.value)


def test_resolved_says_where_each_value_came_from(project: Project) -> None:
    project.write("base/a.yaml", "timezone: Asia/Tokyo\n")
    project.write("small.yaml", "extends: base/a.yaml\n" + GOOD)
    found = {
        entry.path: (entry.value, entry.where and str(entry.where))
        for entry in project.load("small", "machine.cpus=2").resolved()
    }
    assert found[("timezone",)] == ("Asia/Tokyo", "recipes/base/a.yaml:1:11")
    assert found[("machine", "cpus")] == (2, "--set machine.cpus")
    assert found[("os", "debian", "packages", 0)] == ("ssh", "recipes/small.yaml:3:43")
    assert found[("kernel", "placement")] == ("included", None)
    assert ("run",) in found and ("os", "debian", "suite") in found


def test_io_disk_and_labels(project: Project) -> None:
    io = "  - {name: io, filesystem: ext4, size: 1MiB, role: io}\n"
    assert project.one(GOOD + io).startswith("5:52: a disk has role io, but there is no job to use it")
    assert project.one(
        GOOD + io + "  - {name: data, filesystem: ext4, size: 1MiB, label: io}\njob: {command: /x}\n"
    ) == ("6:55: a second file system labelled 'io' (the first: recipes/one.yaml:5:12)")
    job, upper = "job: {command: /x}\n", "  - {name: data, filesystem: vfat, size: 1MiB, label: IO}\n"
    assert project.one(GOOD + io + upper + job) == (
        "6:55: a second file system labelled 'IO', which differs from 'io' only by case"
        " (the first: recipes/one.yaml:5:12) (the guest looks for the io disk's label in upper case too)"
    )
    assert project.one(GOOD + upper + io + job).startswith(
        "6:12: a second file system labelled 'io', which differs from 'IO' only by case"
    )
    # No other label is looked for in both.
    more = upper.replace("IO", "A") + upper.replace("IO", "a").replace("data", "more")
    project.write("apart.yaml", GOOD + io + more + job)
    project.load("apart")
    assert project.one(GOOD + io + io.replace("io,", "oi,") + "job: {command: /x}\n").startswith(
        "6:52: a second disk with role io"
    )
    fixed = io.replace("role: io", "readonly: true")
    assert project.one(GOOD + fixed + "submit: {return: [io]}\n").startswith("6:19: the disk 'io' is read-only")


def test_loading_is_fast(project: Project) -> None:
    project.write("small.yaml", GOOD + "files:\n" + "  - {path: /a, content: x, mode: '0644'}\n" * 100)
    project.load("small")
    start = time.process_time()
    project.load("small")
    assert time.process_time() - start < 0.3


_words = st.sampled_from(
    [
        "name",
        "os",
        "debian",
        "suite",
        "disks",
        "files",
        "extends",
        "matrix",
        "x",
        ": ",
        "\n",
        "  ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "!replace ",
        "&a ",
        "*a",
        "'",
        '"',
        "\\",
        "\t",
        "1",
        "~",
        "?",
        "|",
        ">",
        "%YAML 1.1\n",
        "---",
        "<<",
        "#",
        "!!int ",
        "!<x>",
        "\x00",
        "\ufeff",
        "\x85",
        "🙂",
        "mount: /",
        "../",
        "/",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=200), st.lists(_words, max_size=40).map(lambda words: "".join(words).encode())))
def test_any_bytes_give_a_recipe_or_a_recipe_error(project: Project, data: bytes) -> None:
    path = project.write("any.yaml", data)
    with contextlib.suppress(RecipeError):
        loader.load(path, project.directory)
    with contextlib.suppress(RecipeError):
        loader.load("any", project.directory, [data.decode("utf-8", "surrogateescape")])


_scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
_trees = st.recursive(
    _scalars,
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "os",
                    "debian",
                    "suite",
                    "packages",
                    "disks",
                    "partitions",
                    "mount",
                    "size",
                    "free",
                    "role",
                    "label",
                    "files",
                    "path",
                    "source",
                    "users",
                    "submit",
                    "return",
                    "boot_test",
                    "expect",
                    "on",
                    "job",
                    "command",
                    "matrix",
                    "extends",
                    "machine",
                    "memory",
                    "kernel",
                    "x",
                ]
            ),
            below,
            max_size=5,
        ),
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["name", "os", "disks", "files", "users", "submit", "boot_test", "job", "matrix", "extends"]),
        _trees,
    )
)
def test_any_tree_gives_a_recipe_or_located_problems(project: Project, tree: dict[str, object]) -> None:
    import json

    path = project.write("any.yaml", json.dumps(tree))
    try:
        loader.load_all(path, project.directory)
    except RecipeError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.where is not None and problem.where.line >= 1
            assert str(problem).isprintable()


def test_a_base_with_control_characters_is_shown_escaped(project: Project) -> None:
    path = project.write("any.yaml", '{"name": "a", "extends": "\\u001f[31m"}')
    with pytest.raises(RecipeError) as caught:
        loader.load_all(path, project.directory)
    assert all(str(problem).isprintable() for problem in caught.value.problems)


def test_what_only_a_build_would_see_is_reported_with_the_rest(tmp_path: Path) -> None:
    """An unknown kernel and a file system that is too small once came up only when all else was right."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/five.yaml").write_text(
        "name: five\n"
        "os: {debian: {suite: bookworm, pakages: [x]}}\n"
        "kernel: {use: debain}\n"
        "machine: {memory: lots}\n"
        "disks:\n"
        "  - {name: root, partitions: [{mount: /, filesystem: xfs, size: 20MiB}]}\n"
        "submit: {return: [io]}\n"
        "files: [{path: x, content: a}]\n"
    )
    with pytest.raises(RecipeError) as raised:
        loader.load("five", tmp_path, (), planning.problems)
    found = [(problem.where.line, problem.what) for problem in raised.value.problems if problem.where]
    assert [line for line, _ in found] == [2, 3, 4, 6, 7, 8], found
    assert "debain" in found[1][1]
    assert "too small for xfs" in found[3][1]


def test_two_roots_hide_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels/debian.yaml").write_text(
        "description: x\npackages: {amd64: linux-image-amd64}\ncan: [virtio]\n"
    )
    project.write(
        "two.yaml",
        "name: two\nos: {debian: {suite: bookworm}}\nkernel: {use: debain}\n"
        "disks:\n  - {name: root, partitions: [{mount: /, size: 64MiB}, {mount: /, size: 1GiB}]}\n",
    )
    with pytest.raises(RecipeError) as caught:
        loader.load("two", tmp_path, (), planning.problems)
    assert [str(problem).partition(":")[2] for problem in caught.value.problems] == [
        "3:15: unknown kernel 'debain' (did you mean 'debian'?)",
        "5:64: a second file system mounted on '/' (the first: recipes/two.yaml:5:39)",
    ]


def test_a_base_beside_the_recipes_of_a_directory_is_none_of_them(tmp_path: Path) -> None:
    """What has no name and is no recipe by itself, such as an io disk without a job, and is extended there."""
    texts = {
        "base.yaml": "disks:\n  - {name: root, partitions: [{mount: /, filesystem: ext4, free: 5MiB}]}\n"
        "  - {name: io, filesystem: ext4, size: 4MiB, role: io}\nos: {debian: {suite: bookworm}}\n",
        "one.yaml": "extends: [base.yaml]\nname: one\njob: {command: 'true'}\n",
        "two.yaml": "extends: one.yaml\nname: two\n",
        # Without a name of its own, and extended, but a recipe.
        "whole.yaml": "extends: one.yaml\nmachine: {memory: 2GiB}\n",
        "three.yaml": "extends: whole.yaml\nname: three\n",
        # With mistakes, and no named recipe's base.
        "circle1.yaml": "extends: circle2.yaml\n",
        "circle2.yaml": "extends: circle1.yaml\n",
        "wrong.yaml": "extends: [base.yaml]\nnam: x\n",
        # A base with a name is meant to be built.
        "named.yaml": "extends: [base.yaml]\nname: named\n",
        "four.yaml": "extends: named.yaml\nname: four\njob: {command: 'true'}\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    found = [Path(one).name for one in loader.expanded([str(tmp_path)], tmp_path)]
    assert found == sorted(texts.keys() - {"base.yaml"})
    for name in texts.keys() - {"base.yaml"}:
        (tmp_path / name).unlink()
    assert loader.expanded([str(tmp_path)], tmp_path) == [str(tmp_path / "base.yaml")]
