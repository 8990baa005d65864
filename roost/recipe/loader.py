"""From a name to a checked recipe, or to all of its mistakes, each with file, line and column.

A recipe file, the bases it `extends`, its `matrix`, `--set` and `variables` become one tree of located values
(`nodes`, `merge`, `matrix`, `variables`), which is validated as a `Recipe` (`validation`) and then checked
semantically (`checks`, `localfiles`). All problems are collected and raised as one `RecipeError`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from roost.errors import Location, Problem, RecipeError
from roost.host import files
from roost.host.paths import display
from roost.recipe import checks, localfiles, mistaken, returned, seed
from roost.recipe.loaded import Loaded
from roost.recipe.matrix import Variant, variants
from roost.recipe.merge import assign, read_set
from roost.recipe.nodes import Node
from roost.recipe.parse import MAX_NODES, MAX_TEXT, parse
from roost.recipe.reader import SUFFIXES, Reader, absolute, is_path, located, recipe_files
from roost.recipe.validation import lacking, validate
from roost.recipe.variables import Room, substituted
from roost.recipe.words import did_you_mean, listed, shown

__all__ = ["SUFFIXES", "Loaded", "absolute", "each", "expanded", "is_path", "load", "load_all", "located", "names"]


Further = Callable[[Loaded], Sequence[Problem]]


def nothing_further(_loaded: Loaded) -> Sequence[Problem]:
    """Return no problems: the default of `further`."""
    return ()


def _in_order(problems: Sequence[Problem], files: Sequence[Path]) -> list[Problem]:
    """Return the problems without repetition: file by file, each from top to bottom; other locations last."""
    rank = {display(path): index for index, path in enumerate(files)}

    def key(problem: Problem) -> tuple[int, int, int]:
        where = problem.where or Location("")
        return rank.get(where.file, len(rank)), where.line, where.column

    return sorted(dict.fromkeys(problems), key=key)


def _variants(path: Path, project: Path, sets: Sequence[str] = ()) -> tuple[list[Variant], Reader]:
    """Return the images of a recipe file, and the reader with what was read and all syntax problems."""
    reader = Reader(path, project)
    tree = reader.read(path)
    made = variants(tree) if tree is not None else []
    for setting in sets:
        key, value, problems = read_set(setting)
        reader.problems += problems
        if value is not None:
            made = [_with(variant, key, value) for variant in made]
    room = Room()
    return [_finished(variant, room) for variant in made], reader


def _with(variant: Variant, key: str, value: Node) -> Variant:
    tree, problem = assign(variant.tree, key, value)
    return replace(variant, tree=tree, problems=(*variant.problems, *([problem] if problem else [])))


def _finished(variant: Variant, room: Room) -> Variant:
    """Return an image with its variables substituted, and with the disks implied by other keys."""
    tree, variables, problems = substituted(variant.tree, room)
    count, characters = tree.extent()
    if count > MAX_NODES or characters > MAX_TEXT:
        what = f"the recipe and its bases have more than {MAX_NODES} values or {MAX_TEXT >> 20} MiB"
        problems.append(Problem(what, tree.where, "name large content by `source:`"))
        tree = replace(tree, value={key: tree.items[key] for key in tree.items if key == "name"}, incomplete=True)
    name = tree.items["name"].text if "name" in tree.items else None
    return replace(
        variant,
        name=name,
        tree=returned.with_default(seed.with_disk(tree)),
        problems=(*variant.problems, *problems),
        variables=variables,
    )


def _loaded(variant: Variant, reader: Reader, further: Further, several: bool) -> Loaded:
    """Return the checked recipe of one image; raise `RecipeError` with all of its mistakes."""
    recipe, tree, found = validate(variant.tree)
    semantic = checks.problems(tree, variant.tree, whole=not variant.tree.incomplete)
    # A placeholder for a value that could not be read is not reported again.
    unread = {problem.where for problem in (*reader.problems, *variant.problems)}
    unread |= {leaf.where for _, leaf in variant.tree.leaves() if unread.intersection(leaf.through)}
    local = list(localfiles.problems(tree, reader.main.parent))
    found, semantic, local = ([one for one in some if one.where not in unread] for some in (found, semantic, local))
    problems = [*reader.problems, *variant.problems, *found, *semantic, *local]
    if semantic:
        # The model's checks of the whole recipe repeat, without a location, what `checks` reports with one.
        problems = [problem for problem in problems if problem not in found or problem.where != tree.where]
    loaded = None
    if recipe is None and semantic:
        # Two roots, for example, are invalid; without one of them, other mistakes can be found.
        recipe, tree, _ = validate(lacking(tree, {problem.where for problem in semantic}))
    if recipe is not None:
        loaded = Loaded(
            recipe,
            reader.main,
            tuple(reader.files),
            tree if problems else variant.tree,
            variant.variables,
            reader.home,
            reader.called(variant.name, several),
        )
    if loaded is not None:
        # Removing mistakes may cause more; one report per location is enough.
        places = {problem.where for problem in problems}
        problems += [problem for problem in further(loaded) if not problems or problem.where not in {*places, None}]
    if problems or loaded is None:
        raise RecipeError(_in_order(problems, reader.files))
    return loaded


def _choose(path: Path, project: Path, name: str | None, sets: Sequence[str], further: Further) -> Loaded:
    """Return the image `name` of a recipe file, or the only one when the name is None."""
    made, reader = _variants(path, project, sets)
    if not made:
        raise RecipeError(_in_order(reader.problems, reader.files))
    chosen = made[0]
    if name is not None:
        chosen = next(variant for variant in made if variant.name == name)
    elif len(made) > 1:
        names = [variant.name or "?" for variant in made]
        where = Location(display(path))
        raise RecipeError(
            [Problem(f"makes {len(made)} images: {listed(names)}", where, f"such as {reader.called(names[0], True)}")]
        )
    return _loaded(chosen, reader, further, len(made) > 1)


def _find(name_or_path: str, project: Path) -> tuple[Path, str | None]:
    """Return the recipe file for a name or path, and the name of the image if the file makes several."""
    given = str(name_or_path)
    if not given or "\0" in given:
        raise RecipeError([Problem("the name of a recipe is empty or holds a zero byte")])
    directory = project / "recipes"
    given_path = is_path(given)
    start = absolute(Path(given) if given_path else directory / given)
    candidates = [start, *(start.parent / (start.name + suffix) for suffix in SUFFIXES)]
    try:
        for path in candidates if given_path else candidates[1:]:
            # Anything that is not a regular file, such as a FIFO, is reported when it is read.
            if path.exists() and not path.is_dir():
                if path.suffix not in SUFFIXES and (problem := mistaken.problem(path)) is not None:
                    raise RecipeError([problem])
                return path, None
        if start.is_dir():
            hint = _suggestion(given, start.name, names(project))
            raise RecipeError([Problem(f"'{shown(given)}' is a directory, not a recipe", None, hint)])
    except OSError as error:
        raise RecipeError([Problem(f"'{shown(given)}': {error.strerror}")]) from error
    # The images of a matrix have names, but no file each.
    stem = start.name.removesuffix(".yaml").removesuffix(".yml")
    for path in recipe_files(start.parent):
        if any(variant.name == stem for variant in _variants(path, project)[0]):
            return path, stem
    beside = [path.stem for path in recipe_files(start.parent)] if given_path else []
    known = list(dict.fromkeys([*beside, *names(project)]))
    hint = _suggestion(given, stem, known) if known else f"the project's recipes are files in {display(directory)}"
    raise RecipeError([Problem(f"no such recipe: '{shown(given)}'", None, hint)])


def file_of(name_or_path: str, project: Path) -> Path:
    """Return the file of a recipe, or of the one that makes an image of this name; raise `RecipeError` for none."""
    return _find(name_or_path, absolute(project))[0]


def _suggestion(given: str, stem: str, known: Sequence[str]) -> str | None:
    """Return a hint: the recipe with the last name of a wrong path, else the result of `did_you_mean`."""
    return f"did you mean {stem}?" if stem in known and stem != given else did_you_mean(stem, known)


def load(
    name_or_path: str | os.PathLike[str], project: Path, sets: Sequence[str] = (), further: Further = nothing_further
) -> Loaded:
    """Return the recipe NAME of `project`/recipes, or the one at a path; `sets` are `key=value` overrides.

    NAME may be one image of a matrix. `further` makes additional checks for the caller; it also gets recipes with
    mistakes, with the faulty values removed. Raises `RecipeError` with every mistake in the recipe and its bases, in
    file order.
    """
    path, name = _find(os.fspath(name_or_path), absolute(project))
    return _choose(path, absolute(project), name, sets, further)


def load_all(
    name_or_path: str | os.PathLike[str], project: Path, sets: Sequence[str] = (), further: Further = nothing_further
) -> tuple[Loaded, ...]:
    """Return all images of a recipe: one, or those of its matrix. Raises `RecipeError` as `load`, for all of them."""
    path, name = _find(os.fspath(name_or_path), absolute(project))
    found, reader = _each(path, name, absolute(project), sets, further)
    problems = [problem for _, one in found if isinstance(one, RecipeError) for problem in one.problems]
    if problems:
        raise RecipeError(_in_order(problems, reader.files))
    return tuple(one for _, one in found if isinstance(one, Loaded))


def each(
    name_or_path: str | os.PathLike[str], project: Path, sets: Sequence[str] = (), further: Further = nothing_further
) -> Sequence[tuple[str, Loaded | RecipeError]]:
    """Return all images of a recipe as `load_all` does, by name, each as a recipe or as the error with its mistakes.

    Raises `RecipeError` only when there is no such recipe.
    """
    path, name = _find(os.fspath(name_or_path), absolute(project))
    return _each(path, name, absolute(project), sets, further)[0]


def _each(
    path: Path, name: str | None, project: Path, sets: Sequence[str], further: Further
) -> tuple[list[tuple[str, Loaded | RecipeError]], Reader]:
    made, reader = _variants(path, project, sets)
    if not made:
        return [(path.stem, RecipeError(_in_order(reader.problems, reader.files)))], reader
    found: list[tuple[str, Loaded | RecipeError]] = []
    for variant in made:
        if name in {None, variant.name}:
            try:
                found.append((variant.name or path.stem, _loaded(variant, reader, further, len(made) > 1)))
            except RecipeError as error:
                found.append((variant.name or path.stem, error))
    return found, reader


def names(project: Path) -> list[str]:
    """Return the names that `load` accepts: the recipes of `project`/recipes, without base/, a matrix by its images."""
    found = []
    for path in recipe_files(absolute(project) / "recipes"):
        made = _variants(path, absolute(project))[0]
        several = [variant.name for variant in made if variant.name is not None] if len(made) > 1 else []
        found += several or [path.stem]
    return list(dict.fromkeys(found))


def expanded(given: Sequence[str], project: Path) -> list[str]:
    """Return names and paths of recipes, with each directory replaced by its recipes; by default the project's.

    A file without a name that a recipe there extends, and that is no recipe by itself, is a base. Raises
    `RecipeError` for a directory without recipes.
    """
    own = names(project)
    found: list[str] = []
    for one in given:
        try:
            directory = one not in own and Path(one).is_dir()
        except (OSError, ValueError):
            directory = False
        inside = [str(path) for path in _without_bases(recipe_files(Path(one)), project)] if directory else [one]
        if not inside:
            raise RecipeError([Problem(f"there are no recipes in the directory '{shown(one)}'")])
        found += inside
    return found if given else own


def _without_bases(found: Sequence[Path], project: Path) -> list[Path]:
    """Return the recipes of a directory without those that exist only for others to extend."""
    nameless = {absolute(path) for path in found if not _is_named(path)}
    extended: set[Path] = set()
    for path in {absolute(path) for path in found} - nameless if nameless else ():
        reader = Reader(path, absolute(project))
        reader.read(path)
        extended.update(reader.files[1:])
    bases = {path for path in nameless & extended if _lacks(path, absolute(project))}
    return [path for path in found if absolute(path) not in bases]


def _is_named(path: Path) -> bool:
    """Return whether a recipe file itself, without its bases, names the image; True if it cannot be read."""
    try:
        tree, _ = parse(files.read_bytes(path), str(path))
    except OSError:
        return True
    return tree is None or not isinstance(tree.value, dict) or "name" in tree.items


def _lacks(path: Path, project: Path) -> bool:
    """Return whether a recipe has mistakes."""
    made, _ = _each(path, None, project, (), nothing_further)
    return any(isinstance(one, RecipeError) for _, one in made)
