"""Every way to submit the image `smoke` that its submit vocabulary has, as jobs for a pool."""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roost.condor.from_recipe import BuiltFiles
from roost.recipe import loader
from roost.recipe.model import Recipe
from roost.store import manifest
from tests.images.calls import PROJECT, roost
from tests.pool.job import Job
from tests.unit.submitting import submit_description

#: What each job of the file of jobs gets as input; the example job adds it up.
NUMBERS: Mapping[str, Sequence[int]] = {"one": (1, 2, 3), "two": (10, 20), "three": (7,)}


def recipe(**submit: Any) -> Recipe:
    """Return the recipe of `smoke`, its `submit` part changed."""
    shipped = loader.load("smoke", PROJECT).recipe
    return shipped.model_copy(update={"submit": shipped.submit.model_copy(update=submit)})


def image(built: Path, directory: Path) -> BuiltFiles:
    """Copy the image's disks into an empty directory; return what the description is to know of them."""
    record = manifest.read(built)
    assert record is not None
    for file in record.files:
        subprocess.run(["cp", "--sparse=always", str(built / file.name), str(directory)], check=True)
    return BuiltFiles(directory.absolute(), {file.name: file.virtual for file in record.files})


def _job(directory: Path, text: str, *, shared: bool = False) -> Job:
    (directory / "job.sub").write_text(text)
    return Job(directory.name, directory / "job.sub", shared=shared)


def all_returned(built: Path, directory: Path) -> Job:
    """Two disks, both of which come back under names of their own."""
    files = image(built, directory)
    return _job(directory, submit_description(recipe(returns=("root", "io")), "kvm", files=files))


def to_directory(built: Path, directory: Path) -> Job:
    """What comes back goes to a directory."""
    files = image(built, directory)
    (directory / "results").mkdir()
    return _job(directory, submit_description(recipe(), "kvm", files=files, output_directory="results"))


def none_returned(built: Path, directory: Path) -> Job:
    """Nothing is asked back."""
    files = image(built, directory)
    return _job(directory, submit_description(recipe(returns=()), "kvm", files=files))


def no_output(built: Path, directory: Path) -> Job:
    """vm_no_output_vm: HTCondor empties the sandbox."""
    files = image(built, directory)
    return _job(directory, submit_description(recipe(returns=(), no_output=True), "kvm", files=files))


def overlay(built: Path, directory: Path) -> Job:
    """The root disk is an overlay: its base travels with it, and only the overlay is in vm_disk."""
    files = image(built, directory)
    (directory / "root.qcow2").rename(directory / "base.qcow2")
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "root.qcow2"]
    subprocess.run(argv, cwd=directory, check=True, timeout=60)
    pair = BuiltFiles(
        files.directory, {**files.sizes, "base.qcow2": files.sizes["root.qcow2"]}, {"root.qcow2": "base.qcow2"}
    )
    return _job(directory, submit_description(recipe(returns=("root", "io")), "kvm", files=pair))


def shared(built: Path, directory: Path) -> Job:
    """Nothing travels: the disks are on a file system that all machines see, and change in place."""
    files = image(built, directory)
    return _job(directory, submit_description(recipe(), "kvm", transfer="shared", files=files), shared=True)


def jobs_file(built: Path, directory: Path) -> Job:
    """One cluster from a file of jobs, each with an io disk and an input of its own."""
    files = image(built, directory)
    for name, numbers in NUMBERS.items():
        shutil.copyfile(directory / "io.raw", directory / f"io-{name}.raw")
        (directory / "numbers.txt").write_text("".join(f"{number}\n" for number in numbers))
        argv = ["debugfs", "-w", "-f", "-", f"io-{name}.raw"]
        # The guest makes the directory itself when it is missing.
        script = b"mkdir /input\ncd /input\nwrite numbers.txt numbers.txt\n"
        subprocess.run(argv, cwd=directory, check=True, timeout=60, input=script, capture_output=True)
    (directory / "jobs.csv").write_text("io\n" + "".join(f"io-{name}.raw\n" for name in NUMBERS))
    return _job(directory, submit_description(recipe(), "kvm", files=files, jobs=directory / "jobs.csv"))


#: Values that condor_submit would split, cut or expand if they stood in the rows of its queue statement.
VALUES: Mapping[str, tuple[str, str]] = {
    "1": ("common/ one.txt", "two words, a comma"),
    "2": ("'my numbers.txt' common/", 'she said "yes", $(Cluster) and #'),
}


def jobs_values(built: Path, directory: Path) -> Job:
    """A file of jobs with blanks, commas, quotes and dollars in its values, and inputs whose names have a blank."""
    files = image(built, directory)
    (directory / "common").mkdir()
    (directory / "common" / "note").write_text("for all\n")
    for name, numbers in (("one.txt", (1, 2, 3)), ("my numbers.txt", (10, 20))):
        (directory / name).write_text("".join(f"{number}\n" for number in numbers))
    with (directory / "jobs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        # The disk is not the first column, and the value that is the hardest to carry is not the last.
        rows.writerow(["note", "inputs", "io"])
        rows.writerows([note, inputs, f"io-{name}.raw"] for name, (inputs, note) in VALUES.items())
    made = roost("io", "smoke", "--jobs", "jobs.csv", cwd=directory, env={"ROOST_ROOT": str(PROJECT)})
    assert made.code == 0, made.err
    return _job(directory, submit_description(recipe(), "kvm", files=files, jobs=directory / "jobs.csv"))


def raw_root(built: Path, directory: Path) -> Job:
    """A raw root disk under another name beside a qcow2 io disk: the layout of the largest known user."""
    image(built, directory)
    pairs = (("root.qcow2", "qcow2", "system.img", "raw"), ("io.raw", "raw", "data.qcow2", "qcow2"))
    for source, old, target, new in pairs:
        argv = ["qemu-img", "convert", "-q", "-f", old, "-O", new, source, target]
        subprocess.run(argv, cwd=directory, check=True, timeout=60)
        (directory / source).unlink()
    lines = [
        "universe = vm", "executable = smoke", "vm_type = kvm", "vm_memory = 256", "request_memory = 256",
        "vm_disk = system.img:vda:w:raw,data.qcow2:vdb:w:qcow2",
        "transfer_input_files = system.img,data.qcow2", "transfer_output_files = data.qcow2",
        'transfer_output_remaps = "data.qcow2=data-$(Cluster).$(Process).qcow2"',
        "should_transfer_files = YES", "when_to_transfer_output = ON_EXIT", "log = job.log", "queue",
    ]  # fmt: skip
    return _job(directory, "".join(f"{line}\n" for line in lines))


ALL = {
    "all-returned": all_returned,
    "to-directory": to_directory,
    "none-returned": none_returned,
    "no-output": no_output,
    "overlay": overlay,
    "shared": shared,
    "jobs-file": jobs_file,
    "jobs-values": jobs_values,
    "raw-root": raw_root,
}
