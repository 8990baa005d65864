"""The record of a run: what counts after a kill, and what does not."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from roost.errors import ImageError, RoostError
from roost.run.state import State


def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    state.write("started", "a")
    state.write("started", "b")
    state.write("ended", "a", verdict="done")
    state.write("pool", cluster=7)
    state.close()
    again = State(tmp_path / "state")
    assert again.running() == {"b"}
    assert (again.starts("a"), again.starts("b"), again.starts("c")) == (1, 1, 0)
    assert (again.ended("a") or {})["verdict"] == "done"
    assert again.ended("b") is None
    assert [one["cluster"] for one in again.words("pool")] == [7]


def test_half_a_line_never_counted(tmp_path: Path) -> None:
    path = tmp_path / "state"
    state = State(path)
    state.write("started", "a")
    state.close()
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole + whole[:length])
        again = State(path)
        assert again.starts("a") == 1
        again.write("ended", "a", verdict="done")
        again.close()
        assert State(path).ended("a")


@pytest.mark.parametrize("line", ["nonsense\n", "[]\n", "{}\n", '{"event": NaN}\n'])
def test_a_line_that_is_none_is_said_with_its_place(line: str, tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_text('{"event": "started", "job": "a", "time": 1}\n' + line)
    with pytest.raises(ImageError, match="state:2 ") as caught:
        State(path)
    assert "'event'" not in str(caught.value) and "Expecting" not in str(caught.value)


def test_a_job_that_is_started_again_has_no_outcome_any_more(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    state.write("ended", "a", verdict="held")
    state.write("started", "a")
    assert state.ended("a") is None
    assert State(tmp_path / "state").running() == {"a"}


@pytest.mark.timeout(20)
def test_what_is_not_a_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "other").write_text("")
    (tmp_path / "link").symlink_to("other")
    for name in ("fifo", "link"):
        with pytest.raises(RoostError):
            State(tmp_path / name)


def test_two_writers_spoil_no_line(tmp_path: Path) -> None:
    states = [State(tmp_path / "state") for _ in range(2)]

    def work(state: State, name: str) -> None:
        for number in range(50):
            state.write("started", f"{name}{number}", text="x" * 500)

    threads = [threading.Thread(target=work, args=(state, name)) for state, name in zip(states, "ab", strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(State(tmp_path / "state").running()) == 100
