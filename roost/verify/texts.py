"""Reads files of an image for the read-back: whole, bounded, and only regular files."""

from __future__ import annotations

import stat

from roost.host.guestfs import Guest


class Wrong(str):
    """A difference between an image and its recipe; `key` is the key of the recipe in question."""

    key: tuple[str | int, ...]

    def __new__(cls, what: str, key: tuple[str | int, ...]) -> Wrong:
        """Make the text, and store the key."""
        made = super().__new__(cls, what)
        made.key = key
        return made


def head(guest: Guest, path: str, limit: int) -> bytes | None:
    """Return the first bytes of a regular file, links followed inside the image, or None if it does not exist."""
    if not path.startswith("/"):
        return None
    seen = guest.stat(path)
    if seen is None or not stat.S_ISREG(seen.mode):
        return None
    return guest.read(path, min(seen.size, limit))


def text(guest: Guest, path: str, limit: int = 1 << 20) -> str | None:
    """Return a regular file's text, links followed inside the image, or None if it does not exist."""
    content = head(guest, path, limit)
    return None if content is None else content.decode("utf-8", "replace")
