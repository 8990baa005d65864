"""What a given tree gets to become bootable (kernel, initrd, init), and why a tree cannot become an image."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from roost.errors import ImageError
from roost.host import namespace
from roost.kernel import initrd_choice
from roost.recipe.debian import Debian
from roost.sources import debian
from roost.sources.bootable import BootableTree
from roost.sources.given_tree import GivenTree
from roost.sources.source import Request

#: The suite of kernel and busybox for trees that are not Debian, unless the recipe sets one.
SUITE = "bookworm"
BUSYBOX_PACKAGE = "busybox-static"
#: The largest id that a user with the usual 65536 subordinate ids can give to a file.
LARGEST_SUBORDINATE = 65535
#: ELF machine numbers that an x86-64 kernel runs (elf.h): EM_X86_64, EM_386.
MACHINES = frozenset({62, 3})
_OTHER_MACHINES = {183: "arm64", 40: "arm", 243: "riscv", 21: "ppc64", 22: "s390x", 8: "mips", 258: "loongarch"}


def plan(request: Request, origin: Mapping[str, Any], base: GivenTree) -> BootableTree:
    """Return a given tree with its additions; `origin` is its entry in the manifest."""
    loaded, kernel, stages = request.loaded, request.kernel, request.stages
    recipe = loaded.recipe
    refused = refusal(base)
    if refused is not None:
        raise refused
    own_files = [entry.path for entry in recipe.files]
    for note in notes(base, network=recipe.machine.network != "none", kept=own_files):
        stages.note(note)
    if base.facts.dropped:
        stages.note(f"left out {base.facts.dropped} device nodes of the source: /dev is made by the guest's kernel")
    own = recipe.kernel.use is None and bool(base.facts.kernels)
    if not own and recipe.kernel.use is None:
        stages.note(f"the source brings no kernel: it gets {kernel.name} ({kernel.description})")
    added = not own and kernel.files is not None
    initrd_made = (not own and not added) or (own and (recipe.kernel.initrd == "busybox" or not base.facts.initrds))
    if initrd_made and recipe.kernel.initrd == "distribution":
        raise loaded.error(("kernel", "initrd"), "the source brings no initrd of its own", "leave initrd out")
    wanted = None
    if initrd_made or base.facts.init == "none":
        system = base.facts.os
        codename = system.get("VERSION_CODENAME", "") if system.get("ID") == "debian" else ""
        suite = recipe.kernel.suite or codename or SUITE
        packages = Debian(suite=suite, variant="unpacked", packages=(BUSYBOX_PACKAGE,))
        wanted = debian.bootstrap(request, packages, None if own else kernel, "busybox")
    return BootableTree(origin, base, wanted, initrd_made, initrd_choice.drivers(recipe, "busybox"), own)


def refusal(base: GivenTree) -> ImageError | None:
    """Return why a tree cannot become an image, or None."""
    facts = base.facts
    if facts.machine is not None and facts.machine not in MACHINES:
        name = _OTHER_MACHINES.get(facts.machine, f"ELF machine {facts.machine}")
        return ImageError(f"the programs of the tree are for {name}, not for x86-64", hint="use a tree for amd64")
    if facts.init == "other":
        return ImageError(
            "the tree's init is neither systemd nor busybox: roost does not know how to start a job with it",
            hint="install systemd-sysv in it, or take its init out to get busybox",
        )
    if not facts.shell and facts.init != "none":
        return ImageError("the tree has no /bin/sh, which the job's runner needs", hint="add a shell to it")
    return None


def notes(base: GivenTree, *, network: bool = False, kept: Collection[str] = ()) -> Iterator[str]:
    """Yield notes for the user about a tree that can become an image.

    `network` says whether its machine has a network, `kept` are the paths of the recipe's own files.
    """
    facts = base.facts
    yield from facts.notes
    yield from (tie for tie in facts.ties[network] if not tie.startswith(tuple(f"{path}:" for path in kept)))
    user = namespace.current().user
    if facts.labels and user:
        yield (
            f"{facts.labels} files of the source have SELinux labels, which only root can set: they are left out."
            " Build as root to keep them"
        )
    if facts.enforcing:
        which = "what roost adds has" if facts.labels and not user else "the files have"
        yield (
            f"SELinux is enforcing in the source, and {which} no labels. Label all of it in a `run` command (setfiles,"
            " of policycoreutils), or let it only warn: kernel: {parameters: [enforcing=0]}"
        )
    if facts.highest > LARGEST_SUBORDINATE and user:
        yield (
            f"files of the source belong to ids up to {facts.highest}: a user with 65536 subordinate ids cannot lay"
            " them out. Build as root, or give yourself more (/etc/subuid, /etc/subgid)"
        )
