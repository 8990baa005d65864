"""A file system that is made in a separate file before it is copied to its place on a disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from roost.disk.ext import FileSystemSource
from roost.disk.measure import Content, Entry
from roost.recipe.model import FileSystem


@dataclass(frozen=True, slots=True)
class FileSystemSpec:
    """The parameters of such a file system: its type, its content, and its size, or else its final free bytes."""

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
    """A file system in a separate file: a multiple of MiB; `free` bytes for a normal user, None when not requested."""

    path: Path
    size: int
    free: int | None
