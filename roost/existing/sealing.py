"""Removes identity and traces from an existing image, as `roost.customize.sealing` does in a tree; notes ties."""

from __future__ import annotations

import fnmatch
import re
import stat
from collections.abc import Iterable, Sequence

from roost.customize import apply, sealing, ties
from roost.customize.overlay import Item
from roost.customize.ties import Machine, Places
from roost.existing.editor import Editor


def seal(editor: Editor, init: str) -> None:
    """Remove identity and traces, unless the recipe disables it, as `sealing.seal` does in a tree."""
    if not editor.recipe.seal:
        return
    kept = [entry.path for entry in editor.recipe.files]
    if editor.guest.exists(sealing.MACHINE_ID):
        editor.write(sealing.MACHINE_ID, "")
    editor.inside.forget()
    homes = ["/root", *(f"/home/{name}" for name in editor.guest.names("/home"))]
    _remove(editor, sealing.ALWAYS, ())
    _remove(editor, [*sealing.TRACES, *(f"{home}/{name}" for home in homes for name in sealing.HISTORY)], kept)
    resolver = editor.guest.lstat(sealing.RESOLV_CONF)
    # A link belongs to a resolver; a file has the builder's name servers.
    if resolver is not None and stat.S_ISREG(resolver.mode) and sealing.RESOLV_CONF not in kept:
        editor.guest.remove(sealing.RESOLV_CONF)
    _empty(editor, editor.inside.resolve("/var/log", last=True))
    known = [user.name for user in editor.recipe.users if user.password is not None]
    shadow = editor.read("/etc/shadow")
    for path, text in (("/etc/shadow", shadow), ("/etc/passwd", editor.read("/etc/passwd"))):
        shadowed = path == "/etc/passwd" and shadow is not None
        if text is not None and (changed := sealing.locked(text, known, shadowed=shadowed)) != text:
            editor.write(path, changed)
            editor.notes.append(f"accounts had passwords: those in {path} are locked now")
    editor.inside.forget()
    if init == "systemd" and editor.exists("/usr/sbin/sshd"):
        directory = "/etc/systemd/system"
        editor.lay(
            [
                Item(f"{directory}/roost-ssh-keys.service", 0o644, apply.SSH_KEYS_UNIT.encode()),
                Item(
                    f"{directory}/multi-user.target.wants/roost-ssh-keys.service",
                    0o777,
                    link="../roost-ssh-keys.service",
                ),
            ]
        )


def _remove(editor: Editor, patterns: Iterable[str], kept: Sequence[str]) -> None:
    """Remove what matches patterns with wildcards only in their last component."""
    for pattern in patterns:
        directory, _, names = pattern.rpartition("/")
        real = editor.inside.resolve(directory, last=True)
        for name in editor.guest.names(real):
            if fnmatch.fnmatchcase(name, names) and not sealing.is_kept(f"{directory}/{name}", kept):
                editor.guest.remove_tree(f"{real}/{name}")
    editor.inside.forget()


def _empty(editor: Editor, directory: str, depth: int = 0) -> None:
    """Remove the files below a directory, but not the directories."""
    for name in editor.guest.names(directory) if depth < 16 else ():
        path = f"{directory}/{name}"
        seen = editor.guest.lstat(path)
        if seen is not None and stat.S_ISREG(seen.mode):
            editor.guest.remove(path)
        elif seen is not None and stat.S_ISDIR(seen.mode):
            _empty(editor, path, depth + 1)


def untie(editor: Editor) -> None:
    """Remove what ties the image to another machine if that is safe and the image is sealed; note the rest."""
    kept = [entry.path for entry in editor.recipe.files]
    mac = editor.recipe.machine.mac
    machine = Machine(
        network=editor.recipe.machine.network != "none",
        mac=mac if mac != "auto" else None,
        seeded=editor.recipe.cloud_init is not None,
    )
    places = Places(
        lambda directory: editor.guest.names(editor.inside.resolve(directory, last=True)),
        lambda path: editor.text(path, ties.MOST_BYTES),
    )
    if editor.recipe.seal:
        for path, text, note in list(ties.untie(places, machine, kept)):
            editor.write(path, text)
            editor.notes.append(note)
    editor.notes += ties.look(places, machine, kept)
    root = editor.guest.stat("/")
    if root is not None and (root.uid != 0 or stat.S_IMODE(root.mode) & 0o5 != 0o5):
        editor.notes.append(
            f"the root directory of the image has mode {stat.S_IMODE(root.mode):04o} and belongs to {root.uid}:"
            f"{root.gid}: services that run as other users may be unable to read anything. Write `run: [chown 0:0 /,"
            " chmod 755 /]` if that is not meant"
        )
    config = editor.text("/etc/selinux/config", ties.MOST_BYTES) or ""
    if re.search(r"^\s*SELINUX\s*=\s*enforcing\b", config, re.MULTILINE):
        editor.notes.append(
            "/etc/selinux/config: SELinux is enforcing, and what roost adds has no labels. Label it in a `run`"
            " command (setfiles, of policycoreutils), or let SELinux only warn: kernel: {parameters: [enforcing=0]}"
        )
