"""The graph, and the executor for this machine: order, capacity, failures, interruption; the work is made up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.factory.graph import Graph, Needs, Node
from roost.factory.machine import Capacity, Machine
from roost.factory.outcome import Failure, Outcome
from roost.factory.progress import NodeEvents, Silent

PLENTY = Capacity(jobs=4, cores=4, memory=100)


def node(key: str, *after: str, memory: int = 1, core: bool = False, image: str | None = None) -> Node:
    kind = key.split(maxsplit=1)[0]
    assert kind in {"layer", "image", "boot", "publish"}
    return Node(key, kind, key, image or key.rsplit(maxsplit=1)[-1], after, Needs(memory, core))  # type: ignore[arg-type]


def chain(name: str, *shared: str, memory: int = 1) -> list[Node]:
    return [
        node(f"image {name}", *shared),
        node(f"boot {name}", f"image {name}", memory=memory, core=True),
        node(f"publish {name}", f"boot {name}"),
    ]


class Work:
    """Takes a moment for each node; knows what ran, in which order, and how many at a time."""

    def __init__(self, *bad: str, moment: float = 0.0) -> None:
        self.bad, self.moment = bad, moment
        self.ran: list[str] = []
        self.together: list[set[str]] = []
        self._now: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, one: Node) -> Outcome:
        with self._lock:
            self.ran.append(one.key)
            self._now.add(one.key)
            self.together.append(set(self._now))
        time.sleep(self.moment)
        with self._lock:
            self._now.discard(one.key)
        if one.key in self.bad:
            return Outcome("failed", failure=Failure(f"{one.key} is bad"))
        return Outcome("done")


def run(nodes: Iterable[Node], work: Callable[[Node], Outcome], capacity: Capacity = PLENTY) -> dict[str, Outcome]:
    return Machine(Graph.of(nodes), work, capacity, Silent()).run()


def test_a_shared_layer_is_made_once_and_first() -> None:
    work = Work(moment=0.01)
    done = run([*chain("a", "layer 1"), *chain("b", "layer 1"), node("layer 1")], work)
    assert work.ran[0] == "layer 1" and work.together[0] == {"layer 1"}
    assert sorted(work.ran) == sorted(done) and len(work.ran) == 7
    assert {one.state for one in done.values()} == {"done"}


def test_a_failure_stops_only_what_needs_it_and_is_passed_on() -> None:
    work = Work("boot b")
    done = run([*chain("a"), *chain("b"), *chain("c"), node("image d", "image b")], work)
    assert done["boot b"].state == "failed" and done["publish b"].state == "skipped"
    assert done["publish b"].failure == Failure("boot b is bad")
    assert "publish b" not in work.ran
    assert all(done[key].state == "done" for key in done if not key.endswith(" b") or key == "image b")
    assert done["image d"].state == "done"


def test_what_is_made_from_a_failed_image_says_from_which() -> None:
    done = run([*chain("base"), *chain("top", "image base")], Work("image base"))
    assert done["image top"].failure == Failure("image base failed: image base is bad")
    assert done["publish top"].failure == Failure("image base failed: image base is bad")


def test_no_more_memory_is_used_than_there_is() -> None:
    work = Work(moment=0.02)
    nodes = [node(f"image {name}", memory=40) for name in "abcdef"]
    run(nodes, work, Capacity(jobs=6, cores=6, memory=100))
    assert max(map(len, work.together)) == 2


def test_what_is_larger_than_the_machine_runs_alone() -> None:
    work = Work(moment=0.01)
    done = run([node("boot a", memory=500), *(node(f"image {n}") for n in "bcd")], work, PLENTY)
    assert {one.state for one in done.values()} == {"done"}
    assert all(len(at) == 1 for at in work.together if "boot a" in at)


def test_emulated_guests_have_a_core_each_and_publications_are_one_at_a_time() -> None:
    work = Work(moment=0.02)
    nodes = [node(f"boot {n}", core=True) for n in "abcd"] + [node(f"publish {n}") for n in "efgh"]
    run(nodes, work, Capacity(jobs=8, cores=2, memory=1000))
    assert max(sum(key.startswith("boot") for key in at) for at in work.together) == 2
    assert max(sum(key.startswith("publish") for key in at) for at in work.together) == 1


def test_jobs_bounds_what_runs_at_a_time_and_the_first_image_is_finished_first() -> None:
    work = Work()
    run([*chain("a"), *chain("b"), *chain("c")], work, Capacity(jobs=1, cores=8, memory=100))
    assert work.ran == [f"{kind} {name}" for name in "abc" for kind in ("image", "boot", "publish")]
    assert max(map(len, work.together)) == 1


def test_an_interruption_ends_the_run_and_what_ended_before_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr("roost.host.interruption.interrupt", lambda: calls.append("interrupt"))

    def work(one: Node) -> Outcome:
        if one.key == "image b":
            raise KeyboardInterrupt
        return Outcome("done")

    machine = Machine(Graph.of([node("image a"), node("image b", "image a")]), work, PLENTY, Silent())
    with pytest.raises(KeyboardInterrupt):
        machine.run()
    assert calls == ["interrupt"]
    assert list(machine.outcomes) == ["image a"]


def test_seconds_are_those_of_the_work() -> None:
    done = run([node("image a")], Work(moment=0.05))
    assert 0.05 <= done["image a"].seconds < 5


@given(st.data())
def test_every_node_comes_after_what_it_needs(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    nodes = []
    for number in range(count):
        after = data.draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        nodes.append(node(f"image {number}", *(f"image {one}" for one in after)))
    order = list(Graph.of(data.draw(st.permutations(nodes))))
    place = {one.key: at for at, one in enumerate(order)}
    assert len(order) == count
    assert all(place[need] < place[one.key] for one in order for need in one.after)


@given(st.data())
def test_whatever_fails_all_else_is_done(data: st.DataObject) -> None:
    names = "abcdef"
    nodes = [node("layer 1"), *(one for name in names for one in chain(name, *data.draw(st.sets(st.just("layer 1")))))]
    bad = data.draw(st.sets(st.sampled_from([one.key for one in nodes])))
    graph = Graph.of(nodes)
    done = Machine(graph, Work(*bad), PLENTY, Silent()).run()
    lost = set(bad)
    for one in graph:
        if lost.intersection(one.after):
            lost.add(one.key)
    assert {key for key, one in done.items() if one.state == "done"} == set(graph.nodes) - lost


@pytest.mark.parametrize(
    ("nodes", "what"),
    [
        ([node("image a", "image b"), node("image b", "image a")], "circle"),
        ([node("image a", "image z")], "not in the graph"),
        ([node("image a"), node("image a")], "one key"),
    ],
)
def test_what_is_not_a_graph_is_refused(nodes: list[Node], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Graph.of(nodes)


def test_notes_are_kept_once_and_not_without_a_bound() -> None:
    events = NodeEvents(node("image a"), Silent())
    for number in range(100):
        events.note("again")
        events.note(f"note {number}")
    assert events.notes[:2] == ["again", "note 0"] and len(events.notes) == 20
