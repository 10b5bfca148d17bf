"""The steps of docs/add-evidence.md work: a fact needs its own file and a line of credit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from tests.collector.test_new_source import ROOT, copied, follow, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TUTORIAL, CALENDAR = (
    (ROOT / "docs" / "add-evidence.md").read_text().split("## A calendar instead of a figure")
)
FILE: Final = "beliefs/claims/example-mining.toml"
ANNOTATION: Final = "beliefs/annotations/example-power.toml"
# The parts of `make check` that concern beliefs; a nightly run does all of it.
CHECKS: Final = (
    ".venv/bin/miningmap beliefs check beliefs",
    ".venv/bin/miningmap beliefs --markdown | diff - docs/beliefs.md",
    ".venv/bin/python -m tools.part_of | diff - beliefs/part_of.toml",
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy in which the steps of the page were run, with the tests of the shipped files."""
    with copied(tmp_path_factory.mktemp("evidence")) as tree:
        commands = list(follow(tree, TUTORIAL, CHECKS))
        outputs = [run(tree, command) for command in commands]
        assert any("claims/example-mining-no-2025-12" in output for output in outputs)
        yield tree


def test_a_fact_changes_its_file_the_page_and_the_credits_only(tree: Path) -> None:
    assert run(tree, "git status --porcelain") == ""
    changed = run(tree, "git show --stat=200 --format= --name-status").splitlines()
    assert changed == ["M\tSOURCES.md", f"A\t{FILE}", "M\tdocs/beliefs.md"]


def test_the_fact_is_believed_on_its_days(tree: Path) -> None:
    for day, counts in (("2025-12-30", 0), ("2025-12-31", 1), ("2027-03-30", 1), ("2027-03-31", 0)):
        rows = json.loads(run(tree, f".venv/bin/miningmap beliefs --json --on {day}"))
        assert sum(row["publisher"] == "Example Mining" for row in rows) == counts, day


def test_a_mistake_in_it_is_found_with_its_line(tree: Path) -> None:
    file = tree / FILE
    sound = file.read_text()
    file.write_text(sound.replace('"NO"', '"Norway"'))
    output = run(tree, f".venv/bin/miningmap beliefs check {FILE}", ok=False)
    file.write_text(sound)
    assert f"{FILE}:4: claims/example-mining-no-2025-12: 'Norway' is not a place" in output


def test_a_calendar_is_found_sound_and_is_believed_on_its_days(tree: Path) -> None:
    file = tree / ANNOTATION
    try:
        assert list(follow(tree, CALENDAR, CHECKS)) == []
        assert run(tree, f".venv/bin/miningmap beliefs check {ANNOTATION}") == (
            "1 file, 0 findings\n"
        )
        for day, counts in (("2025-10-31", 0), ("2025-11-01", 1), ("2026-07-01", 1)):
            rows = json.loads(run(tree, f".venv/bin/miningmap beliefs --json --on {day}"))
            assert sum(row["id"] == "annotations/example-tariff" for row in rows) == counts, day
    finally:
        file.unlink()
