"""The tables of docs/reliability.md are written between their marks, row by row."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.torture import report
from tests.torture.__main__ import name_of
from tests.torture.checker import Verdict
from tests.torture.plan import TRIALS
from tests.torture.scenario import Outcome
from tests.torture.soak import Sample, Soaked

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "reliability.md"
    marks = [f"<!-- {name}: {end} -->" for name in ("faults", "soak") for end in ("begin", "end")]
    path.write_text("before\n" + "\n".join(marks) + "\nafter\n")
    monkeypatch.setattr(report, "DOCUMENT", path)
    return path


def outcome(fault: str, *lost: str) -> Outcome:
    counts = Counter({"polls": 9, "polls not in Kafka": 1})
    return Outcome(fault, Verdict(list(lost), counts=counts), [1.5], [], 100, 10.0)


def test_a_run_replaces_its_own_row_and_keeps_the_others_in_order(document: Path) -> None:
    report.write_outcomes([outcome("b", "a message")], ["a", "b"])
    report.write_outcomes([outcome("a"), outcome("a")], ["a", "b"])
    report.write_outcomes([outcome("b")], ["a", "b"])
    lines = [line for line in document.read_text().splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines] == ["| fault", "| a", "| b"]
    assert (
        "| 200 acknowledged, 10/s; 1 of 9 polls lost | 2 | 0 | 0 | 0 | 1.5 to 1.5 s |" in lines[1]
    )
    assert lines[2].endswith("| 1 | 0 | 0 | 0 | 1.5 s |")
    assert document.read_text().startswith("before\n")
    assert document.read_text().endswith("\nafter\n")


def test_the_soak_has_a_slope_of_each_figure(document: Path) -> None:
    samples = [Sample(at, 50 + at / 3600, 20, 3, 8) for at in range(0, 3600, 60)]
    report.write_soak(
        Soaked(3600.0, 300_000, asked={200: 5}, samples={"streams-0": samples}, redis_mb=[1, 2])
    )
    assert "| streams | 51 | +1.0 | 20 | +0.0 | 8 | +0.0 |" in document.read_text()


def test_every_fault_has_a_name_of_its_own_and_the_document_has_its_marks() -> None:
    names = list(map(name_of, TRIALS))
    assert len(set(names)) == len(names)
    text = report.DOCUMENT.read_text()
    assert all(f"<!-- {mark}: begin -->" in text for mark in ("faults", "soak"))
