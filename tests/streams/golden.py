"""The golden cases of method.md, read from a folder beside the project if there is one.

They are not part of the project; its own worked cases are in ``test_placing.py``,
``test_shares.py`` and ``test_swings.py``.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from miningmap.messages import Message, decode
from miningmap.times import parse_rfc3339
from streams.beliefs import load_only
from streams.queries.parameters import SharesParameters, SharesQuery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.method.beliefs import Beliefs

Json = dict[str, Any]

FOLDER = Path(
    os.environ.get("GOLDEN", Path(__file__).resolve().parents[3] / "shared" / "data" / "golden")
)
FILES = sorted(FOLDER.glob("*.json"))
SWINGS = sorted(FOLDER.with_name("golden-swings").glob("*.json"))

# Adding floats up in another order leaves hashrates of this part of the whole (1e5 H/s of 1e19):
# in some expectations there are such places and beliefs. They count as 0 (adr/0003).
NOTHING = 1e-12


def parametrize(files: Sequence[Path] = FILES) -> pytest.MarkDecorator:
    """One test for each case; if there are none, one skipped test that gives the reason."""
    if files:
        return pytest.mark.parametrize("path", files, ids=lambda path: path.stem)
    skipped = pytest.mark.skip(reason="golden cases skipped: none found")
    return pytest.mark.parametrize("path", [pytest.param(None, marks=skipped)])


def loaded(document: Json) -> Beliefs:
    """The beliefs of a document, as the loader reads them from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "beliefs.json")
        path.write_text(json.dumps(document))
        return load_only(path)


class Case:
    """One file: messages in, answers out."""

    def __init__(self, path: Path) -> None:
        content: Json = json.loads(path.read_text())
        self.messages = _messages(content)
        self.document: Json = content["beliefs"]
        self.beliefs = loaded(self.document)
        self.parameters: list[dict[str, str]] = content["queries"]
        self.expected: list[Json] = content["expect"]

    def queries(self) -> list[SharesQuery]:
        """The queries, as the pure functions take them."""
        return [
            SharesParameters.parse(given).query(parse_rfc3339(given["as_of"]))
            for given in self.parameters
        ]


class SwingCase:
    """One file: messages in, the events of swings in some ranges of time out."""

    def __init__(self, path: Path) -> None:
        content: Json = json.loads(path.read_text())
        self.messages = _messages(content)
        self.beliefs = loaded(content["beliefs"])
        self.ranges = [
            (parse_rfc3339(query["from"]), parse_rfc3339(query["to"]))
            for query in content["swing_queries"]
        ]
        self.expected: list[list[Json]] = content["expect_swings"]


def _messages(content: Json) -> list[Message]:
    return [decode(json.dumps(message).encode()) for message in content["messages"]]


def assert_same_swing(got: Json, want: Json) -> None:
    """Compare an event with the expected one: every figure to 1e-9."""
    assert got.keys() - want.keys() <= {"simulated"}
    for name, value in want.items():
        if name == "pools":  # contributions that differ by rounding errors can be in any order
            assert _deltas(got) == pytest.approx(_deltas(want), abs=1e-9)
        else:
            _same(got[name], value, name, 1e-9)


def _deltas(event: Json) -> dict[str, float]:
    return {row["pool"]: row["delta"] for row in event["pools"]}


def assert_same(got: Json, want: Json) -> None:
    """Compare an answer with the expected one: every figure to 1e-9."""
    nothing = NOTHING * sum(sum(row["kinds"].values()) for row in want["shares"])
    smallest = {"shares": ("share", NOTHING), "beliefs": ("hashrate", nothing)}
    for name, value in want.items():
        if name in smallest:
            listed, expected = (_without(rows, *smallest[name]) for rows in (got[name], value))
            _same(listed, expected, name, nothing)
        elif name == "as_of":
            assert parse_rfc3339(got[name]) == parse_rfc3339(value)
        else:
            _same(got[name], value, name, nothing)


def _without(rows: list[Json], figure: str, nothing: float) -> list[Json]:
    return [row for row in rows if not 0 < row[figure] < nothing]


def _same(got: Any, want: Any, where: str, nothing: float) -> None:
    if isinstance(want, dict):
        for name, value in want.items():
            _same(got[name], value, f"{where}.{name}", nothing)
    elif isinstance(want, list):
        assert [_key(each) for each in got] == [_key(each) for each in want], where
        for each, value in zip(got, want, strict=True):
            _same(each, value, f"{where}.{_key(value)}", nothing)
    elif isinstance(want, float):
        assert isinstance(got, int | float), where
        is_hashrate = where.endswith("hashrate") or ".kinds." in where  # all others are ratios
        smallest = nothing if is_hashrate else 1e-9
        assert math.isclose(got, want, rel_tol=1e-9, abs_tol=smallest), where
    else:
        assert got == want, where


def _key(each: Any) -> Any:
    """What identifies a row; a range has no such key."""
    keys = ("code", "id", "pool")
    return next((each[key] for key in keys if key in each), "") if isinstance(each, dict) else ""
