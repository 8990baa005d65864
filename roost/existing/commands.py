"""Programs of an existing image, run in the appliance: its tool for services, and the recipe's commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from roost.customize.overlay import Item
from roost.errors import ImageError
from roost.existing.editor import Editor
from roost.host import bounded, process
from roost.recipe.words import shown

#: The host's address in libguestfs' appliance (guestfs(3), guestfs_set_network).
_HOST = "169.254.2.2"
#: Seconds for all programs of the image.
DEADLINE = 3600.0


def _exported(variables: Mapping[str, str]) -> str:
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def _proxies() -> dict[str, str]:
    """Return the host's proxy variables; a proxy on the host itself gets the host's address in the appliance."""
    local = re.compile(r"(?<=[/@])(localhost|127\.0\.0\.1)(?=[:/]|$)")
    return {name: local.sub(_HOST, value) for name, value in process.proxies().items()}


def services(editor: Editor, init: str) -> None:
    """Enable and disable services with the image's own tool."""
    for verb, units in (("enable", editor.recipe.services.enable), ("disable", editor.recipe.services.disable)):
        if not units:
            continue
        if init == "systemd":
            script = shlex.join(["systemctl", "--no-reload", verb, "--", *units])
        elif init == "openrc":
            names = [unit.removesuffix(".service") for unit in units]
            words = ["add", "default"] if verb == "enable" else ["del", ""]
            script = " && ".join(f"rc-update {words[0]} {shlex.quote(name)} {words[1]}" for name in names)
        else:
            raise ImageError(f"cannot {verb} {' '.join(units)}: the image has neither systemd nor OpenRC")
        _run(editor, script, f"cannot {verb} {' '.join(units)}: is the package that provides it installed?")


def run(editor: Editor) -> None:
    """Run the recipe's commands; no service starts meanwhile (policy-rc.d(8)), and the network is on request only.

    The appliance has a network only if a command asks for it; its resolver is libguestfs' own.
    """
    commands = editor.recipe.commands
    if not commands:
        return
    mine = not editor.exists(bounded.POLICY)
    if mine:
        editor.lay([Item(bounded.POLICY, 0o755, bounded.NO_SERVICES.encode())])
    networked = any(entry.network for entry in commands)
    if networked:
        editor.guest.network(False)
    for number, entry in enumerate(commands):
        failed = f"run command {number + 1} failed: {shown(entry.command)}"
        script = f"exec /bin/sh -c {shlex.quote(entry.command)}"
        if entry.network:
            editor.guest.network(True)
            _run(editor, script, failed, _proxies())
            editor.guest.network(False)
        else:
            _run(editor, script, failed)
    if mine:
        editor.inside.forget()
        editor.guest.remove(editor.inside.resolve(bounded.POLICY, last=False))


def _run(editor: Editor, script: str, failed: str, extra: Mapping[str, str] | None = None) -> None:
    if not editor.exists("/bin/sh"):
        raise ImageError("the image has no /bin/sh, and services and run commands need one")
    status, printed = editor.guest.run(f"{_exported({**bounded.ENVIRONMENT, **(extra or {})})}cd /\n{script}", DEADLINE)
    editor.inside.forget()
    with editor.log.open("a") as file:
        file.write(f"$ {script}\n{printed}")
    if status != 0:
        tail = "\n".join(line for line in printed.splitlines() if line.strip()) if printed else ""
        raise ImageError(
            f"{failed} (status {status})",
            hint="the recipe's services and run commands",
            log=editor.log,
            tail="\n".join(tail.splitlines()[-12:]),
        )
