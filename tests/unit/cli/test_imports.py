"""What a command loads: a cheap one waits for no library and no room of the house that it does not use.

Each runs in an interpreter of its own. Modules are counted, not seconds: a busy machine changes nothing here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import roost

#: What takes tens of milliseconds each, by the name that is loaded.
HEAVY = ("botocore", "cryptography", "cyclonedx", "fsspec", "guestfs", "htcondor", "paramiko", "qemu", "rich", "s3fs")
#: All of these have to do with a recipe's values, or with templates.
LANGUAGE = ("jinja2", "pydantic", "regex", "ruamel")

COMMAND = """
import contextlib, io, json, sys
sys.argv = ["roost", *sys.argv[1:]]
from roost.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    try:
        main()
    except SystemExit as end:
        status = end.code
    else:
        status = 0
print(json.dumps({"status": status or 0, "modules": sorted(sys.modules)}))
"""
IMPORT = "import json, sys, importlib; importlib.import_module(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"

RECIPE = """\
name: x
os: {debian: {suite: bookworm}}
disks: [{name: root, partitions: [{mount: /, free: 5MiB}]}]
"""
SUBMIT = """\
universe = vm
vm_type = kvm
vm_memory = 512
vm_disk = root.qcow2:vda:w:qcow2
transfer_input_files = root.qcow2
queue
"""


def _run(*words: str, code: str = COMMAND, cwd: Path | None = None) -> str:
    env = {**os.environ, "PYTHONPATH": str(Path(roost.__file__).parents[1])}
    argv = [sys.executable, "-c", code, *words]
    done = subprocess.run(argv, check=False, cwd=cwd, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(*words: str, cwd: Path | None = None) -> list[str]:
    """Return the modules that a command has loaded when it ends."""
    answer = json.loads(_run(*words, cwd=cwd))
    assert answer["status"] in (0, 1), "the call is right, whatever it finds"
    found: list[str] = answer["modules"]
    return found


def _among(names: tuple[str, ...], modules: list[str]) -> set[str]:
    return {one for one in names if any(module == one or module.startswith(f"{one}.") for module in modules)}


def _rooms(modules: list[str]) -> set[str]:
    return {module.split(".")[1] for module in modules if module.startswith("roost.")}


@pytest.mark.parametrize("words", [("--list",), ("--version",), ("build", "--help")])
def test_the_list_and_the_help_load_the_command_line_only(words: tuple[str, ...], tmp_path: Path) -> None:
    modules = loaded(*words, cwd=tmp_path)
    assert _rooms(modules) <= {"cli", "errors", "events", "host", "recipe"}
    assert _among((*HEAVY, *LANGUAGE), modules) == set()
    assert len([module for module in modules if module.startswith("roost")]) < 60


def test_the_lint_loads_the_language_of_submit_descriptions_only(tmp_path: Path) -> None:
    (tmp_path / "job.sub").write_text(SUBMIT)
    modules = loaded("lint", "job.sub", cwd=tmp_path)
    assert _rooms(modules) <= {"cli", "condor", "errors", "events", "host", "pipeline", "recipe"}
    # condor_submit's own parser is asked in a process of its own.
    assert _among((*HEAVY, "jinja2", "regex", "ruamel"), modules) == set()


def test_the_list_of_recipes_loads_no_builder_and_no_publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/x.yaml").write_text(RECIPE)
    monkeypatch.setenv("ROOST_ROOT", str(tmp_path))
    modules = loaded("recipes", cwd=tmp_path)
    assert _among(HEAVY, modules) == set()
    assert _rooms(modules).isdisjoint({"boot", "catalogue", "publish", "verify"})


def test_a_build_that_finds_nothing_to_do_loads_nothing_that_makes_images() -> None:
    modules = json.loads(_run("roost.pipeline.build", code=IMPORT))
    assert _among(HEAVY, modules) == set()
    assert _rooms(modules).isdisjoint({"boot", "catalogue", "publish", "verify"})
    assert {"roost.pipeline.construct", "roost.pipeline.edit", "roost.condor.lint"}.isdisjoint(modules)
    assert {"roost.host.guestfs", "roost.disk.ext", "roost.kernel.check", "roost.kernel.files"}.isdisjoint(modules)
    assert not [
        module for module in modules if module in {f"roost.sources.{key}" for key in ("tree", "tarball", "image")}
    ]


def test_a_command_loads_no_part_of_invoke_that_it_does_not_use() -> None:
    code = (
        "import contextlib, io, json, sys\n"
        "from roost.__main__ import main\n"
        "sys.argv = ['roost', '--version']\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main()\n"
        "seen = sorted(sys.modules)\n"
        "import importlib.metadata, unittest.mock, invoke.vendor.yaml\n"
        "whole = unittest.mock.Mock() is not None and invoke.vendor.yaml.safe_load('a: 1') == {'a': 1}\n"
        "whole = whole and importlib.metadata.version('invoke') != ''\n"
        "print(json.dumps({'modules': seen, 'whole': whole}))"
    )
    answer = json.loads(_run(code=code))
    assert answer["whole"], "others get the modules themselves"
    assert _among(("asyncio", "importlib.metadata", "invoke.vendor.yaml", "unittest"), answer["modules"]) == set()


def test_what_a_task_loads_is_compiled_once(tmp_path: Path) -> None:
    (tmp_path / "job.sub").write_text(SUBMIT)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= {"PYTHONPATH": str(Path(roost.__file__).parents[1]), "PYTHONPYCACHEPREFIX": str(tmp_path / "compiled")}
    argv = [sys.executable, "-m", "roost", "lint", "job.sub"]
    done = subprocess.run(argv, check=False, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode in (0, 1), done.stderr
    compiled = {path.name.partition(".")[0] for path in (tmp_path / "compiled").rglob("roost/condor/*.pyc")}
    assert "lint" in compiled


def test_a_command_collects_what_it_lets_go_of() -> None:
    code = (
        "import gc, roost.cli.main, weakref\n"
        "class Circle: pass\n"
        "one = Circle(); one.itself = one; seen = weakref.ref(one); del one\n"
        "kept = [[] for _ in range(160_000)]\n"
        "print(seen() is None and gc.isenabled())"
    )
    assert _run(code=code).strip() == "True"


def test_the_measure_sees_what_is_loaded() -> None:
    modules = json.loads(_run("roost.pipeline.construct", code=IMPORT))
    assert "verify" in _rooms(modules) and _among(LANGUAGE, modules) != set()
