"""A build directory as `inv build` and `inv boot` leave one, made in milliseconds; and a process that publishes and
dies.

The manifest, the submit descriptions and the seal are written by roost's own functions, and publishing goes through the
real gate; only the bytes of the disks and the verdict's story are made up.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from roost.boot import attestation, report
from roost.condor import submission
from roost.customize import inputs
from roost.events import Silent
from roost.host import checksum
from roost.pipeline import publish as publishing
from roost.publish import gate, provenance, sbom, signature
from roost.publish import gc as collection
from roost.publish.retention import Rules
from roost.publish.targets.kinds import open_target
from roost.recipe import loader
from roost.recipe.loader import Loaded
from roost.store import manifest, staging
from roost.store.manifest import BuiltFile, Manifest

PROJECT = Path(__file__).resolve().parents[2]
NAME = "smoke"
SIZES = {"root.qcow2": 3 << 20, "io.raw": 1 << 20}
EPOCH = 1_795_313_345
DEFAULT = {"kernel": "6.1.0-1", "packages": [{"name": "busybox", "version": "1:1.36", "architecture": "amd64"}]}


def project(directory: Path) -> Path:
    """Make a project with the shipped recipes and kernels; smoke is for kvm alone there, its files those of SIZES."""
    for name in ("recipes", "kernels"):
        shutil.copytree(PROJECT / name, directory / name)
    recipe = directory / "recipes/smoke.yaml"
    both = "hypervisors: [kvm, xen]"
    text = recipe.read_text()
    assert both in text
    recipe.write_text(text.replace(both, "hypervisors: [kvm]"))
    return directory


def load(root: Path, name: str = NAME) -> Loaded:
    """Return a recipe of a project."""
    return loader.load(name, root)


def built(
    root: Path,
    seed: int = 0,
    *,
    name: str = NAME,
    files: Mapping[str, bytes] | None = None,
    facts: Mapping[str, Any] | None = None,
    backing: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
) -> Path:
    """Make build/NAME of a project, not booted; the same seed makes the same bytes. With `facts` it has an SBOM.

    `backing` is overlay → base, `sources` what the manifest says of the recipe's files.
    """
    loaded = load(root, name)
    directory = root / "build" / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    rng = random.Random(seed)
    content = files or {one: rng.randbytes(size // 2) + bytes(size - size // 2) for one, size in SIZES.items()}
    records: list[BuiltFile] = []
    for one, data in content.items():
        path = directory / one
        path.write_bytes(data)
        kind = path.suffix[1:] if path.suffix in {".qcow2", ".raw"} else "kernel"
        records.append(manifest.describe(path, kind, len(data), checksum.sha256(path), (backing or {}).get(one)))
    submission.write(loaded, records, directory, directory)
    known = dict(facts or DEFAULT)
    if facts is not None:
        bill = sbom.document(name, loaded.recipe.description, facts, epoch=EPOCH)
        (directory / sbom.NAME).write_bytes(bill)
        known["sbom_sha256"] = hashlib.sha256(bill).hexdigest()
    record = Manifest(
        name,
        hashlib.sha256(b"key").hexdigest(),
        {"recipe": inputs.recipe_key(loaded.recipe, loaded.directory), "rootfs": "0" * 64},
        {"epoch": EPOCH, "index": ["ab" * 32], "files": sources or {"files/run": f"755 {'cd' * 32}"}},
        tuple(records),
        known,
        {"disks": 1.0},
        recipe=loaded.recipe.model_dump(mode="json", by_alias=True),
    )
    manifest.write(directory, record)
    return directory


def verdict(directory: Path, **changes: Any) -> dict[str, Any]:
    """Return a verdict that is right for a build directory, with changes."""
    record = manifest.read(directory)
    assert record is not None
    sums = {one.name: one.sha256 for one in record.files if one.format in {"qcow2", "raw"}}
    bases = {one.backing for one in record.files if one.backing is not None}
    disks = [{"name": name, "sha256": digest} for name, digest in sums.items() if name not in bases]
    found: dict[str, Any] = {
        "name": record.name,
        "passed": True,
        "phase": "power-off",
        "cause": None,
        "detail": "the guest did its job and powered itself off",
        "accelerator": "tcg",
        "hypervisor": "kvm",
        "machine": "pc",
        "seconds": {"kernel": 1.0},
        "expectations": [
            {"what": "console", "met": True, "seen": "job finished"},
            {"what": "/output/result.txt", "met": True, "seen": "42"},
        ],
        "filesystems": [{"disk": one["name"], "partition": 1, "type": "ext", "clean": True} for one in disks],
        "disks": disks,
        "kernel": [],
        "bases": [{"name": name, "sha256": digest} for name, digest in sums.items() if name in bases],
        "eviction": {"tried": True, "obeyed": True, "seconds": 1.0, "seen": "it powered off"},
        "checkpoint": {"tried": False, "restored": None, "seconds": None, "seen": "not asked for"},
        "console": "reboot: Power down",
        "serial_log": str(directory / "boot/kvm/serial.log"),
        "report": str(directory / "boot/report.html"),
        "finished": "2026-11-23T17:37:40Z",
    }
    return {**found, **changes}


def booted(directory: Path, *, sealed: bool = True, under: str = "kvm", **changes: Any) -> None:
    """Leave a verdict, a console and a report in a build directory, sealed as a boot does."""
    boot = directory / "boot"
    (boot / under).mkdir(parents=True, exist_ok=True)
    (boot / under / "serial.log").write_bytes(b"\x1b[0mroost: job finished: exit 0\r\n")
    (boot / report.place(under)).write_text("<!doctype html><title>smoke</title><p>passed")
    told = verdict(directory, **{"hypervisor": under, **changes})
    (boot / f"{under}.json").write_text(json.dumps(told, indent=1))
    if sealed:
        attestation.write(directory, under)


def ready(root: Path, seed: int = 0) -> Path:
    """Make a build directory that may be published."""
    directory = built(root, seed)
    booted(directory)
    return directory


def rewrite_manifest(directory: Path, **files: str) -> None:
    """Change sums in manifest.json, as somebody would who changes a disk: name with _ for . → sha256."""
    record = manifest.read(directory)
    assert record is not None
    sums = {name.replace("_", "."): digest for name, digest in files.items()}
    entries = tuple(replace(one, sha256=sums.get(one.name, one.sha256)) for one in record.files)
    manifest.write(directory, replace(record, files=entries))


class Heard(Silent):
    """Events that keep what was said of the progress of stages."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.bytes: dict[str, list[tuple[float, float]]] = {}
        self.words: list[str] = []

    def begin(self, name: str, detail: str) -> None:
        self.begun.append(name)

    def progress(self, name: str, done: float, total: float) -> None:
        self.bytes.setdefault(name, []).append((done, total))

    def doing(self, name: str, text: str) -> None:
        self.words.append(f"{name}: {text}")


def publish(root: Path, url: str, **options: Any) -> publishing.Published:
    """Send a build directory through the real gate into a catalogue."""
    name = str(options.pop("name", NAME))
    directory = root / "build" / name
    target = open_target(url)
    allow = bool(options.pop("allow_untested", False))
    events = options.pop("events", Silent())
    with staging.lock(directory, lambda: None):
        passed = gate.examine(load(root, name), directory, allow_untested=allow)
        key = signature.load_private_key(None, Silent())
        wanted = publishing.Options(**options)
        return publishing.write(passed, target, private_key=key, events=events, options=wanted)


class Nursery:
    """A process that has imported all of roost and forks publishers, which it kills when told to."""

    def __init__(self, env: Mapping[str, str]) -> None:
        argv = [sys.executable, "-m", "tests.publish.lab"]
        self._process = subprocess.Popen(
            argv,
            cwd=PROJECT,
            env={**os.environ, **env, "PYTHONPATH": str(PROJECT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, root: Path, url: str, delays: Sequence[float | None] = (None,), **options: Any) -> list[Any]:
        """Publish once per delay, all at once; kill each after its delay (None: not). Return what each left.

        With the option `keep` each is a collection that keeps so many versions.
        """
        self.ask(root, url, delays, **options)
        return self.answers()

    def ask(self, root: Path, url: str, delays: Sequence[float | None] = (None,), **options: Any) -> None:
        """Start what `start` does, and do not wait for it."""
        assert self._process.stdin
        request = {"root": str(root), "url": url, "delays": list(delays), "options": options}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def answers(self) -> list[Any]:
        """Return what was left by what `ask` started."""
        assert self._process.stdout
        answers: list[Any] = json.loads(self._process.stdout.readline())
        return answers

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@contextmanager
def nursery(env: Mapping[str, str]) -> Iterator[Nursery]:
    """Yield a nursery that is gone afterwards."""
    made = Nursery(env)
    try:
        yield made
    finally:
        made.close()


def read_models_once() -> None:
    """Have botocore keep its models of S3 and of its endpoints: it reads two megabytes of JSON for each new client."""
    from botocore.loaders import JSONFileLoader  # type: ignore[import-untyped]

    known: dict[str, Any] = {}
    load = JSONFileLoader.load_file

    def load_once(self: JSONFileLoader, path: str) -> Any:
        if path not in known:
            known[path] = load(self, path)
        return known[path]

    JSONFileLoader.load_file = load_once


def _child(request: Mapping[str, Any], pipe: int) -> None:
    code = 1
    try:
        os.environ["ROOST_ROOT"] = request["root"]
        os.chdir(request["root"])
        begin = time.monotonic()
        if "keep" in request["options"]:
            report = collection.collect(request["url"], Rules(request["options"]["keep"]), Silent(), delete=True)
            answer = report.to_json()
        else:
            done = publish(Path(request["root"]), request["url"], **request["options"])
            answer = {"version": done.release.version, "new": done.new, "sent": done.sent, "kept": done.kept}
        answer["seconds"] = time.monotonic() - begin
        os.write(pipe, json.dumps(answer).encode())
        code = 0
    except Exception as error:
        os.write(pipe, json.dumps({"error": str(error)}).encode())
        if not hasattr(error, "exit_code"):
            traceback.print_exc()
    finally:
        os._exit(code)


def _serve() -> None:
    provenance.tool_versions()
    if "AWS_ENDPOINT_URL" in os.environ:
        import boto3

        read_models_once()
        # Those that are forked find the models here.
        boto3.client("s3")
    for line in sys.stdin:
        request = json.loads(line)
        children = []
        for delay in request["delays"]:
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                _child(request, writing)
            os.close(writing)
            children.append((pid, reading, delay))
        begin = time.monotonic()
        answers: list[Any] = []
        for pid, reading, delay in sorted(children, key=lambda child: child[2] or 1e9):
            if delay is not None:
                time.sleep(max(0.0, begin + delay - time.monotonic()))
                os.kill(pid, signal.SIGKILL)
            with os.fdopen(reading, "rb") as pipe:
                said = pipe.read()
            os.waitpid(pid, 0)
            answers.append(json.loads(said) if said else None)
        sys.stdout.write(json.dumps(answers) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
