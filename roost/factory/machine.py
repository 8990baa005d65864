"""The executor for this machine: runs as many nodes at a time as its cores and memory allow.

A node starts once its dependencies have succeeded, its memory is free, and fewer than `jobs` others run; one that keeps
a core busy also needs a free core. Nodes earlier in the graph have priority, but one that does not fit lets later ones
pass. A node larger than the whole machine runs alone. A failure stops only the nodes that depend on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace

from roost.factory.graph import Graph, Node
from roost.factory.outcome import Failure, Outcome
from roost.factory.progress import Progress
from roost.host.pool import Pool

#: Does a node's work. Raises only exceptions that end the whole run.
Work = Callable[[Node], Outcome]


@dataclass(frozen=True, slots=True)
class Capacity:
    """The maximum use at a time: nodes, cores, bytes of memory. Publications run one at a time."""

    jobs: int
    cores: int
    memory: int


@dataclass(slots=True)
class _Running:
    """The part of a capacity used by the running nodes."""

    capacity: Capacity
    nodes: dict[str, Node] = field(default_factory=dict)

    def fits(self, node: Node) -> bool:
        """Return whether a node may start now."""
        running = self.nodes.values()
        if not running:
            return True
        if len(running) >= self.capacity.jobs:
            return False
        if node.needs.core and sum(one.needs.core for one in running) >= self.capacity.cores:
            return False
        if node.kind == "publish" and any(one.kind == "publish" for one in running):
            return False
        return sum(one.needs.memory for one in running) + node.needs.memory <= self.capacity.memory


@dataclass(slots=True)
class Machine:
    """One run of a graph; `outcomes` always has the nodes that have ended so far."""

    graph: Graph
    work: Work
    capacity: Capacity
    progress: Progress
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def run(self) -> dict[str, Outcome]:
        """Run all nodes; return the outcome of each. Raises an interruption, upon which nodes end within a second."""
        running = _Running(self.capacity)
        futures: dict[Future[Outcome], Node] = {}
        waiting = list(self.graph)
        # Threads are cheap and end with the block: one for each node that can run at a time.
        with Pool(max_workers=max(1, self.capacity.jobs), thread_name_prefix="roost-factory") as pool:
            while waiting or futures:
                waiting = self._start(waiting, running, futures, pool)
                if not futures:
                    continue
                ended, _ = wait(futures, return_when=FIRST_COMPLETED)
                for future in ended:
                    node = futures.pop(future)
                    del running.nodes[node.key]
                    self._end(node, future.result())
        return self.outcomes

    def _start(
        self, waiting: list[Node], running: _Running, futures: dict[Future[Outcome], Node], pool: Pool
    ) -> list[Node]:
        """Start nodes that can start, skip those that cannot succeed; return the rest."""
        left = []
        for node in waiting:
            bad = next((key for key in node.after if key in self.outcomes and not self.outcomes[key].good), None)
            if bad is not None:
                self._end(node, self._skipped(node, self.graph.nodes[bad]))
            elif any(key not in self.outcomes for key in node.after) or not running.fits(node):
                left.append(node)
            else:
                running.nodes[node.key] = node
                futures[pool.submit(self._timed, node)] = node
        return left

    def _timed(self, node: Node) -> Outcome:
        self.progress.began(node)
        start = time.monotonic()
        done = self.work(node)
        return Outcome(done.state, time.monotonic() - start, done.failure, done.facts, done.notes)

    def _end(self, node: Node, outcome: Outcome) -> None:
        self.outcomes[node.key] = outcome
        self.progress.ended(node, outcome)

    def _skipped(self, node: Node, bad: Node) -> Outcome:
        """Return the outcome of a node with a failed dependency: the original failure is passed on."""
        failure = self.outcomes[bad.key].failure or Failure(f"{bad.label} was not done")
        if bad.image not in {None, node.image}:
            failure = replace(failure, text=f"{bad.label} failed: {failure.text}")
        return Outcome("skipped", failure=failure)
