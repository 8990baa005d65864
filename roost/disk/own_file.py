"""A file system that is made in a file of its own, before the file is put into its place on a disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from roost.disk.ext import FileSystemSource
from roost.disk.measure import Content, Entry
from roost.recipe.model import FileSystem


@dataclass(frozen=True, slots=True)
class FileSystemSpec:
    """One such file system: what it is, what goes in, and its size, or else the bytes that must be free in the end."""

    filesystem: FileSystem
    uuid: UUID
    label: str | None
    size: int | None
    free: int
    source: FileSystemSource | None
    entries: tuple[Entry, ...]
    content: Content
    epoch: int


@dataclass(frozen=True, slots=True)
class FileSystemFile:
    """A file system in a file of its own: a multiple of MiB; `free` bytes for a normal user, None when not asked."""

    path: Path
    size: int
    free: int | None
