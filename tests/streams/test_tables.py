"""Tables of numbers: the order of codes, and rows that are added up."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Final

from hypothesis import given
from hypothesis import strategies as st

from miningmap.places import OTHER
from streams.method.tables import CODES, Rows, added

if TYPE_CHECKING:
    from streams.method.cells import PlaceKind, Places

US: Final[PlaceKind] = ("US", "measured")
CA: Final[PlaceKind] = ("CA", "measured")
NO: Final[PlaceKind] = ("NO", "declared")


def test_codes_are_numbered_in_one_order_whatever_is_asked_for_first() -> None:
    """Sums are made in the order of the numbers, and have to be the same in each process."""
    asked = ("RU-IRK", "US-TX", "DE-BY", "CN", "US", OTHER, "CN-OTHER", "AD")
    often_first = ["AD", "CN", "CN-OTHER", OTHER, "US", "US-TX", "DE-BY", "RU-IRK"]
    assert sorted(asked, key=CODES.__getitem__) == sorted(often_first[:6]) + often_first[6:]


def test_rows_are_in_the_order_of_their_numbers_however_they_are_listed() -> None:
    one, other = Rows.of({US: 1.0, CA: 2.0}), Rows.of({CA: 2.0, US: 1.0})
    assert one.places is other.places  # so that sums of them are fast
    assert one.hashrates.tolist() == other.hashrates.tolist() == [2.0, 1.0]


hashrates = st.floats(0, 1e21, allow_subnormal=False)
listed = st.one_of(
    st.fixed_dictionaries({US: hashrates, CA: hashrates}),
    st.dictionaries(st.sampled_from([US, CA, NO]), hashrates),
)


@given(st.lists(listed, max_size=8))
def test_rows_are_added_up_in_their_order_whichever_places_they_have(
    tables: list[Places],
) -> None:
    expected: Places = {}
    for table in tables:
        for place, hashrate in table.items():
            expected[place] = expected.get(place, 0.0) + hashrate
    rows = [Rows.of(table) for table in tables]
    found = added(rows)
    assert found.by_place() == expected
    assert found.places.tolist() == sorted(found.places.tolist())
    assert reduce(lambda sums, each: added([sums, each]), rows, Rows.of({})) == found
