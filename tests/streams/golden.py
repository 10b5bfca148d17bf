"""The golden cases of method.md, read from a folder beside the project if there is one.

They are not part of the project; its own worked cases are in ``test_placing.py`` and
``test_shares.py``.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from miningmap.messages import Message, decode
from miningmap.times import parse_rfc3339
from streams.method.beliefs import Beliefs, Rule
from streams.queries.parameters import SharesParameters, SharesQuery

Json = dict[str, Any]

FOLDER = Path(
    os.environ.get("GOLDEN", Path(__file__).resolve().parents[3] / "shared" / "data" / "golden")
)
# Cases of method version 2 carry `beliefs` where those of version 1 carried `priors` and `rules`.
FILES = [f for f in sorted(FOLDER.glob("*.json")) if "priors" in json.loads(f.read_bytes())]

# A fully located pool has no remainder but floating-point error. Some expectations contain such
# errors (1e5 H/s of 1e19, others for another order of the same messages), so parts of the whole
# that are smaller than this count as 0.
NOTHING = 1e-12


def parametrize() -> pytest.MarkDecorator:
    """One test for each case; if there are none, one skipped test that gives the reason."""
    if FILES:
        return pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
    reason = "all of them are of method version 2" if FOLDER.is_dir() else "none found"
    skipped = pytest.mark.skip(reason=f"golden cases skipped: {reason}")
    return pytest.mark.parametrize("path", [pytest.param(None, marks=skipped)])


class Case:
    """One file: messages in, answers out."""

    def __init__(self, path: Path) -> None:
        content: Json = json.loads(path.read_text())
        self.messages: list[Message] = [decode(json.dumps(m).encode()) for m in content["messages"]]
        self.beliefs = Beliefs(
            content["priors"],
            rules=[
                Rule(
                    r["id"],
                    r["place"],
                    None if r["applies_to"] == "*" else frozenset(r["applies_to"]),
                )
                for r in content["rules"]
            ],
        )
        self.parameters: list[dict[str, str]] = content["queries"]
        self.expected: list[Json] = content["expect"]

    def queries(self) -> list[SharesQuery]:
        """The queries, as the pure functions take them."""
        return [
            SharesParameters.parse(given).query(parse_rfc3339(given["as_of"]))
            for given in self.parameters
        ]


def assert_same(got: Json, want: Json) -> None:
    """Compare an answer with the expected one: every figure to 1e-9."""
    for name, value in want.items():
        if name == "shares":
            _same_rows(got[name], [row for row in value if not 0 < row["share"] < NOTHING])
        elif name == "as_of":
            assert parse_rfc3339(got[name]) == parse_rfc3339(value)
        else:
            _same(got[name], value, name, 0.0)


def _same_rows(got: list[Json], want: list[Json]) -> None:
    assert [row["code"] for row in got] == [row["code"] for row in want]
    for row, expected in zip(got, want, strict=True):
        nothing = NOTHING * sum(row["hashrate"] for row in want)
        for name, value in expected.items():
            _same(row[name], value, f"{expected['code']}.{name}", nothing)


def _same(got: Any, want: Any, where: str, nothing: float) -> None:
    if isinstance(want, dict):
        for name, value in want.items():
            _same(got[name], value, f"{where}.{name}", nothing)
    elif isinstance(want, list):
        assert len(got) == len(want), where
        for number, value in enumerate(want):
            _same(got[number], value, f"{where}[{number}]", nothing)
    elif isinstance(want, float):
        assert isinstance(got, int | float), where
        assert math.isclose(got, want, rel_tol=1e-9, abs_tol=max(1e-9, nothing)), where
    else:
        assert got == want, where
