"""A source is one module and one line in the registry: a toy source, of this module, is planned as any other."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import environ
from pathlib import Path
from typing import Any, ClassVar

import pytest

from roost.customize.overlay import Item
from roost.errors import Problem, RecipeError
from roost.events import Silent, Stages
from roost.pipeline import planning
from roost.pipeline.context import Context
from roost.recipe import loader, os, schema
from roost.recipe.loader import Loaded
from roost.recipe.model import Recipe, add_source
from roost.recipe.source import Source
from roost.sources import debian, image, registry, tarball, tree
from roost.sources.source import Request, RootTree
from roost.sources.source import Source as Planned
from roost.store import stage
from roost.store.cache import Cache

#: The type checker holds the modules to the Protocol here: the registry has their names only.
HELD: dict[str, Planned] = {"debian": debian, "tree": tree, "tarball": tarball, "image": image}
STAGE = stage.Stage("rootfs", ("roost.sources.canonical",))


class Toy(Source):
    """The keys of the toy: a greeting, and a local file."""

    installs: ClassVar = True
    places: ClassVar = {("file",): "file"}
    greeting: str
    file: str

    @property
    def local_files(self) -> tuple[str, ...]:
        return (self.file,)


MODEL = Toy


@dataclass(frozen=True)
class ToyTree:
    """A tree of one file."""

    greeting: str
    epoch: int = 7
    suite: str | None = "toy"
    own_kernel: bool = False
    bootstrap: None = None

    @property
    def key(self) -> str:
        return STAGE.key(self.inputs())

    def inputs(self) -> dict[str, Any]:
        return {"greeting": self.greeting}

    def make(self, cache: Cache, stages: Stages, _log_dir: Path) -> Path:
        def fill(directory: Path) -> None:
            with stages.stage("toy"):
                (directory / "tree.tar").write_text(self.greeting)

        return STAGE.stored(cache, self.inputs(), fill) / "tree.tar"


def problems(loaded: Loaded) -> Iterable[Problem]:
    toy = getattr(loaded.recipe.os, "toy")  # noqa: B009 - the field is added below
    if toy.greeting == "bye":
        yield loaded.problem(("os", "toy", "greeting"), "it goes before it came")


def plan(request: Request) -> RootTree:
    source = request.loaded.recipe.os.source
    assert isinstance(source, Toy)
    return ToyTree(f"{source.greeting} {(request.loaded.directory / source.file).read_text()}")


def items(_loaded: Loaded) -> Iterable[Item]:
    return (Item("/etc/toy", 0o644, b"toy\n"),)


RECIPE = """\
name: x
os:
  toy: {{greeting: {greeting}, file: {file}}}
disks: [{{name: root, partitions: [{{mount: /, free: 5MiB}}]}}]
"""


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the registry have the line."""
    monkeypatch.setitem(registry.SOURCES, "toy", __name__)
    add_source("toy", MODEL)
    yield
    del os.SOURCES["toy"]
    del os.Os.model_fields["toy"]
    os.Os.model_rebuild(force=True)
    Recipe.model_rebuild(force=True)


def _recipe(tmp_path: Path, greeting: str = "hello", file: str = "name") -> Path:
    (tmp_path / "name").write_text("world")
    path = tmp_path / "x.yaml"
    path.write_text(RECIPE.format(greeting=greeting, file=file))
    return path


def test_a_new_source_is_planned(toy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    loaded = loader.load(_recipe(tmp_path), tmp_path, (), planning.problems)
    context = Context(loaded, tmp_path / "build", Stages(Silent()), tmp_path / "log")
    made = planning.plan(context)
    assert made.tree is not None and made.original is None
    assert made.spec is not None and made.spec.name == "debian-cloud" and made.suite == "toy"
    assert made.tree.make(Cache(tmp_path / "cache"), Stages(Silent()), tmp_path / "log").read_text() == "hello world"
    assert [item.path for item in registry.of(loaded.recipe).items(loaded)] == ["/etc/toy"]

    (tmp_path / "name").write_text("all")
    assert planning.plan(context).key != made.key


def test_its_mistakes_are_reported_with_all_others(toy: None, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        loader.load(_recipe(tmp_path, "bye", "nmae"), tmp_path, (), planning.problems)
    assert "x.yaml:3:" in str(caught.value) and "did you mean name?" in str(caught.value)
    with pytest.raises(RecipeError, match="it goes before it came"):
        loader.load(_recipe(tmp_path, "bye"), tmp_path, (), planning.problems)
    path = _recipe(tmp_path)
    path.write_text(path.read_text().replace("greeting", "greting"))
    with pytest.raises(RecipeError, match="greeting"):
        loader.load(path, tmp_path, (), planning.problems)
    assert set(schema.keys(("os", "toy"))) == {"greeting", "file"}


def test_without_the_line_it_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="toy"):
        loader.load(_recipe(tmp_path), tmp_path)


def test_the_shipped_sources() -> None:
    """Each key of `os` is one module, whose model is that of the recipe."""
    assert list(registry.SOURCES) == list(os.Os.model_fields) == list(os.SOURCES)
    assert {key: registry.source(key) for key in registry.SOURCES} == HELD
    for key, source in HELD.items():
        assert getattr(source, "__name__", "") == f"roost.sources.{key}"
        assert source.MODEL is os.SOURCES[key]


def test_nobody_asks_which_source_it_is() -> None:
    """Outside of its own module nothing depends on a source's key."""
    package = Path(registry.__file__).parents[1]
    own = {"sources/debian.py", "sources/tree.py", "sources/tarball.py", "sources/image.py"}
    asking = [
        str(path.relative_to(package))
        for path in sorted(package.rglob("*.py"))
        for key in os.SOURCES
        if f".os.{key} " in path.read_text() or f".os.{key}." in path.read_text() or f".os.{key}\n" in path.read_text()
    ]
    assert set(asking) <= own


def test_every_task_that_loads_recipes_knows_every_source() -> None:
    """A source of its own model is added by the registry, so what loads a recipe loads the registry too."""
    stories = [
        path.stem
        for path in sorted(Path(planning.__file__).parent.glob("*.py"))
        if re.search(r"\bloader\.\w+\(", path.read_text())
    ]
    assert {"build", "jobs", "recipes", "submit"} <= set(stories)
    for name in stories:
        code = f"import sys, roost.pipeline.{name}; print('roost.sources.registry' in sys.modules)"
        env = {**environ, "PYTHONPATH": str(Path(registry.__file__).parents[2])}
        said = subprocess.run([sys.executable, "-c", code], check=True, env=env, capture_output=True, text=True).stdout
        assert said == "True\n", name
