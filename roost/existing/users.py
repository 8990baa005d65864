"""The recipe's users in an existing image: accounts, homes, keys."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import replace

from roost.customize import accounts, passwords
from roost.customize.overlay import Item
from roost.errors import ImageError
from roost.existing.editor import LIMIT, Editor
from roost.host import files
from roost.recipe.customize import User


def add(editor: Editor) -> None:
    """Add the recipe's accounts with their homes and keys."""
    hashes = passwords.hashes(editor.loaded)
    for number, user in enumerate(editor.recipe.users):
        _add(editor, number, user, hashes.get(user.name))


def _add(editor: Editor, index: int, user: User, password: str | None) -> None:
    """Add an account with its home and keys; `index` is its index in the recipe, `password` a hash or None."""
    texts = {path: editor.read(path) for path in ("/etc/passwd", "/etc/group", "/etc/shadow")}
    missing = [path for path, text in texts.items() if text is None]
    if missing:
        raise ImageError(f"the image has no {missing[0]}, and the recipe has users")
    passwd, group, shadow = (text or "" for text in texts.values())
    try:
        days = max(1, editor.epoch // 86400)
        account = accounts.Account(user.name, user.shell, days, user.groups, password)
        added = accounts.add(passwd, group, shadow, account)
    except accounts.AccountError as error:
        where = editor.loaded.where(("users", index, error.field))
        raise ImageError(str(error).replace("the tree", "the image"), where=where) from error
    if not editor.exists(user.shell):
        editor.notes.append(f"user {user.name}: the image has no {user.shell}")
    for path, changed in zip(texts, (added.passwd, added.group, added.shadow), strict=True):
        editor.write(path, changed)
    number = added.number
    items = [Item(added.home, 0o755, owner=number, group=number)]
    skeleton = editor.inside.resolve("/etc/skel", last=True)
    items += [replace(item, owner=number, group=number) for item in _copies(editor, skeleton, added.home)]
    keys = [
        line for file in user.ssh_keys for line in files.read_text(editor.loaded.directory / file).splitlines() if line
    ]
    if keys:
        text = "".join(f"{line.strip()}\n" for line in keys)
        items.append(Item(f"{added.home}/.ssh", 0o700, owner=number, group=number))
        items.append(Item(f"{added.home}/.ssh/authorized_keys", 0o600, text.encode(), owner=number, group=number))
    editor.lay(items)


def _copies(editor: Editor, directory: str, target: str) -> Iterator[Item]:
    """Yield everything below a directory of the image as items below another."""
    for name in sorted(editor.guest.names(directory)):
        path, copy = f"{directory}/{name}", f"{target}/{name}"
        seen = editor.guest.lstat(path)
        if seen is None:
            continue
        mode = stat.S_IMODE(seen.mode)
        if stat.S_ISLNK(seen.mode):
            yield Item(copy, 0o777, link=editor.guest.readlink(path))
        elif stat.S_ISDIR(seen.mode):
            yield Item(copy, mode)
            yield from _copies(editor, path, copy)
        elif stat.S_ISREG(seen.mode) and seen.size <= LIMIT:
            yield Item(copy, mode, editor.guest.read(path, seen.size))
