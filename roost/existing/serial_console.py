"""A serial console for the kernels that an existing image's own boot loader starts; the verdict depends on it."""

from __future__ import annotations

from roost.existing import bootconfig
from roost.existing.editor import Editor
from roost.kernel.inspect import KernelFiles
from roost.recipe.cmdline import CONSOLES


def add(editor: Editor, kernel: KernelFiles | None) -> None:
    """Add a serial console and the recipe's parameters to the kernels of the image's own boot loader.

    The verdict reads the serial console.
    """
    consoles = [word for name in ("xen", "kvm") if name in editor.recipe.hypervisors for word in CONSOLES[name]]
    edits = [(path, bootconfig.grub) for path in bootconfig.GRUB]
    edits += [(bootconfig.GRUB_DEFAULTS, bootconfig.grub_defaults)]
    edits += [(path, bootconfig.syslinux) for path in bootconfig.SYSLINUX]
    entries = editor.guest.names(bootconfig.BLS)
    edits += [(f"{bootconfig.BLS}/{name}", bootconfig.bls) for name in sorted(entries) if name.endswith(".conf")]
    texts = {path: content for path, _ in edits if (content := editor.read(path)) is not None}
    speaks = any(bootconfig.has_serial(text) for text in texts.values())
    words = [*(() if speaks and "xen" not in editor.recipe.hypervisors else consoles), *editor.recipe.kernel.parameters]
    loaders = [path for path in texts if path != bootconfig.GRUB_DEFAULTS]
    if not loaders and editor.recipe.kernel.placement != "external":
        editor.notes.append(
            "the image has no boot loader configuration that roost knows: kernel.parameters have no effect"
        )
    # The kernel itself does not support UUIDs: its initrd does.
    initrd = kernel is not None and kernel.initrd is not None
    uuid = editor.guest.blkid(editor.system.root.device).get("UUID") if initrd else None
    changed = []
    for path, edit in edits:
        if path not in texts:
            continue
        text = edit(texts[path], words) if words else texts[path]
        if uuid is not None and bootconfig.rooted(text, uuid) != text:
            text = bootconfig.rooted(text, uuid)
            editor.notes.append(f"{path}: kernels find their root by its UUID now")
        if not editor.recipe.machine.vnc and path in bootconfig.GRUB:
            text = bootconfig.grub_on_serial(text)
        elif not editor.recipe.machine.vnc and path == bootconfig.GRUB_DEFAULTS:
            text = bootconfig.grub_defaults_on_serial(text)
        if text != texts[path]:
            editor.write(path, text)
            changed.append(path)
    if loaders and changed and not speaks:
        editor.notes.append(
            f"the kernel had no console on the serial line: console=ttyS0 is in {', '.join(changed)} now"
        )
