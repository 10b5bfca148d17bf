"""Tables of numbers: the same figures as by place and pool."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from miningmap.messages import KINDS
from streams.method.tables import CODES, NO_ROWS, Rows, joined, sum_by, table_of
from tests.streams.fixtures import places_of

codes = st.sampled_from(["US", "US-TX", "CN", "CN-ZJ", "CN-OTHER", "KZ", "OTHER"])
tables = st.lists(
    st.dictionaries(st.tuples(codes, st.sampled_from(KINDS)), st.floats(0, 1e21), max_size=6),
    max_size=5,
)


@given(tables)
def test_a_table_of_pools_has_the_places_of_each(pools: list[dict[tuple[str, str], float]]) -> None:
    rows = [Rows.of(places) for places in pools]  # type: ignore[arg-type]
    table = table_of(rows)
    assert [each.by_place() for each in table.by_pool(len(pools))] == pools
    totals = sum_by(table.pools, table.hashrates, len(pools)).tolist()
    assert totals == [sum(places.values()) for places in pools]


def test_rows_of_one_place_are_added_up() -> None:
    us = Rows.of(places_of(US=1))
    twice = joined([table_of([us, NO_ROWS]), table_of([us, Rows.of(places_of(CA=3))])])
    assert [each.by_place() for each in twice.by_pool(2)] == [places_of(US=2), places_of(CA=3)]


def test_rows_are_equal_if_their_places_are() -> None:
    assert Rows.of(places_of(US=1, CA=2)) == Rows.of(places_of(CA=2, US=1))
    assert Rows.of(places_of(US=1)) != Rows.of(places_of(US=2))
    assert Rows.of(places_of(US=1)) != Rows.of(places_of("prior", US=1))
    assert Rows.of({}) == NO_ROWS


def test_threads_that_ask_at_once_get_the_same_numbers() -> None:
    """The codes are made up, so that no other test has asked for them."""
    asked = [f"X{country}-{n}" for n in range(100) for country in "AB"]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: [CODES[code] for code in asked], range(8)))
    assert all(numbers == found[0] for numbers in found)
    assert [CODES.by_number[number] for number in found[0]] == asked
    countries = CODES.countries[np.array(found[0])].tolist()
    assert [CODES.by_number[number] for number in countries] == ["XA", "XB"] * 100
