"""Relabelling: corrections of places that a proxy or VPN has shifted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miningmap.messages import KINDS
from miningmap.places import country_of
from streams.method.beliefs import Rule
from streams.method.relabelling import relabelled
from tests.streams.fixtures import places_of

if TYPE_CHECKING:
    from streams.method.cells import Places

ZHEJIANG = Rule("zj", "CN-ZJ", None)


def relabel(places: Places, place: str) -> Places:
    """Places after one rule."""
    return relabelled(places, "a", [Rule("rule", place, None)])


def test_zhejiang_is_moved_to_the_other_provinces_that_the_pool_lists() -> None:
    places = places_of(CN_ZJ=30, CN_XJ=40, CN=7, US=10) | places_of("estimated", CN_SC=20)
    moved = places_of(CN_XJ=60, CN=7, US=10) | places_of("estimated", CN_SC=30)
    assert relabel(places, "CN-ZJ") == moved


def test_all_kinds_of_the_emptied_place_go_and_each_receiver_keeps_its_kind() -> None:
    places = places_of(CN_ZJ=4, CN_XJ=8) | places_of("declared", CN_ZJ=4, CN_XJ=8)
    assert relabel(places, "CN-ZJ") == places_of(CN_XJ=12) | places_of("declared", CN_XJ=12)


def test_the_other_places_of_a_country_receive_too() -> None:
    assert relabel(places_of(CN_ZJ=30, CN_OTHER=10), "CN-ZJ") == places_of(CN_OTHER=40)


def test_zhejiang_stays_where_no_other_province_is_listed() -> None:
    for alone in (places_of(CN_ZJ=10, CN=5), places_of(CN_ZJ=10, CN_SC=0)):
        assert relabel(alone, "CN-ZJ") == alone


def test_relabelling_to_a_tiny_hashrate_does_not_overflow() -> None:
    places = places_of(CN_ZJ=1e21, CN_SC=1e-300)
    assert relabel(places, "CN-ZJ") == {("CN-SC", "measured"): pytest.approx(1e21)}


def test_rules_apply_one_after_the_other_to_their_pools_only() -> None:
    places = places_of(CN_ZJ=30, CN_XJ=30, CN_SC=60)
    rules = [ZHEJIANG, Rule("xj", "CN-XJ", frozenset({"a"}))]
    assert relabelled(places, "a", rules) == places_of(CN_SC=120)
    assert relabelled(places, "b", rules) == places_of(CN_XJ=40, CN_SC=80)
    assert relabelled(places, "a", ()) == places


codes = st.sampled_from(["US", "US-TX", "CN", "CN-ZJ", "CN-SC", "CN-OTHER", "KZ", "OTHER"])
tables = st.dictionaries(
    st.tuples(codes, st.sampled_from(KINDS)), st.floats(0, 1e21, allow_subnormal=False), max_size=6
)


def by_country(places: Places) -> dict[str, float]:
    sums: Counter[str] = Counter()
    for (code, _), hashrate in places.items():
        sums[country_of(code)] += hashrate  # type: ignore[assignment]
    return dict(sums)


@given(tables)
def test_relabelling_keeps_the_totals_of_countries(located: Places) -> None:
    after = by_country(relabel(located, "CN-ZJ"))
    assert after == pytest.approx(by_country(located), rel=1e-9)


@given(tables)
def test_relabelling_is_idempotent(located: Places) -> None:
    once = relabel(located, "CN-ZJ")
    assert relabel(once, "CN-ZJ") == once
