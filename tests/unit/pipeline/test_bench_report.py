"""Ratios of medians with their spread, and the chart of them."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from roost.cli import show
from roost.errors import UsageError
from roost.events import Silent
from roost.pipeline import bench, bench_report
from roost.pipeline.bench_report import Cost

TAKEN = {
    "mmdebstrap": [Cost(40, 30), Cost(50, 40), Cost(60, 35)],
    "cold": [Cost(20, 24), Cost(40, 30), Cost(30, 21)],
    "nothing changed": [Cost(0.5, 0.5), Cost(0.4, 0.4), Cost(0.3, 0.35)],
    "boot": [Cost(9, 9)],
}


def test_ratios_are_of_medians_and_the_spread_is_of_rounds() -> None:
    found = bench_report.report(TAKEN)
    assert found["costs"]["cold"] == {"wall": 30, "cpu": 24}
    assert found["measured"]["mmdebstrap"][1] == {"wall": 50, "cpu": 40}
    assert found["ratios"]["cold / mmdebstrap"] == {
        "wall": {"median": 0.6, "min": 0.5, "max": 0.8},
        "cpu": {"median": 0.69, "min": 0.6, "max": 0.8},
    }
    assert found["cold_cpu_ratio"] == 0.69
    assert not any("mkosi" in name or "boot" in name for name in found["ratios"]), "what was not measured, or no peer"
    text = show.bench({**found, "boot_adds_seconds": 1.0, "notes": ["left out: x\x1b"]})
    assert "cold / mmdebstrap" in text and "0.69 (0.60 to 0.80)" in text
    assert "left out: x" in text and "\x1b" not in text


def test_a_peer_is_compared_with_what_does_the_same() -> None:
    taken = {**TAKEN, "mkosi": [Cost(80, 80)] * 3, "mkosi, one file changed": [Cost(20, 20)] * 3}
    found = bench_report.report({**taken, "one file changed": [Cost(7, 4)] * 3})
    assert found["ratios"]["cold / mkosi"]["cpu"]["median"] == 0.3
    assert found["ratios"]["one file changed / mkosi, one file changed"]["cpu"]["median"] == 0.2
    assert "one file changed / mkosi" not in found["ratios"]


def test_a_peer_that_failed_in_a_round_is_not_compared() -> None:
    found = bench_report.report({**TAKEN, "mkosi": [Cost(80, 80)] * 2})
    assert "mkosi" not in found["costs"] and not any("mkosi" in name for name in found["ratios"])


def test_the_chart_is_a_picture_with_a_bar_for_each() -> None:
    root = ElementTree.fromstring(bench_report.chart(bench_report.report(TAKEN)))
    space = "{http://www.w3.org/2000/svg}"
    texts = [node.text for node in root.iter(f"{space}text")]
    assert texts == [
        "mmdebstrap", "35.0 s", "cold", "24.0 s  (0.69)", "nothing changed", "0.4 s  (0.01)",
        "CPU seconds; less is better",
    ]  # fmt: skip
    bars = list(root.iter(f"{space}rect"))[1:]
    assert float(bars[0].attrib["width"]) > float(bars[1].attrib["width"]) > float(bars[2].attrib["width"])
    width = float(root.attrib["width"])
    assert all(float(node.attrib["x"]) + float(node.attrib["width"]) < width for node in bars)


@pytest.mark.parametrize("rounds", [0, -1])
def test_no_round_is_refused(rounds: int) -> None:
    with pytest.raises(UsageError, match="--rounds"):
        bench.run(Silent(), rounds)
