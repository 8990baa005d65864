"""The seed of cloud-init: its files read back as they were meant, its disk like any other, wrong ones refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from roost.condor import placement
from roost.customize import cloud_init
from roost.customize.fstab import fstab
from roost.errors import RecipeError
from roost.recipe import loader
from roost.recipe.identity import filesystem_id
from roost.recipe.loader import Loaded

RECIPE = """\
name: c
os: {{debian: {{suite: bookworm}}}}
hostname: vm
cloud_init: {{{seed}}}
job: {{command: x}}
disks:
  - {{name: root, format: qcow2, partitions: [{{mount: /, free: 64MiB}}]}}
  - {{name: io, filesystem: ext4, size: 16MiB, role: io}}
"""


def load(tmp_path: Path, seed: str, more: str = "") -> Loaded:
    (tmp_path / "c.yaml").write_text(RECIPE.format(seed=seed) + more)
    return loader.load(str(tmp_path / "c.yaml"), tmp_path)


def read(data: bytes | str, version: tuple[int, int] = (1, 1)) -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.version = version
    return yaml.load(data)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(["yes", "0755", "1:30", "~", "on", "null", "- x", "a: b", "#", "'", '"', "\\", "\u2028", "\x7f"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None)  # ruamel.yaml's first call compiles its patterns
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), json_values, max_size=4))
def test_a_mapping_reads_the_same_in_both_versions_of_yaml(value: dict[str, Any]) -> None:
    text = cloud_init.document(value)
    assert read(text) == value == read(text, (1, 2))


def test_the_files(tmp_path: Path) -> None:
    loaded = load(tmp_path, 'user_data: {hostname: "yes"}, meta_data: {region: "no"}, network_config: {version: 2}')
    files = cloud_init.documents(loaded)
    assert files["user-data"] == b'#cloud-config\n"hostname": "yes"\n'
    assert read(files["network-config"]) == {"version": 2}
    meta = read(files["meta-data"])
    assert meta["local-hostname"] == "vm" and meta["region"] == "no" and meta["instance-id"].startswith("iid-")
    # The same content is the same instance; another is another one.
    same = read(cloud_init.documents(load(tmp_path, 'user_data: {hostname: "yes"}, meta_data: {region: "no"},'
                                                    ' network_config: {version: 2}'))["meta-data"])  # fmt: skip
    other = read(cloud_init.documents(load(tmp_path, "user_data: {hostname: z}"))["meta-data"])
    assert same == meta and other["instance-id"] != meta["instance-id"]
    own = cloud_init.documents(load(tmp_path, "user_data: {}, meta_data: {instance-id: mine}"))
    assert read(own["meta-data"])["instance-id"] == "mine"


def test_user_data_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "user").write_text("#!/bin/sh\necho hello\n")
    loaded = load(tmp_path, "user_data: user")
    assert cloud_init.documents(loaded)["user-data"] == b"#!/bin/sh\necho hello\n"
    assert list(cloud_init.problems(loaded)) == []
    written = cloud_init.write(loaded, tmp_path / "seed", 1_700_000_000)
    assert written is not None
    assert {path.name: path.stat().st_mtime for path in written.iterdir()} == {
        "user-data": 1_700_000_000,
        "meta-data": 1_700_000_000,
    }
    (tmp_path / "user").write_text("packages: [a]\n")
    (problem,) = cloud_init.problems(loaded)
    assert problem.where is not None and (problem.where.line, problem.where.column) == (4, 25)
    assert "not in a format that cloud-init knows" in problem.what
    (tmp_path / "user").write_text("#cloud-config\n" + "x" * (1 << 20))
    assert "more than 1 MiB" in next(cloud_init.problems(loaded)).what


def test_the_seed_is_a_disk_behind_the_others(tmp_path: Path) -> None:
    loaded = load(tmp_path, "user_data: {}")
    recipe = loaded.recipe
    assert [disk.name for disk in recipe.disks] == ["root", "io", "seed"]
    items = placement.vm_disks(recipe, "kvm")
    assert (items["seed"].device, items["seed"].permission, items["seed"].format) == ("vdc", "r", "raw")
    assert placement.vm_disks(recipe, "xen")["seed"].device == "xvdc"
    assert recipe.disks[2].areas[0].label == "CIDATA"
    assert filesystem_id(recipe, recipe.disks[2], 0) not in fstab(recipe)
    row = next(row for row in loaded.resolved() if row.path == ("disks", 2, "name"))
    assert row.where is not None and row.where.line == 4
    # Null takes away what a base asks for.
    assert [disk.name for disk in loader.load(str(tmp_path / "c.yaml"), tmp_path, ["cloud_init="]).recipe.disks] == [
        "root",
        "io",
    ]


@pytest.mark.parametrize(
    ("seed", "more", "said"),
    [
        ("user_data: {}", "  - {name: seed, filesystem: ext4, size: 1MiB}\n", "a second disk named 'seed'"),
        ("user_data: {}", "  - {name: x, filesystem: vfat, size: 1MiB, role: seed}\n", "is made by roost"),
        ("user_data: {}", "submit: {return: [seed]}\n", "read-only"),
        ("user_data: [a]", "", "expected the name of a local file, or a mapping"),
        ("meta_data: {}", "", "the key 'user_data' is missing"),
        ("user_data: absent.yaml", "", "no such file: 'absent.yaml'"),
    ],
)
def test_wrong_seeds(seed: str, more: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load(tmp_path, seed, more)
    assert any(said in str(problem) and problem.where and problem.where.line for problem in caught.value.problems), [
        str(problem) for problem in caught.value.problems
    ]


def test_a_disk_with_role_seed_needs_cloud_init(tmp_path: Path) -> None:
    text = RECIPE.format(seed="").replace("cloud_init: {}\n", "")
    (tmp_path / "c.yaml").write_text(text + "  - {name: x, filesystem: vfat, size: 1MiB, role: seed}\n")
    with pytest.raises(RecipeError, match="is made by roost"):
        loader.load(str(tmp_path / "c.yaml"), tmp_path)
