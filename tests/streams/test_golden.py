"""The golden cases through the pure functions and through the command line's file reading."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from miningmap.messages import encode
from streams.queries.recompute import read_cells
from streams.queries.shares import answer_from
from streams.queries.swings import detect, minutes_between
from tests.streams import golden

if TYPE_CHECKING:
    from pathlib import Path


@golden.parametrize()
def test_every_answer_is_recomputed_from_the_messages(path: Path) -> None:
    case = golden.Case(path)
    cells, _ = read_cells(encode(message) for message in case.messages)
    for query, want in zip(case.queries(), case.expected, strict=True):
        got = json.loads(msgspec.json.encode(answer_from(cells, query, case.beliefs)))
        golden.assert_same(got, want)


@golden.parametrize(golden.SWINGS)
def test_every_swing_is_found_in_the_messages(path: Path) -> None:
    case = golden.SwingCase(path)
    cells, _ = read_cells(encode(message) for message in case.messages)
    for (start, end), want in zip(case.ranges, case.expected, strict=True):
        events = detect(cells, minutes_between(start, end), case.beliefs)
        got = json.loads(msgspec.json.encode(list(events)))
        for event, expected in zip(got, want, strict=True):
            golden.assert_same_swing(event, expected)
