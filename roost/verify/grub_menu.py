"""Checks the grub.cfg of a finished image against the recipe: kernels and initrds that exist, and this root."""

from __future__ import annotations

import re
from typing import Any

from roost.recipe.words import shown
from roost.verify import booting
from roost.verify.examination import Examination, Promised
from roost.verify.texts import head, text

_MODULE_DIRECTORIES = ("/usr/lib/modules", "/lib/modules")


def check(exam: Examination, systems: list[Promised]) -> None:
    """Check that grub.cfg starts an existing kernel and initrd with this root."""
    paths = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
    found = next((found for path in paths if (found := text(exam.guest, path)) is not None), None)
    if found is None:
        exam.wrong.append(f"there is no {paths[0]}")
        return
    entries = booting.menu(found)
    if not entries:
        exam.wrong.append("grub.cfg has no menu entry")
    own_boot = any(entry.area.mount == "/boot" for entry in systems)
    root = next((entry.id for entry in systems if entry.area.mount == "/"), "")
    kernels = []
    for entry in entries:
        given = [word for word in entry.command_line if word.startswith("root=")]
        if [word.lower() for word in given] != [f"root=UUID={root}".lower()]:
            exam.wrong.append(f"grub.cfg: '{shown(' '.join(given)) or 'no root='}' is not root=UUID={root}")
        kernels.append(_kernel(exam, entry, "/boot" if own_boot else ""))
    exam.facts["kernels"] = [kernel for kernel in kernels if kernel]
    exam.findings.append(f"grub.cfg: {len(entries)} entries, kernel and initrd present, root=UUID={root}")


def _kernel(exam: Examination, entry: booting.Entry, prefix: str) -> dict[str, Any] | None:
    if entry.kernel is None:
        exam.wrong.append(f"grub.cfg: the entry '{shown(entry.title)}' starts no kernel")
        return None
    path = prefix + re.sub(r"^\([^)]*\)", "", entry.kernel)
    begin = head(exam.guest, path, 32768)
    version = booting.kernel_version(begin) if begin else None
    if version is None:
        exam.wrong.append(f"the kernel {shown(path)} of grub.cfg is missing or not a Linux kernel")
        return None
    if not exam.recipe.busybox_initrd and not any(
        exam.guest.exists(f"{directory}/{version}") for directory in _MODULE_DIRECTORIES
    ):
        exam.wrong.append(f"the image has no modules for its kernel {shown(version)}")
    initrds = []
    for name in entry.initrds:
        initrd = prefix + re.sub(r"^\([^)]*\)", "", name)
        begin = head(exam.guest, initrd, 8)
        if begin is None or not begin.startswith(booting.INITRD_MAGIC):
            exam.wrong.append(f"the initrd {shown(initrd)} of grub.cfg is missing or not an initrd")
        else:
            initrds.append(initrd)
    if not entry.initrds:
        exam.wrong.append(f"grub.cfg: the entry '{shown(entry.title)}' loads no initrd")
    return {"path": path, "version": version, "initrds": initrds}
