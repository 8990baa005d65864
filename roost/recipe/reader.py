"""Read a recipe file and the bases it `extends` into one tree, and collect the problems."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from roost.errors import Location, Problem
from roost.host import files, paths
from roost.host.paths import display
from roost.recipe import localfiles
from roost.recipe.merge import EXTENDS, merge, without
from roost.recipe.nodes import Node
from roost.recipe.parse import parse
from roost.recipe.words import kind, near, shown

SUFFIXES = (".yaml", ".yml")
#: The maximum number of recipe files for one image.
MAX_FILES = 100


@dataclass(slots=True)
class Reader:
    """Reads a recipe file and its bases; records the files read and the problems found."""

    main: Path
    project: Path
    files: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def read(self, path: Path, stack: tuple[Path, ...] = ()) -> Node | None:
        """Return the tree of a file merged onto its bases; None when the file itself cannot be read.

        A base that is reached twice is merged once: at its first position.
        """
        self.files.append(path)
        name = display(path)
        try:
            data = files.read_bytes(path)
        except OSError as error:
            self.problems.append(Problem(f"cannot be read: {error.strerror}", Location(name)))
            return None
        tree, problems = parse(data, name)
        self.problems += problems
        if tree is None:
            return None
        if not isinstance(tree.value, dict):
            what = f"a recipe is a mapping (lines of `key: value`), found {kind(tree.value)}"
            self.problems.append(Problem(what, tree.where))
            return None
        extends = tree.items.get(EXTENDS)
        tree = localfiles.relocated(without(tree, EXTENDS), path.parent, self.main.parent)
        if extends is None:
            return tree
        below, whole = self.bases(extends, path, (*stack, path))
        merged = merge(below, tree) if below is not None else tree
        return merged if whole else replace(merged, incomplete=True)

    def bases(self, extends: Node, path: Path, stack: tuple[Path, ...]) -> tuple[Node | None, bool]:
        """Return the merged bases, and whether all of them could be read."""
        if extends.text is None and not isinstance(extends.value, tuple):
            what = f"'{EXTENDS}' is a list of recipe files, found {kind(extends.value)}"
            self.problems.append(Problem(what, extends.place))
            return None, False
        merged: Node | None = None
        whole = True
        for node in extends.elements if isinstance(extends.value, tuple) else (extends,):
            base = self.base(node, path, stack)
            if base is None:
                whole = False
            elif base in self.files:
                continue
            elif len(self.files) >= MAX_FILES:
                self.problems.append(Problem(f"the recipe has more than {MAX_FILES} files", node.where))
                return merged, False
            else:
                tree = self.read(base, stack)
                whole = whole and tree is not None
                if tree is not None:
                    merged = tree if merged is None else merge(merged, tree)
        return merged, whole

    def base(self, node: Node, path: Path, stack: tuple[Path, ...]) -> Path | None:
        """Return the file that one entry of `extends` names, or None after recording the problem."""
        if not node.text or "\0" in node.text:
            self.problems.append(Problem(f"expected the name of a recipe file, found {kind(node.value)}", node.where))
            return None
        base = self.found(path, node.text)
        if base in stack:
            circle = " → ".join(display(file) for file in (*stack[stack.index(base) :], base))
            self.problems.append(Problem(f"'{EXTENDS}' forms a circle: {circle}", node.where, "remove this one"))
            return None
        try:
            found = base.exists() and not base.is_dir()
        except OSError:
            found = False
        if not found:
            shipped = paths.shipped_root() / "recipes" / node.text
            # Do not suggest that a recipe extends itself.
            own = {one.resolve() for one in (*stack, path)}
            others = (*recipe_files(base.parent), *recipe_files(shipped.parent))
            close = near(base.name, [one.name for one in others if one.resolve() not in own])
            hint = (
                f"did you mean {shown(str(Path(node.text).with_name(close)), 400)}?"
                if close
                else f"looked for {shown(display(base), 400)}"
            )
            self.problems.append(Problem(f"no such base: '{shown(node.text)}'", node.where, hint))
            return None
        return base

    def found(self, path: Path, name: str) -> Path:
        """Return the file meant by `name` in the recipe `path`: beside it, else in the project, else in roost."""
        beside = absolute(path.parent / name)
        if name.startswith("/") or _is_file(beside):
            return beside
        further = [absolute(directory / "recipes" / name) for directory in (self.project, paths.shipped_root())]
        # A recipe with the path of a base is not its own base.
        return next((one for one in further if one not in {path, self.main} and _is_file(one)), beside)

    @property
    def home(self) -> Path:
        """The directory that holds build/ of the recipe's images."""
        directory = self.main.parent
        own = directory == self.project / "recipes" or directory.resolve() == (self.project / "recipes").resolve()
        return self.project if own else directory

    def called(self, name: str | None, several: bool) -> str:
        """Return the name of one image of the recipe on the command line."""
        if self.home == self.project and self.main.parent != self.project:
            return name if several and name is not None else self.main.stem
        path = display(self.main.with_name(name) if several and name is not None else self.main)
        return path if "/" in path else f"./{path}"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def absolute(path: Path) -> Path:
    """Return the path from /, without `..` and `.`; symbolic links are not resolved."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow links


def is_path(name: str) -> bool:
    """Return whether the name of a recipe is a path; otherwise it is looked up in the project."""
    return "/" in name or name.endswith(SUFFIXES)


def located(name: str, directory: Path) -> str:
    """Return the name of a recipe, with a path made independent of the current directory: it starts at `directory`."""
    return str(absolute(directory / name)) if is_path(name) else name


def recipe_files(directory: Path) -> list[Path]:
    """Return the recipes in a directory, sorted."""
    try:
        return sorted(path for path in directory.iterdir() if path.suffix in SUFFIXES and not path.name.startswith("."))
    except OSError:
        return []
