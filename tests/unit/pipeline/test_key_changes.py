"""What changed between two keys is named: the package, the file, the tool, the module, the recipe's key."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from roost.pipeline.key_changes import Change, changes

SUM = "ab" * 32


def _parts(**inputs: Any) -> dict[str, Any]:
    return {"inputs": inputs, "code": {"disk/write.py": "1"}, "tools": {"mke2fs": "5-6"}}


def test_packages_come_go_and_change() -> None:
    old = _parts(selection=[["dash", "1", "amd64", SUM], ["gone", "1", "all", SUM], ["same", "1", "all", SUM]])
    new = _parts(selection=[["dash", "2", "amd64", SUM], ["came", "1", "all", SUM], ["same", "1", "all", "cd" * 32]])
    assert changes(old, new) == [
        Change("package", "came", None, "1"),
        Change("package", "dash", "1", "2"),
        Change("package", "gone", "1", None),
        Change("package", "same", "1 (sha256 abababababab)", "1 (sha256 cdcdcdcdcdcd)"),
    ]


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda one: (
            st.lists(one)
            | st.dictionaries(st.sampled_from(["inputs", "selection", "code", "tools", "recipe", "files"]), one)
        ),
    )
)
def test_a_damaged_record_never_fails(junk: Any) -> None:
    new = _parts(selection=[["dash", "2", "amd64", SUM]], recipe={"name": "x"})
    for old in ({"inputs": junk, "code": junk}, {"inputs": {"selection": junk, "recipe": junk}, "tools": junk}):
        assert changes(old, new)


def test_modules_tools_and_files() -> None:
    old = _parts(files={"files/run": "755 x", "old": "y"})
    new = {**_parts(files={"files/run": "755 z"}), "code": {"disk/write.py": "2"}, "tools": {"mke2fs": "5-7"}}
    assert changes(old, new) == [
        Change("file", "files/run", "755 x", "755 z"),
        Change("file", "old", "y", None),
        Change("module", "disk/write.py", "1", "2"),
        Change("tool", "mke2fs", "5-6", "5-7"),
    ]


def test_keys_of_a_recipe_whatever_their_order() -> None:
    old = {"machine": {"memory": 1, "cpus": 1}, "users": [{"name": "a", "uid": 1}, {"name": "b"}], "run": ["x", "y"]}
    new = {"machine": {"memory": 2, "cpus": 1}, "users": [{"name": "b"}, {"name": "a", "uid": 2}], "run": ["y", "z"]}
    assert changes(_parts(recipe=old), _parts(recipe=new)) == [
        Change("recipe", "machine.memory", 1, 2),
        Change("recipe", "users[a].uid", 1, 2),
        Change("recipe", "run", "x", None),
        Change("recipe", "run", None, "z"),
    ]


def test_another_order_alone_is_reported() -> None:
    (found,) = changes(_parts(recipe={"run": ["a", "b"]}), _parts(recipe={"run": ["b", "a"]}))
    assert found.what == "run (order)"
    (found,) = changes(
        _parts(recipe={"u": [{"name": "a"}, {"name": "b"}]}), _parts(recipe={"u": [{"name": "b"}, {"name": "a"}]})
    )
    assert found.what == "u (order)"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "a", "b"]), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from("abc"), VALUES), st.dictionaries(st.sampled_from("abc"), VALUES))
def test_something_is_named_exactly_when_something_differs(old: dict[str, Any], new: dict[str, Any]) -> None:
    before, now = ({key: value for key, value in one.items() if value is not None} for one in (old, new))
    assert bool(changes(_parts(recipe=before), _parts(recipe=now))) is (before != now)
    assert not changes(_parts(recipe=before), _parts(recipe=before))
