"""What an image depends on beside its recipe's text: local files, roost's own code, the host's tools.

Everything that can change a byte of an image is in the key under which it is built, so that nothing stale
is ever taken for fresh and nothing is built twice.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from roost.host import files, jsontext, namespace, paths, process
from roost.recipe.model import Recipe
from roost.rootfs import passwords
from roost.staging import write_atomically

#: Tools whose version shows in the bytes of an image; their size and time stand for the version, at no cost.
TOOLS = (
    "mke2fs",
    "mkswap",
    "mkfs.vfat",
    "sfdisk",
    "qemu-img",
    "grub-mkimage",
    "grub2-mkimage",
    "debugfs",
    "mkfs.xfs",
    "mkfs.btrfs",
    "mksquashfs",
    "mkfs.erofs",
    "cpio",
    "zstd",
)


def digest(value: object) -> str:
    """Return the sha256 of a JSON value, keys sorted: the form of every key."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes, as hexadecimal."""
    with files.open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _local_names(recipe: Recipe) -> Iterator[str]:
    for entry in recipe.files:
        yield from (name for name in (entry.source, entry.template) if name is not None)
    for user in recipe.users:
        yield from user.ssh_keys
    if recipe.os.debian is not None:
        yield from (repository.key for repository in recipe.os.debian.repositories)
    if recipe.cloud_init is not None:
        named = (recipe.cloud_init.user_data, recipe.cloud_init.network_config)
        yield from (name for name in named if isinstance(name, str))


def _source_names(recipe: Recipe) -> Iterator[str]:
    for source in (recipe.os.tree, recipe.os.tarball, recipe.os.image):
        if source is not None and source.path is not None:
            yield source.path


def fingerprint(folder: Path) -> str:
    """Return a digest of all names below a folder with their kind, mode, owner, size and times: no file is read.

    It also changes where nothing in the folder did, in another copy of it. What belongs to the user's subordinate ids
    is seen in the namespace only.
    """
    argv = ["find", str(folder), "(", "-type", "d", "-printf", r"%P\0%y %m %U %G %T@ %C@\0", ")", "-o",
            "-printf", r"%P\0%y %m %U %G %T@ %C@ %s %l\0"]  # fmt: skip
    done = process.run(namespace.current().argv(argv), deadline=600, capture=True, what=f"cannot list {folder}")
    fields = done.stdout.split(b"\0")
    hashed = hashlib.sha256()
    for name, facts in sorted(zip(fields[::2], fields[1::2], strict=False)):
        hashed.update(name + b"\0" + facts + b"\0")
    return hashed.hexdigest()


def large_digest(path: Path) -> str:
    """Return the sha256 of a file, read again only when its size or times have changed."""
    seen = path.stat()
    state = [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, seen.st_dev]
    note = paths.cache_root() / "digests" / hashlib.sha256(os.fsencode(path.absolute())).hexdigest()
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        known = jsontext.read(note)
        if known["state"] == state:
            return str(known["sha256"])
    found = file_digest(path)
    # What was written a moment ago could be written again within the clock's tick.
    if time.time_ns() - seen.st_mtime_ns > 2_000_000_000 and path.stat() == seen:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(note, json.dumps({"state": state, "sha256": found}).encode())
    return found


def _walk(path: Path) -> Iterator[Path]:
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        yield Path(folder)
        yield from (Path(folder, name) for name in sorted(names))


def local_files(recipe: Recipe, folder: Path) -> dict[str, str]:
    """Return name → digest of content and mode for every local file that the recipe in `folder` puts in."""
    found: dict[str, str] = {}
    for name in sorted(set(_local_names(recipe))):
        for path in _walk(folder / name):
            found[str(path.relative_to(folder) if path.is_relative_to(folder) else path)] = _state(path)
    for name in _source_names(recipe):
        path = folder / name
        found[name] = f"tree {fingerprint(path)}" if path.is_dir() else f"source {large_digest(path)}"
    return found


def _state(path: Path) -> str:
    """Return the mode of a file, link or folder, with what is in it."""
    if path.is_symlink():
        content = f"link {path.readlink()}"
    elif path.is_file():
        content = file_digest(path)
    else:
        content = "folder"
    return f"{path.lstat().st_mode & 0o7777:o} {content}"


def boot_key(recipe: Recipe, folder: Path) -> str:
    """Return the key of the test boot: what the recipe says of it, and the job's inputs, links in them followed.

    It changes no byte of the image, so it is no part of the image's key.
    """
    found: dict[str, list[str]] = {}
    for name in recipe.boot_test.inputs:
        states = []
        for path in _walk(Path(os.path.realpath(folder / name))):
            states.append(f"{path} {_state(path)}")
            if path.is_symlink() and path.is_file():
                states.append(_state(path.resolve()))
        found[name] = states
    return digest({"boot_test": recipe.boot_test.model_dump(mode="json", by_alias=True), "inputs": found})


@functools.cache
def code() -> str:
    """Return a digest of roost's own code and templates: another roost may write other bytes."""
    package = Path(__file__).parent
    hashed = hashlib.sha256()
    for path in _walk(package):
        if path.suffix in {".py", ".j2", ".sh", ".service", ".conf"} or path.parent.name == "guest":
            hashed.update(str(path.relative_to(package)).encode() + b"\0")
            hashed.update(path.read_bytes() if path.is_file() else b"")
    return hashed.hexdigest()


def tools(names: Iterable[str] = TOOLS) -> dict[str, str]:
    """Return tool → identity of its file, for those that are installed."""
    found = {}
    for name in names:
        path = process.which(name)
        if path is not None:
            status = Path(path).stat()
            found[name] = f"{status.st_size}-{status.st_mtime_ns}"
    return found


def recipe_key(recipe: Recipe, folder: Path) -> str:
    """Return the key of a recipe with its local files: what a person may have changed since a build.

    What is said of the test boot alone is in `boot_key`: with another one the image is booted again, not built again.
    """
    given: dict[str, Any] = {
        "recipe": recipe.model_dump(mode="json", by_alias=True, exclude={"boot_test"}),
        "files": local_files(recipe, folder),
    }
    secret = passwords.digests(recipe, folder)
    return digest({**given, "passwords": secret} if secret else given)


def image_key(recipe: Recipe, folder: Path, rootfs: Mapping[str, Any]) -> str:
    """Return the key of a whole image; `rootfs` are the inputs of its root tree."""
    return digest(
        {
            "recipe": recipe_key(recipe, folder),
            "rootfs": rootfs,
            "code": code(),
            "tools": tools(),
        }
    )
