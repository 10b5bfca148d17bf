"""Editions of the map: ranges, rows, and what was believed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miningmap.api.columns import columns, described
from streams.beliefs import BeliefsDocument, beliefs_of
from streams.beliefs.excerpt import as_file, believed_on, rows_on_any
from streams.beliefs.rows import rows_on
from streams.method.cells import MemoryCells
from streams.queries.dataset import TABLES, RangeError, day_of, end_of, range_of, rows_of
from streams.queries.day_cells import DayCells
from streams.queries.parameters import SharesQuery
from streams.queries.shares import answer_from
from tests.examples import examples
from tests.streams import worlds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from miningmap.messages import Message
    from tests.streams.worlds import Scene

NOW = datetime(2026, 12, 5, 12, 30, tzinfo=UTC)


def month(year: int, number: int) -> datetime:
    return datetime(year, number, 1, tzinfo=UTC)


# --- the range ------------------------------------------------------------------------------------


def test_a_range_is_every_window_that_it_touches() -> None:
    months = range_of("month", month(2026, 1), month(2026, 12), NOW)
    assert months.names == "2026-01 to 2026-11"
    assert len(months.windows) == 11
    assert (months.since, months.until) == (month(2026, 1), month(2026, 12))
    touched = range_of("month", datetime(2026, 1, 9, tzinfo=UTC), month(2026, 2), NOW)
    assert (touched.names, touched.since) == ("2026-01", month(2026, 1))


def test_days_depend_on_the_30_days_before() -> None:
    days = range_of("day", month(2026, 12), datetime(2026, 12, 5, tzinfo=UTC), NOW)
    assert days.names == "2026-12-01 to 2026-12-04"
    assert days.since == datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("step", "start", "to", "parameter", "error"),
    [
        ("month", month(2026, 1), month(2026, 1), "from", "must be before --to 2026-01-01"),
        ("month", month(2008, 12), month(2026, 1), "from", "expected 2009-01, Bitcoin's first"),
        (
            *("month", month(2026, 11), month(2027, 1), "to"),
            "2026-12 is not over; the latest possible is --to 2026-12",
        ),
        (
            *("day", month(2026, 12), month(2027, 1), "to"),
            "2026-12-05 is not over; the latest possible is --to 2026-12-05",
        ),
    ],
)
def test_a_range_without_an_edition_is_explained(
    step: Any, start: datetime, to: datetime, parameter: str, error: str
) -> None:
    with pytest.raises(RangeError, match=error) as caught:
        range_of(step, start, to, NOW)
    assert caught.value.parameter == parameter


# --- rows -----------------------------------------------------------------------------------------


def sorted_cells(messages: Iterable[Message]) -> DayCells:
    cells = DayCells()
    for message in sorted(messages, key=lambda message: message.start):
        cells.add(message)
    cells.finish()
    return cells


@examples(40, "EXAMPLES")
@given(worlds.scenes(), st.sampled_from(["month", "day"]))
def test_the_rows_are_what_recompute_answers(scene: Scene, step: Any) -> None:
    start = worlds.MIDNIGHT - timedelta(days=2)
    span = range_of(step, start, worlds.MIDNIGHT + timedelta(days=1), month(2027, 1))
    messages = [m for m in scene.world.messages if m.is_about(span.since, span.until)]
    kept = MemoryCells()
    for message in messages:
        kept.add(message)
    document = msgspec.convert(scene.world.beliefs, BeliefsDocument)
    excerpt = believed_on(document, [day_of(window) for window in span.windows])
    published = msgspec.convert(as_file(excerpt), BeliefsDocument)
    for window in span.windows:
        found = rows_of(sorted_cells(messages), window, beliefs_of(published))
        (whole,) = found["windows"]
        query = SharesQuery(window=window, as_of=end_of(window))
        answer = worlds.as_json(answer_from(kept, query, beliefs_of(document)))
        for name in ("coverage", "located", "evidence", "simulated", "rules"):
            assert in_json(whole)[name] == answer[name]
        assert [row | {"window": window.name} for row in answer["cohort"]] == found["cohort"]
        assert [row | {"window": window.name} for row in answer["excluded"]] == found["excluded"]
        placed = {row["belief_id"]: row["hashrate"] for row in found["placed"]}
        assert placed == {belief["id"]: belief["hashrate"] for belief in answer["beliefs"]}
        for country in (None, "CN", "US"):
            if country:
                query = SharesQuery(
                    window=window, as_of=end_of(window), level="subdivision", country=country
                )
            answer = worlds.as_json(answer_from(kept, query, beliefs_of(document)))
            rows = [
                in_json(row)
                for row in found["shares"]
                if (row["level"], row["country"] if country else None) == (query.level, country)
            ]
            assert {row["code"]: row for row in answer["shares"]} == {
                row["code"]: {name: row[name] for name in answer["shares"][0]} for row in rows
            }


def in_json(row: Any) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(row))
    return decoded


def test_every_column_says_what_it_is() -> None:
    for table in TABLES:
        known = described(table.row)
        names = columns(table.fields)
        assert set(names) == set(known)
        assert set(table.key) <= set(names)
        for name in names:
            column = known[name]
            assert column.description.endswith("."), name
            assert bool(column.unit) == isinstance(column.type, msgspec.inspect.FloatType), name


# --- beliefs --------------------------------------------------------------------------------------

DAYS = [date(2026, 11, 30), date(2026, 12, 1), date(2026, 12, 2)]


@examples(100, "EXAMPLES")
@given(worlds.beliefs_about(), st.sets(st.sampled_from(DAYS), min_size=1))
def test_an_excerpt_says_the_same_about_its_days(beliefs: Any, days: set[date]) -> None:
    document = msgspec.convert(beliefs, BeliefsDocument)
    excerpt = believed_on(document, days)
    for day in days:
        assert effects(rows_on(excerpt, day)) == effects(rows_on(document, day))
    listed = {row.id for row in rows_on_any(document, days)}
    assert listed == {row.id for day in days for row in rows_on(document, day)}


def effects(rows: Iterable[Any]) -> list[Any]:
    return sorted((row.id, row.kind, row.figures, row.place or "", row.pools or ()) for row in rows)


def test_what_is_believed_of_other_days_is_left_out() -> None:
    text = {
        "network": [
            {
                "id": "n",
                "series": [
                    {"from": "2026-01-01", "weights": {"US": 1}},
                    {"from": "2026-12-02", "weights": {"KZ": 1}},
                ],
            }
        ],
        "claims": [
            {"id": "inner", "place": "US-TX", "at_least": 1e18, "within": "outer"}
            | {"from": "2026-01-01", "until": "2027-01-01"},
            {"id": "outer", "place": "US", "at_least": 2e18}
            | {"from": "2020-01-01", "until": "2020-02-01"},
            {"id": "old", "place": "KZ", "at_least": 2e18}
            | {"from": "2020-01-01", "until": "2020-02-01"},
        ],
    }
    excerpt = believed_on(msgspec.convert(text, BeliefsDocument), [date(2026, 12, 1)])
    (entry,) = excerpt.network[0].series
    assert (entry.weights, entry.until) == ({"US": 1}, date(2026, 12, 2))
    # The outer one does not count, but holds the chain that the inner one is in.
    assert [claim.id for claim in excerpt.claims] == ["inner", "outer"]
    assert [row.id for row in rows_on_any(excerpt, [date(2026, 12, 1)])] == ["n", "inner"]
