"""The disk for `cloud_init`: a NoCloud seed, which cloud-init finds by its label.

It is inserted into the recipe's tree as if it stood in `disks`, with the location of `cloud_init`, so that everything
that applies to disks (devices, transfer, names, checks) applies to it too.
"""

from __future__ import annotations

from dataclasses import replace

from roost.recipe.nodes import Node, Scalar

NAME = "seed"
#: NoCloud's label (cloud-init's documentation, "NoCloud"); FAT's labels are upper case.
LABEL = "CIDATA"
#: Size in bytes: the minimum of FAT plus some room; it is transferred with every job.
SIZE = 2 << 20
#: The maximum size of the user data in bytes.
LIMIT = 1 << 20
CLOUD_INIT = "cloud_init"

_DISK: dict[str, Scalar] = {
    "name": NAME,
    "format": "raw",
    "filesystem": "vfat",
    "label": LABEL,
    "size": SIZE,
    "readonly": True,
    "role": "seed",
}


def with_disk(tree: Node) -> Node:
    """Return the tree with the seed's disk added after the others, if the recipe uses cloud-init."""
    cloud_init = tree.items.get(CLOUD_INIT)
    disks = tree.items.get("disks")
    if cloud_init is None or cloud_init.value is None or disks is None or not isinstance(disks.value, tuple):
        return tree
    where = cloud_init.key or cloud_init.where
    disk = Node({key: Node(value, where, where) for key, value in _DISK.items()}, where, where)
    return replace(tree, value={**tree.items, "disks": replace(disks, value=(*disks.value, disk))})
