"""The disk that `cloud_init` stands for: NoCloud's seed, found by cloud-init by its label.

It is written into the recipe's tree of values as if it stood in `disks`, at the place of `cloud_init`, so that all
that is said of disks (devices, transfer, names, checks) holds for it too.
"""

from __future__ import annotations

from dataclasses import replace

from roost.recipe.nodes import Node, Scalar

NAME = "seed"
#: NoCloud's label (cloud-init's documentation, "NoCloud"); FAT's labels are upper case.
LABEL = "CIDATA"
#: Bytes: FAT's least with room to spare, for every job pays for their transfer.
SIZE = 2 << 20
#: Bytes of user data that fit beside the rest.
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
    """Return the tree with the seed's disk behind the others, if the recipe asks for cloud-init."""
    asked = tree.items.get(CLOUD_INIT)
    disks = tree.items.get("disks")
    if asked is None or asked.value is None or disks is None or not isinstance(disks.value, tuple):
        return tree
    where = asked.key or asked.where
    disk = Node({key: Node(value, where, where) for key, value in _DISK.items()}, where, where)
    return replace(tree, value={**tree.items, "disks": replace(disks, value=(*disks.value, disk))})
