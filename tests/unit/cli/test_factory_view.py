"""The progress of a factory: lines, and the live table on terminals of any height; hostile names in both."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console
from rich.live import Live

from roost.cli import calls, factory_view
from roost.cli.factory_view import Lines, LiveTable
from roost.factory.graph import Graph, Node
from roost.factory.outcome import Failure, Outcome
from roost.factory.progress import NodeEvents, Silent

EVIL = "\x1b]0;title\x07[red]x\nroost: done"


def graph(count: int = 3, name: str = "image") -> Graph:
    nodes = [Node("layer 1", "layer", "layer 1 (debian)")]
    for number in range(count):
        key = f"/build/{number}"
        nodes.append(Node(f"image {key}", "image", f"{name}-{number}", key, ("layer 1",)))
        nodes.append(Node(f"boot {key}", "boot", f"{name}-{number}", key, (f"image {key}",)))
    return Graph.of(nodes)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": ""}, {"TERM": "xterm", "CI": "true"}])
def test_what_cannot_be_drawn_on_gets_lines(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream, one = Terminal(), graph(1)
    monkeypatch.setattr("sys.stderr", stream)
    with factory_view.shown() as view:
        view.expect(one)
        view.began(one.nodes["image /build/0"])
    assert stream.getvalue().splitlines() == ["roost: 1 image, 3 steps", "roost: image-0: build ..."]


def test_lines_tell_each_beginning_and_end_and_a_note_once() -> None:
    stream, one = io.StringIO(), graph(2)
    lines = Lines(stream)
    lines.expect(one)
    image, boot = one.nodes["image /build/0"], one.nodes["boot /build/0"]
    lines.began(image)
    for node in (image, boot):
        lines.note(node, "no KVM here")
    failure = Failure("no room\nfree some")
    lines.ended(image, Outcome("failed", 1.25, failure))
    lines.ended(boot, Outcome("skipped", failure=failure))
    assert stream.getvalue().splitlines() == [
        "roost: 2 images, 5 steps",
        "roost: image-0: build ...",
        "roost: image-0: build: note: no KVM here",
        "roost: [1/5] image-0: build: FAILED after 1.2 s",
        "roost: image-0: build: no room",
        "roost: image-0: build: free some",
        "roost: [2/5] image-0: test boot: not run: no room",
    ]


@pytest.mark.parametrize("live", [True, False])
def test_tasks_are_named_as_they_are_called(live: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(calls.CALLED, "./inv")
    stream, one = io.StringIO(), graph(1)
    console = Console(file=stream, width=200)
    view = LiveTable(Live(console=console), console) if live else Lines(stream)
    image = one.nodes["image /build/0"]
    view.expect(one, {"b": Failure("inv lock b")})
    view.note(image, "inv doctor")
    view.ended(image, Outcome("failed", 1.25, Failure("x is gone\n  hint: inv build --force x")))
    assert re.findall(r"\S*inv \w+", stream.getvalue()) == ["./inv lock", "./inv doctor", "./inv build"]


def test_a_node_that_runs_for_long_says_once_a_minute_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream, boot = io.StringIO(), graph(1).nodes["boot /build/0"]
    lines = Lines(stream)
    lines.began(boot)
    events = NodeEvents(boot, lines)
    events.begin("boot", "pc, tcg")
    for _ in range(150):
        now[0] += 1
        events.doing("boot", f"job: no output for {now[0] - 1000:.0f} s")
    assert stream.getvalue().splitlines() == [
        "roost: image-0: test boot ...",
        "roost: image-0: test boot: boot: job: no output for 60 s",
        "roost: image-0: test boot: boot: job: no output for 120 s",
    ]


def test_a_live_row_shows_a_stages_activity_long_enough_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    boot, told = graph(1).nodes["boot /build/0"], list[str]()
    monkeypatch.setattr(Silent, "doing", lambda _self, _node, what: told.append(what))
    events = NodeEvents(boot, Silent())
    events.begin("boot", "pc, tcg")
    for second in range(1, 12):
        now[0] += 1
        events.doing("boot", f"kernel: line {second}")
    assert told == ["boot (pc, tcg)", "boot: kernel: line 5", "boot: kernel: line 10"]


def test_a_broken_recipe_counts_as_an_image_and_is_named() -> None:
    stream = io.StringIO()
    Lines(stream).expect(graph(2), {"fam/c.yaml": Failure(f"fam/c.yaml:3:1: no such key{EVIL}")})
    first, second, third = stream.getvalue().splitlines()
    assert first == "roost: 3 images, 5 steps"
    assert second.startswith("roost: fam/c.yaml: not built: fam/c.yaml:3:1: no such key")
    assert third == "roost: fam/c.yaml: not built: roost: done"


@pytest.mark.parametrize("live", [False, True])
def test_all_mistakes_of_a_recipe_are_shown_once_for_its_variants(live: bool) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=False, width=120, height=30)
    view = LiveTable(Live(console=console, auto_refresh=False), console) if live else Lines(stream)
    broken = {f"c.yaml: {name}": Failure("c.yaml:3:1: no such key\nc.yaml:5:1: no such disk") for name in "abcd"}
    view.expect(graph(2), {**broken, "d.yaml": Failure("d.yaml:1: what")})
    shown = [line.removeprefix("roost: ").removeprefix("✗ ") for line in stream.getvalue().splitlines()]
    assert shown[0 if live else 1 :] == [
        "c.yaml: a, b, c and 1 more: not built: c.yaml:3:1: no such key",
        "c.yaml: a, b, c and 1 more: not built: c.yaml:5:1: no such disk",
        "d.yaml: not built: d.yaml:1: what",
    ]


def test_lines_stay_lines_whatever_is_in_them() -> None:
    stream, one = io.StringIO(), graph(1, EVIL)
    lines = Lines(stream)
    lines.expect(one)
    node = one.nodes["image /build/0"]
    lines.began(node)
    lines.note(node, EVIL)
    lines.ended(node, Outcome("failed", failure=Failure(EVIL)))
    assert "\x1b" not in stream.getvalue()
    assert not any(line == "roost: done" for line in stream.getvalue().splitlines())


def drawn(console: Console, steps: Graph, booting: int, doing: str) -> list[str]:
    """Return the lines of the live table while one image boots, after the one before it failed."""
    with Live(console=console, auto_refresh=False) as live:
        view = LiveTable(live, console)
        view.expect(steps)
        view.began(steps.nodes[f"boot /build/{booting}"])
        view.doing(steps.nodes[f"boot /build/{booting}"], doing)
        view.ended(steps.nodes[f"image /build/{booting - 1}"], Outcome("failed", failure=Failure("no room")))
        shown = Console(file=(text := io.StringIO()), width=console.width)
        shown.print(view)
    return text.getvalue().splitlines()


@pytest.mark.parametrize(("height", "rows"), [(40, 30), (12, 6), (3, 1)])
def test_the_live_table_fits_the_terminal_and_shows_what_runs_and_failed_first(height: int, rows: int) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, height=height)
    lines = drawn(console, graph(30), 29, "boot (pc, tcg)")
    assert sum("image-" in line for line in lines) == rows
    assert "boot (pc, tcg)" in next(line for line in lines if "image-29" in line)
    assert rows == 1 or any("image-28" in line and "✗" in line for line in lines)
    assert "1 of 61 steps" in lines[-1] and "1 failed" in lines[-1]
    assert "no room" in stream.getvalue()


def test_the_live_table_interprets_nothing() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=False, width=120, height=30)
    one = graph(1, EVIL)
    view = LiveTable(Live(console=console, auto_refresh=False), console)
    view.expect(one)
    node = one.nodes["image /build/0"]
    view.began(node)
    view.doing(node, EVIL)
    view.note(node, EVIL)
    console.print(view)
    view.ended(node, Outcome("failed", failure=Failure(EVIL)))
    assert "\x1b]0" not in stream.getvalue() and "[red]x" in stream.getvalue()


def test_a_narrow_terminal_shows_names_and_how_far_it_is() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=60, height=40)
    doing = "kernel: ..TIMER: vector=0x30 apic1=0 pin1=2 apic2=-1"
    lines = drawn(console, graph(2, "debian-trixie-large"), 1, doing)
    assert "debian-trixie-large" in "\n".join(lines)
    assert re.fullmatch(r"1 of 5 steps, 1 failed, \d s", lines[-1].strip())
    assert all(len(line) <= 60 for line in lines)


@pytest.mark.parametrize("name", ["bad", "pair-a-long-host-name-for-a-worker"])
@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_steps_keep_their_names_at_any_width(name: str, width: int) -> None:
    """What a step does goes first, then the end of a long name."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=40)
    head, *rows = drawn(console, graph(2, name), 1, "boot (pc, tcg) and more words than there is room for")
    assert head.split() == ["image", "build", "test", "boot"]
    running = rows[1].split()
    assert running[1:3] == ["·", "●"] and running[-2:] == ["0", "s"]
    assert len(running[0]) >= min(13, len(name))
    # Either some words of it, or none: no lone dots.
    assert len(running) == 5 or len(rows[1].partition("●")[2].rpartition("0 s")[0].strip()) >= 12
