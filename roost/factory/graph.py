"""The graph of work: a node for each shared layer, image, test boot and publication, with dependencies. Pure.

Both executors, this machine and HTCondor's DAGMan, run this graph. Nodes are sorted topologically, so that iterating
over them is a possible order of work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["layer", "image", "boot", "publish"]

#: The steps of one image, in order, with their names in messages.
STEPS: Mapping[Kind, str] = {"image": "build", "boot": "test boot", "publish": "publish"}


@dataclass(frozen=True, slots=True)
class Needs:
    """The resources of a running node: bytes of memory, and whether it keeps a core busy."""

    memory: int = 0
    core: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """One piece of work: `key` is unique, `label` is for messages.

    `image` is the key of the image that the node is a step of, None for a shared node. `after` are the keys of the
    nodes that must have succeeded before.
    """

    key: str
    kind: Kind
    label: str
    image: str | None = None
    after: tuple[str, ...] = ()
    needs: Needs = Needs()


@dataclass(frozen=True)
class Graph:
    """Nodes by key, in topological order."""

    nodes: Mapping[str, Node] = field(default_factory=dict)

    @classmethod
    def of(cls, nodes: Iterable[Node]) -> Graph:
        """Return the graph of nodes in any order; raise `ValueError` for a cycle or a wrong dependency or key."""
        given = list(nodes)
        known = {node.key: node for node in given}
        if len(known) != len(given):
            raise ValueError("two nodes have one key")
        ordered: dict[str, Node] = {}
        waiting = given
        while waiting:
            left = []
            for node in waiting:
                absent = [key for key in node.after if key not in known]
                if absent:
                    raise ValueError(f"{node.key} needs {absent[0]}, which is not in the graph")
                if all(key in ordered for key in node.after):
                    ordered[node.key] = node
                else:
                    left.append(node)
            if len(left) == len(waiting):
                raise ValueError(f"nodes depend on each other in a circle: {', '.join(node.key for node in left)}")
            waiting = left
        return cls(ordered)

    def __iter__(self) -> Iterator[Node]:
        """Yield the nodes in topological order."""
        return iter(self.nodes.values())

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self.nodes)
