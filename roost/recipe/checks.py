"""Semantic checks that need no build: names that must exist or be unique, disks that must fit together.

They read the tree, not the model, so that they also run on a recipe with other mistakes and can point at the value.
Wrong values are not in that tree; `written` still has them, so that nothing counts as absent that is only wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from roost.errors import Problem
from roost.recipe.boot_test import OF_THE_JOB
from roost.recipe.nodes import Node
from roost.recipe.os import SOURCES
from roost.recipe.returned import defaults
from roost.recipe.words import did_you_mean, shown

#: The names that a disk may have (`Name` of the model).
_NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*")
_NOTHING = "there is no disk"


def _disks(tree: Node) -> tuple[Node, ...]:
    disks = tree.items.get("disks")
    return disks.elements if disks is not None else ()


def _text(node: Node, key: str) -> str | None:
    found = node.items.get(key)
    return found.text if found is not None else None


def _areas(disk: Node) -> tuple[Node, ...]:
    """Return the file systems of a disk: its partitions, or the disk itself."""
    partitions = disk.items.get("partitions")
    return partitions.elements if partitions is not None and partitions.elements else (disk,)


def _repeated(values: Iterator[tuple[str, Node]] | list[tuple[str, Node]], what: str) -> Iterator[Problem]:
    """Yield a problem for each value that repeats an earlier one."""
    seen: dict[str, Node] = {}
    for value, node in values:
        first = seen.setdefault(value, node)
        if first is not node:
            line = f" (the first: {first.where})" if first.where.line else ""
            yield Problem(f"{what} '{shown(value)}'{line}", node.where)


def _named(nodes: tuple[Node, ...], key: str) -> list[tuple[str, Node]]:
    return [(str(node.items[key].value), node.items[key]) for node in nodes if _text(node, key) is not None]


def disk_names(tree: Node) -> Iterator[Problem]:
    """Check that disk names are unique, because they name files."""
    yield from _repeated(_named(_disks(tree), "name"), "a second disk named")


def user_names(tree: Node) -> Iterator[Problem]:
    """Check that account names are unique."""
    users = tree.items.get("users")
    yield from _repeated(_named(users.elements if users is not None else (), "name"), "a second user named")


def mounts(tree: Node) -> Iterator[Problem]:
    """Check that at most one file system is mounted on each directory."""
    areas = tuple(area for disk in _disks(tree) for area in _areas(disk))
    found = _named(areas, "mount")
    yield from _repeated([(mount.rstrip("/") or "/", node) for mount, node in found], "a second file system mounted on")


def _bare(disk: Node) -> bool:
    """Return whether a disk has no layout of its own, so that it is the disk of an existing image."""
    return not any(key in disk.items for key in ("partitions", "filesystem", "mount", "free", "label", "role"))


def _may_be_bare(tree: Node) -> bool:
    """Return whether the source is a disk, as far as it is known."""
    source = tree.items.get("os")
    key = next(iter(source.items)) if source is not None and len(source.items) == 1 else None
    return key is None or (key in SOURCES and SOURCES[key].is_disk)


def root(tree: Node, _written: Node) -> Iterator[Problem]:
    """Check that a file system is mounted on /."""
    disks = tree.items.get("disks")
    if disks is None or disks.incomplete or not disks.elements:
        return
    bare = [disk for disk in disks.elements if _bare(disk) and not disk.incomplete]
    if bare and not _may_be_bare(tree):
        for disk in bare:
            yield Problem("a disk needs partitions, or a filesystem of its own", disk.place)
        return
    found = _named(tuple(area for disk in disks.elements for area in _areas(disk)), "mount")
    roots = [node for mount, node in found if mount.strip("/") == ""]
    if not roots and not bare:
        yield Problem("no file system is mounted on /", disks.place, "give the root's partition `mount: /`")
    for second in bare[1:]:
        yield Problem("a second disk without partitions and filesystem: only the image's own has none", second.place)
    if bare:
        for node in roots:
            what = "a second root: the disk without partitions and filesystem is the image's own"
            yield Problem(what, node.where, "take the root from one of them")


def labels(tree: Node) -> Iterator[Problem]:
    """Check that file system labels are unique: the guest could find either file system.

    It looks for the io disk's label in upper case too, as FAT has it.
    """
    labelled, of_io = [], []
    for disk in _disks(tree):
        found = _named(_areas(disk), "label")
        name = disk.items.get("name")
        if _text(disk, "role") == "io":
            if name is not None and name.text and "label" not in disk.items:
                found.append((name.text[:16], name))
            of_io += [label for label, _ in found]
        labelled += found
    of_io_disk = {label.upper() for label in of_io}
    seen: dict[str, tuple[str, Node]] = {}
    for label, node in labelled:
        other, first = seen.setdefault(label.upper() if label.upper() in of_io_disk else label, (label, node))
        if first is not node:
            by_case = f", which differs from '{shown(other)}' only by case" if other != label else ""
            line = f" (the first: {first.where})" if first.where.line else ""
            hint = "the guest looks for the io disk's label in upper case too" if by_case else None
            yield Problem(f"a second file system labelled '{shown(label)}'{by_case}{line}", node.where, hint)


def io_disk(tree: Node) -> Iterator[Problem]:
    """Check that there is at most one io disk."""
    for role in _io_roles(tree)[1:]:
        yield Problem("a second disk with role io", role.where, "a job has one io disk")


def seed_disk(tree: Node, written: Node) -> Iterator[Problem]:
    """Check that a disk with role `seed` comes from `cloud_init`."""
    seeds = [disk.items["role"] for disk in _disks(tree) if _text(disk, "role") == "seed"]
    cloud_init = written.items.get("cloud_init")
    for role in seeds[: len(seeds) - (cloud_init is not None and cloud_init.value is not None)]:
        yield Problem("a disk with role seed is made by roost", role.where, "write cloud_init, and no disk for it")


def _io_roles(tree: Node) -> list[Node]:
    return [disk.items["role"] for disk in _disks(tree) if _text(disk, "role") == "io"]


def job_of_io_disk(tree: Node, written: Node) -> Iterator[Problem]:
    """Check that an io disk has a job."""
    roles = _io_roles(tree)
    job = written.items.get("job")
    if roles and (job is None or job.value is None) and not tree.incomplete:
        yield Problem("a disk has role io, but there is no job to use it", roles[0].where, "add `job: {command: …}`")


def _references(written: Node, references: list[Node]) -> Iterator[Problem]:
    names = list(dict.fromkeys(name for name, _ in _named(_disks(written), "name")))
    if len(_named(_disks(written), "name")) < len(_disks(written)) or not all(map(_NAME.fullmatch, names)):
        # Any of them may be the name of the disk whose own is missing or wrong.
        return
    for reference in references:
        if reference.text is not None and reference.text not in names:
            yield Problem(f"{_NOTHING} '{shown(reference.text)}'", reference.where, did_you_mean(reference.text, names))


def returned_disks(tree: Node, written: Node) -> Iterator[Problem]:
    """Check that `submit.return` names disks, each once, none of them read-only, and `return_as` some of these."""
    returned = tree.find(("submit", "return"))
    elements = returned.elements if returned is not None else ()
    yield from _references(written, list(elements))
    yield from _repeated([(node.text, node) for node in elements if node.text is not None], "returned twice: disk")
    fixed = {name for disk in _disks(tree) for name, _ in _named((disk,), "name") if _true(disk, "readonly")}
    for node in elements:
        if node.text in fixed:
            yield Problem(f"the disk '{shown(node.text or '')}' is read-only: nothing new would come back", node.where)
    chosen = tree.find(("submit", "return_as"))
    if returned is not None and returned.incomplete:
        return
    named = [node.text for node in (defaults(tree) if returned is None else elements) if node.text is not None]
    for disk, node in chosen.items.items() if chosen is not None else ():
        if disk not in named:
            hint = did_you_mean(disk, named) if named else "write `return: [DISK]` as well"
            yield Problem(f"the disk '{shown(disk)}' is not one of `return`, so it gets no name", node.key, hint)


def _true(node: Node, key: str) -> bool:
    found = node.items.get(key)
    return found is not None and found.value is True


def expected_disks(tree: Node, written: Node) -> Iterator[Problem]:
    """Check that `boot_test.expect` names disks that exist."""
    expect = tree.find(("boot_test", "expect"))
    elements = expect.elements if expect is not None else ()
    yield from _references(written, [node.items["on"] for node in elements if "on" in node.items])


def expected_of_the_job(tree: Node, written: Node) -> Iterator[Problem]:
    """Check that expectations reported by the job's runner have a job."""
    expect = tree.find(("boot_test", "expect"))
    if "job" in written.items or expect is None:
        return
    for node in expect.elements:
        for key in OF_THE_JOB:
            if key in node.items:
                yield Problem(
                    f"{key} is reported by the job's runner, and there is no job", node.items[key].where, "add job"
                )


def inputs_of_the_job(tree: Node, written: Node) -> Iterator[Problem]:
    """Check that `boot_test.inputs` have a job and its io disk."""
    inputs = tree.find(("boot_test", "inputs"))
    if inputs is None or not inputs.elements:
        return
    if "job" not in written.items:
        yield Problem("inputs need a job, and there is none", inputs.where, "add `job: {command: …}`")
    elif not _io_roles(tree) and (disks := tree.items.get("disks")) is not None and not disks.incomplete:
        what = "the job gets its inputs on a disk with role io, and there is none"
        yield Problem(what, inputs.where, "add {name: io, filesystem: ext4, size: 64MiB, role: io} to disks")


def expected_once(tree: Node) -> Iterator[Problem]:
    """Check that the expected exit status is given once."""
    expect = tree.find(("boot_test", "expect"))
    elements = expect.elements if expect is not None else ()
    yield from _repeated([("exit", node.items["exit"]) for node in elements if "exit" in node.items], "a second")


def hypervisors(tree: Node) -> Iterator[Problem]:
    """Check that each hypervisor is named once per file; a recipe may repeat one of its base."""
    named = tree.items.get("hypervisors")
    found = [(node.text, node) for node in named.elements if node.text is not None] if named is not None else []
    for file in dict.fromkeys(node.where.file for _, node in found):
        yield from _repeated([one for one in found if one[1].where.file == file], "named twice: hypervisor")


_REPEATED: tuple[Callable[[Node], Iterator[Problem]], ...] = (
    disk_names,
    user_names,
    mounts,
    labels,
    io_disk,
    hypervisors,
    expected_once,
)
_ABSENT: tuple[Callable[[Node, Node], Iterator[Problem]], ...] = (
    root,
    job_of_io_disk,
    returned_disks,
    expected_disks,
    expected_of_the_job,
    inputs_of_the_job,
)


def problems(tree: Node, written: Node, *, whole: bool = True) -> list[Problem]:
    """Return all findings in `tree`, which is `written` without wrong values.

    Missing parts count only if the tree is `whole` (all bases were read).
    """
    found = [problem for check in _REPEATED for problem in check(tree)]
    found += seed_disk(tree, written)
    return [*found, *(problem for check in _ABSENT if whole for problem in check(tree, written))]
