from __future__ import annotations

from datetime import timedelta

import pytest

from streams.method.cells import Cell, MemoryCells
from streams.method.observations import observe, spans_of
from streams.method.tables import Rows
from streams.method.windows import Span, parse_window
from tests.streams.fixtures import NOON, network, report

HOUR = timedelta(hours=1)


def test_the_spans_of_windows_and_profiles_have_no_duplicates() -> None:
    hour, day = parse_window("1h", NOON), parse_window("24h", NOON)
    assert hour.profile == day.profile
    assert spans_of([hour, day]) == {hour.span, day.span, hour.profile}
    month = parse_window("2026-10", NOON)
    assert spans_of([month]) == {Span("day", month.span.buckets)}


def test_sources_of_pools_and_of_the_network_are_separate() -> None:
    cells = MemoryCells()
    for message in (
        report("a", {"US": 1.0}, source="x"),
        network(9, source="x"),
        report("a", {"US": 2.0}, source="y"),
        report("b", {"CA": 3.0}, source="x"),
    ):
        cells.add(message)
    pools, networks = observe(cells, parse_window("now", NOON))
    found = {
        (pool, s): seen.window_sum.total for pool, by in pools.items() for s, seen in by.items()
    }
    assert found == {("a", "x"): 1, ("a", "y"): 2, ("b", "x"): 3}
    assert {source: seen.window_sum.total for source, seen in networks.items()} == {"x": 9}


def test_the_network_is_observed_over_the_profile_days_too() -> None:
    cells = MemoryCells()
    yesterday = NOON - timedelta(days=1)
    cells.add(network(9, start=yesterday, end=yesterday + HOUR))
    seen = observe(cells, parse_window("now", NOON)).network["mempool"]
    assert (seen.window_sum, seen.profile_sum.total) == (Cell(), 540)


def test_the_profile_covers_the_days_before_the_window() -> None:
    cells = MemoryCells()
    cells.add(report(places={"US": 1.0}))
    yesterday = NOON - timedelta(days=1)
    cells.add(report(places={"CA": 2.0}, start=yesterday, end=yesterday + HOUR))
    pools, _ = observe(cells, parse_window("now", NOON))
    assert pools["a"]["own"].window_sum.places == Rows.of({("US", "measured"): 1})
    assert pools["a"]["own"].profile_sum.places == Rows.of({("CA", "measured"): 120})


@pytest.mark.parametrize(
    ("window", "before"),
    [
        ("now", True),
        ("1h", False),  # the report is of the window's first minute
        ("24h", False),
        ("2026-11-22T11", False),
        ("2026-11-22T12", True),
        ("2026-11-23", True),
        ("2026-12", True),
    ],
)
def test_a_source_was_seen_before_if_it_has_a_value_before_the_window(
    window: str, *, before: bool
) -> None:
    cells = MemoryCells()
    cells.add(report(places={"US": 1.0}, start=NOON - HOUR))
    pools, _ = observe(cells, parse_window(window, NOON))
    assert pools["a"]["own"].seen_before is before


def test_claimed_hours_do_not_count_as_minutes_seen_before() -> None:
    cells = MemoryCells()
    cells.add(report(places={"US": 1.0}, start=NOON - 3 * HOUR, end=NOON - 2 * HOUR))
    pools, _ = observe(cells, parse_window("1h", NOON))
    assert pools["a"]["own"].window_sum == Cell()
    assert not pools["a"]["own"].seen_before
