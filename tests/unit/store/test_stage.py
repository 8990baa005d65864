"""Keys of stages: the code that makes something is in them, and a stage runs no tool that it does not declare."""

from __future__ import annotations

import ast
import re
import shutil
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from roost.boot import attestation
from roost.errors import HostError
from roost.existing import image as existing_image
from roost.host import declared, mapped, process
from roost.host.confinement import Limits
from roost.host.declared import UndeclaredToolError
from roost.host.namespace import CHROOTED, Namespace
from roost.host.pool import Pool
from roost.pipeline import image
from roost.sources import (
    apt_root,
    archive,
    boot_loader,
    bootable,
    essential,
    given_tree,
    image_tree,
    mmdebstrap,
    registry,
    solver,
)
from roost.store import closure, keys
from roost.store.cache import Cache
from roost.store.stage import Stage

#: Every stage of roost's, with modules that make what it makes.
STAGES = {
    "archive": (archive.STAGE, ["sources/archive", "sources/aptsource", "recipe/debian"]),
    "debian": (
        mmdebstrap.STAGE,
        ["sources/mmdebstrap", "sources/bootstrap", "sources/archive", "sources/repositories", "sources/unpacked"],
    ),
    "layer": (essential.STAGE, ["sources/essential", "sources/installation", "sources/debs", "sources/uncompressed"]),
    "answers of apt": (apt_root.KNOWN, ["sources/apt_root", "sources/contained"]),
    "selection": (solver.STAGE, ["sources/solver", "sources/packages", "sources/contained", "sources/aptsource"]),
    "boot loader": (boot_loader.STAGE, ["sources/boot_loader", "sources/debs"]),
    "lists": (solver.LISTS, ["sources/solver", "sources/packages"]),
    "given tree": (
        given_tree.STAGE,
        ["sources/given_tree", "sources/layers", "sources/canonical", "sources/normalize", "customize/ties"],
    ),
    "bootable": (
        bootable.STAGE,
        ["sources/bootable", "sources/unpacked", "sources/canonical", "kernel/initrd", "customize/unpack"],
    ),
    "tree of an image": (image_tree.STAGE, ["sources/image_tree", "existing/inspection", "existing/image_file"]),
    "base of an image": (existing_image.BASES, ["existing/image", "existing/image_file", "disk/qemu_img"]),
    "image": (
        image.STAGE,
        ["pipeline/construct", "pipeline/edit", "existing/edit", "customize/apply", "disk/write", "condor/emit",
         "kernel/files", "verify/readback", "publish/sbom"],
    ),
}  # fmt: skip
#: Files that modules of a stage read.
DATA = {
    "debian": ["sources/hooks/finish", "sources/hooks/download"],
    "layer": ["sources/hooks/base", "sources/hooks/setup"],
    "selection": ["sources/hooks/select"],
    "answers of apt": ["sources/hooks/select"],
    "image": ["guest/job", "guest/inittab", "condor/templates/submit.j2", "disk/mke2fs.conf"],
}
#: The stage that makes the tree of each source, or takes it out of an image.
MADE_BY = {"debian": "debian", "tree": "given tree", "tarball": "given tree", "image": "tree of an image"}
#: What shows, checks, publishes or boots.
OTHERS = ["cli/main", "cli/show", "catalogue/page", "publish/gate", "boot/run", "preflight/local", "host/process"]


def _digest(stage: Stage, package: Path) -> str:
    return closure.digest(stage.makers, (*closure.LEFT_OUT, *stage.left_out), package)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of roost, to be changed."""
    copy = tmp_path_factory.mktemp("copy") / "roost"
    return Path(shutil.copytree(closure.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__")))


def _changes(stage: Stage, package: Path, file: str) -> bool:
    """Return whether the code of a stage is another one after a line was added to a file; it is taken out again."""
    path = package / file
    before, text = _digest(stage, package), path.read_bytes()
    path.write_bytes(text + b"# Another line.\n")
    try:
        return _digest(stage, package) != before
    finally:
        path.write_bytes(text)


@pytest.mark.parametrize("name", STAGES)
def test_a_changed_line_in_what_makes_it_changes_the_key(name: str, package: Path) -> None:
    stage, makers = STAGES[name]
    for file in [*(f"{maker}.py" for maker in makers), *DATA.get(name, [])]:
        assert _changes(stage, package, file), file


@pytest.mark.parametrize("key", registry.SOURCES)
def test_each_source_is_made_by_stages_that_are_held_here(key: str, package: Path) -> None:
    """What plans a tree imports what makes it; each stage of that is in the table above."""
    module = import_module(registry.SOURCES[key])
    made = closure.files([module.__name__], package=package)
    stages = [
        name for name, (stage, _) in STAGES.items() if set(closure.files(stage.makers, package=package)) <= set(made)
    ]
    assert MADE_BY[key] in stages
    # A line in the module that makes the tree is one in the key of the image, whatever plans it.
    stage, makers = STAGES[MADE_BY[key]]
    assert _changes(stage, package, f"{makers[0]}.py")


def test_a_docstring_of_the_command_line_is_in_no_key(package: Path) -> None:
    before = {name: _digest(stage, package) for name, (stage, _) in STAGES.items()}
    texts = {path: path.read_text() for path in sorted((package / "cli").glob("*.py"))}
    assert len(texts) > 15
    for path, text in texts.items():
        path.write_text(text.replace('"""', '"""Reworded: ', 1))
    try:
        assert {name: _digest(stage, package) for name, (stage, _) in STAGES.items()} == before
    finally:
        for path, text in texts.items():
            path.write_text(text)


@pytest.mark.parametrize("name", STAGES)
def test_a_changed_line_in_what_does_not_make_it_leaves_the_key(name: str, package: Path) -> None:
    for other in OTHERS:
        assert not _changes(STAGES[name][0], package, f"{other}.py"), other


def test_a_tree_from_the_archive_does_not_depend_on_how_images_are_laid_out(package: Path) -> None:
    for other in ("disk/write", "condor/emit", "customize/overlay", "customize/apply", "recipe/loader"):
        assert not _changes(mmdebstrap.STAGE, package, f"{other}.py"), other


def test_a_verdict_is_that_of_the_code_that_judged(package: Path) -> None:
    before = closure.digest(attestation.JUDGES, attestation.NO_PART, package)
    for name, other in (("boot/verdict.py", True), ("host/process.py", True), ("cli/show.py", False)):
        text = (package / name).read_bytes()
        (package / name).write_bytes(text + b"# Another line.\n")
        assert (closure.digest(attestation.JUDGES, attestation.NO_PART, package) != before) is other, name
        (package / name).write_bytes(text)


def test_inputs_tools_and_name_are_in_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "mke2fs"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    stage = Stage("a", ("roost.store.keys",), ("mke2fs",))
    found = [stage.key({}), stage.key({"x": 1}), Stage("b", stage.makers, stage.tools).key({})]
    found.append(Stage("a", stage.makers).key({}))
    tool.write_text("#!/bin/sh\n# Another release.\n")
    found.append(stage.key({}))
    tool.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(process, "SBIN", ())
    found.append(Stage("a", stage.makers, (str(tmp_path / "kernel.img"),)).key({}))
    (tmp_path / "kernel.img").touch()
    found.append(Stage("a", stage.makers, (str(tmp_path / "kernel.img"),)).key({}))
    assert len(set(found)) == len(found) - 1, "without the tool and with none declared it is the same"


def _said(path: Path) -> Iterator[str]:
    """Yield what Python's own parser finds imported in a module of roost's, as `closure` names it."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.partition(".")[0] == "roost")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            if node.module is not None and node.module.partition(".")[0] == "roost":
                yield from (f"{node.module}.{name.name}" for name in node.names)


def test_imports_are_read_as_python_reads_them() -> None:
    for path in sorted(closure.PACKAGE.rglob("*.py")):
        status = path.stat()
        found = set(closure._read(path, status.st_size, status.st_mtime_ns).imports)
        assert found == set(_said(path)), path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from roost.host import files, paths as p\n", {"roost.host.files", "roost.host.paths"}),
        ("from roost.store.cache import (\n    Cache,  # a remark, with files\n    key,\n)\n",
         {"roost.store.cache.Cache", "roost.store.cache.key"}),
        ("def f():\n    from roost.boot import run\n", {"roost.boot.run"}),
        ("import roost.events\nimport rooster\n", {"roost.events"}),
        ("if TYPE_CHECKING:\n    from roost.recipe.model import Recipe\n", {"roost.recipe.model.Recipe"}),
    ],
)  # fmt: skip
def test_forms_of_imports(text: str, found: set[str], tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text(text)
    assert set(closure._read(path, len(text), 1).imports) == found == set(_said(path))


def test_circles_and_absent_modules(tmp_path: Path) -> None:
    package = tmp_path / "roost"
    package.mkdir()
    for name, text in {"__init__": "", "a": "from roost import b, c\n", "b": "from roost.a import x\n"}.items():
        (package / f"{name}.py").write_text(text)
    assert {path.name for path in closure.files(["roost.a"], (), package)} == {"__init__.py", "a.py", "b.py"}


def test_a_maker_that_is_renamed_is_missed() -> None:
    with pytest.raises(ValueError, match=r"no such module: roost\.pipeline\.no_such"):
        closure.digest(["roost.pipeline.construct", "roost.pipeline.no_such"])


def test_it_takes_no_time() -> None:
    closure.digest(image.STAGE.makers)
    begin = time.process_time()
    closure.digest(image.STAGE.makers)
    assert time.process_time() - begin < 0.05


@pytest.mark.parametrize(
    ("argv", "tools"),
    [
        (["tar", "-x"], ["tar"]),
        (["/usr/bin/tar", "-x"], ["tar"]),
        (["unshare", "--mount", "--", "setpriv", "--pdeathsig", "KILL", "--", "find", "."], ["find"]),
        (["prlimit", "--core=0", "--", "debugfs", "-R", "stat x"], ["debugfs"]),
        (["sh", "-c", "exec tar 2>&1"], ["tar"]),
        (["sh", "-c", 'mount -t tmpfs x "$2" && export TMPDIR="$2" && shift 2 && exec "$@"', "sh", "6442450944",
          "/var/tmp", "tar", "-c"], ["tar"]),
        # A hook of roost's own, and a word of it that is the name of a tool too.
        (["sh", "-c", 'export TMPDIR="$2" && shift 2 && exec "$@"', "sh", "1", "/var/tmp", "/hooks/select", "tar"], []),
        (["sh", "-c", CHROOTED, "roost", "sh", "-c", 'exec find "$1"', "sh", "/"], ["find"]),
        ([sys.executable, "-P", "-m", "roost.customize.apply"], []),
        ([sys.executable, "-P", "-m", "roost.host.bounded", "/tree", "/usr/bin/tar"], []),
        ([sys.executable, "-P", "-m", "roost.host.mapped",
          *mapped.words(Path("/p"), mapped.Given([Path("/d")]), Limits(), ["tar", "-c"])], ["tar"]),
        (["/work/tree/usr/bin/busybox", "--list-full"], []),
        (["rm", "-rf", "x"], ["rm"]),
        (["no-such-tool"], ["no-such-tool"]),
        ([], []),
    ],
)  # fmt: skip
def test_which_tool_counts(argv: list[str], tools: list[str]) -> None:
    assert list(declared.counted(argv, process.environment()["PATH"])) == tools


@pytest.mark.parametrize("user", [True, False])
@pytest.mark.parametrize("chrooted", [True, False])
def test_a_namespace_is_looked_through(user: bool, chrooted: bool) -> None:
    argv = Namespace(user=user, network=False, chrooted=chrooted).argv(["tar", "-x", "-C", "/"])
    assert list(declared.counted(argv, process.environment()["PATH"])) == ["tar"]


def test_an_undeclared_tool_is_refused(tmp_path: Path) -> None:
    stage = Stage("a", ("roost.store.keys",), ("true", "find"))

    def make(directory: Path) -> None:
        process.run(["find", directory], deadline=20)
        process.run(["rm", "-rf", directory / "x"], deadline=20)
        process.run(["sort", "/dev/null"], deadline=20)

    with pytest.raises(UndeclaredToolError, match="sort"):
        stage.stored(Cache(tmp_path), {}, make)
    assert not (tmp_path / "a" / stage.key({})).exists()
    process.run(["sort", "/dev/null"], deadline=20)


def test_threads_of_a_stage_are_part_of_it() -> None:
    stage = Stage("a", ("roost.store.keys",))
    with stage.running(), Pool(max_workers=1) as pool:
        refused = pool.submit(process.run, ["sort", "/dev/null"], deadline=20)
        assert isinstance(refused.exception(), UndeclaredToolError)
        with declared.only(None):
            assert pool.submit(process.run, ["sort", "/dev/null"], deadline=20).result().returncode == 0


def test_it_is_the_tests_that_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(declared.VARIABLE)
    with Stage("a", ("roost.store.keys",)).running():
        process.run(["sort", "/dev/null"], deadline=20)
        with pytest.raises(HostError):
            process.run(["no-such-tool"], deadline=20)


def test_only_stages_put_things_into_the_cache() -> None:
    """Others are a download, kept under its own sha256, and machines to test with, of which nothing is in an image."""
    users = [
        str(path.relative_to(closure.PACKAGE))
        for path in sorted(closure.PACKAGE.rglob("*.py"))
        if re.search(r"cache\b[\w.()]*\.put\(", path.read_text())
    ]
    assert users == ["pipeline/probe.py", "pipeline/xen_dom0.py", "store/download.py", "store/stage.py"]
    assert keys.tools(["no-such-tool", "/no/such/file"]) == {}
