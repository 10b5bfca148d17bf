"""The sources that represent pools, and the places of their hashrate; checkable by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.method.cells import Cell
from streams.method.observations import Observation
from streams.method.placing import (
    Beliefs,
    Member,
    Rule,
    cohort_of,
    locate,
    profile_of,
    relabel,
    representative_source,
)

if TYPE_CHECKING:
    from miningmap.messages import Kind
    from streams.method.cells import Places


def cell(minutes: int = 1, kind: Kind = "measured", *, total: float = 0, **places: float) -> Cell:
    """A sum over ``minutes`` of means; ``CN_SC`` means CN-SC."""
    values = {(code.replace("_", "-"), kind): h * minutes for code, h in places.items()}
    return Cell(minutes, (total or sum(places.values())) * minutes, values)


def observed(
    window: Cell, profile: Cell | None = None, *, seen_before: bool = False
) -> Observation:
    return Observation(window, profile or Cell(), seen_before)


class TestRepresentation:
    """Section 4 of the method."""

    def test_a_source_needs_half_of_the_windows_minutes(self) -> None:
        assert representative_source({"own": observed(cell(30, US=1))}, 60) == "own"
        assert representative_source({"own": observed(cell(29, US=1))}, 60) is None
        assert representative_source({"own": observed(cell(719, US=1))}, 1440) is None
        assert representative_source({"own": observed(Cell())}, 0) is None

    def test_a_pool_is_represented_by_the_best_kind_then_most_minutes_then_first_name(self) -> None:
        measured, estimated = cell(40, US=1), cell(60, "estimated", US=1)
        bare = cell(60, total=1)
        assert representative_source({"a": observed(estimated), "b": observed(measured)}, 60) == "b"
        assert representative_source({"a": observed(bare), "b": observed(estimated)}, 60) == "b"
        longer = cell(50, US=1)
        assert representative_source({"a": observed(measured), "b": observed(longer)}, 60) == "b"
        assert representative_source({"b": observed(bare), "a": observed(bare)}, 60) == "a"

    def test_a_pool_without_recent_reports_is_stale_and_one_with_gaps_is_thin(self) -> None:
        pools = {
            "silent": {"own": observed(Cell(), seen_before=True)},
            "gaps": {"own": observed(cell(10, US=5))},
            "good": {"own": observed(cell(60, US=5))},
            "future": {"own": observed(Cell())},
        }
        cohort = cohort_of(pools, {}, 60, Beliefs())
        assert [m.pool for m in cohort.members] == ["good"]
        assert cohort.excluded == {"silent": "stale", "gaps": "thin"}

    def test_the_network_is_the_eligible_source_with_most_minutes(self) -> None:
        network = {"b": cell(50, total=900), "a": cell(40, total=800), "c": cell(10, total=1)}
        cohort = cohort_of({}, network, 60, Beliefs())
        assert (cohort.network_source, cohort.network) == ("b", 900)

    def test_a_network_hashrate_of_0_counts_as_unknown(self) -> None:
        network = {"a": cell(1, total=0.5), "b": cell(60)}
        assert cohort_of({}, network, 1, Beliefs()).network_source == "a"
        assert cohort_of({}, {"b": network["b"]}, 1, Beliefs()).network is None

    def test_a_cohort_with_simulated_cells_is_simulated(self) -> None:
        cells = replace(cell(60, US=5), simulated=True)
        assert cohort_of({"a": {"own": observed(cells)}}, {}, 60, Beliefs()).simulated
        assert not cohort_of({"a": {"own": observed(cell(60, US=5))}}, {}, 60, Beliefs()).simulated


class TestLocation:
    """Sections 5 and 6 of the method."""

    def test_the_profile_locates_a_bare_total(self) -> None:
        placed = locate(200, {}, {"CN-SC": 60.0, "KZ": 20.0}, {"US": 1})
        assert placed == {("CN-SC", "estimated"): 150, ("KZ", "estimated"): 50}

    def test_the_located_remainder_adds_to_the_reported_hashrate_of_the_same_place_and_kind(
        self,
    ) -> None:
        placed = locate(100, {("US", "estimated"): 20.0}, {"US": 3.0, "CA": 1.0}, None)
        assert placed == {("US", "estimated"): 80, ("CA", "estimated"): 20}

    def test_a_member_is_located_by_its_profile_rather_than_its_prior(self) -> None:
        seen = {"own": observed(cell(1, total=10), cell(1440, CN_SC=3, KZ=1))}
        (one,) = cohort_of({"a": seen}, {}, 1, Beliefs({"a": {"US": 1}})).members
        assert (one.pool, one.source, one.total) == ("a", "own", 10)
        assert one.places == {("CN-SC", "estimated"): 7.5, ("KZ", "estimated"): 2.5}

    def test_without_a_profile_the_prior_locates_the_remainder(self) -> None:
        placed = locate(100, {("US", "measured"): 30.0}, {}, {"US": 1, "CA": 1})
        assert placed == {("US", "measured"): 30, ("US", "prior"): 35, ("CA", "prior"): 35}

    def test_without_either_the_remainder_stays_unknown(self) -> None:
        assert locate(100, {("US", "measured"): 30.0}, {}, None) == {("US", "measured"): 30}

    def test_a_place_of_weight_0_is_not_listed(self) -> None:
        """A place with 0 is listed only if a report in the window names it (method, section 7)."""
        assert locate(100, {}, {"US": 1.0, "CA": 0.0}, None) == {("US", "estimated"): 100}
        assert locate(100, {}, {}, {"US": 0.2, "CA": 0}) == {("US", "prior"): 100}
        assert locate(100, {}, {}, {"US": 0}) == {}
        assert locate(0, {}, {}, {"US": 1}) == {}

    def test_the_default_prior_is_for_pools_without_their_own(self) -> None:
        seen = {"own": observed(cell(1, total=9))}
        beliefs = Beliefs({"a": {"US": 1}}, default_prior={"KZ": 1})
        a, b = cohort_of({"a": seen, "b": seen}, {}, 1, beliefs).members
        assert a.places == {("US", "prior"): 9}
        assert b.places == {("KZ", "prior"): 9}
        assert cohort_of({"b": seen}, {}, 1, beliefs.without_rules()).members[0] == b

    def test_a_remainder_of_rounding_error_counts_as_0(self) -> None:
        values: Places = {("US", "measured"): 1e20 - 16384}
        assert locate(1e20, values, {"KZ": 1.0}, None) == values
        assert locate(1e12, {("US", "measured"): 1e12 - 2}, {"KZ": 1.0}, None) == {
            ("US", "measured"): 1e12 - 2,
            ("KZ", "estimated"): 2,
        }

    def test_only_measured_places_make_a_profile_of_the_source_with_most_minutes(self) -> None:
        sources = {
            "a": observed(Cell(), cell(10, US=1)),
            "b": observed(Cell(), cell(20, CA=1)),
            "c": observed(Cell(), cell(90, "estimated", KZ=1)),
            "d": observed(Cell(), cell(99, MY=0)),
        }
        assert profile_of(sources) == {"CA": 20}
        assert profile_of(dict(reversed(sources.items()))) == {"CA": 20}
        assert profile_of({"c": sources["c"]}) == {}

    def test_of_sources_with_equally_many_minutes_the_first_name_makes_the_profile(self) -> None:
        sources = {name: observed(Cell(), cell(1, US=0.1)) for name in "bac"}
        sources["a"] = observed(Cell(), cell(1, CA=0.1))
        assert profile_of(sources) == {"CA": 0.1}

    def test_zhejiang_is_moved_to_the_other_provinces_that_the_pool_lists(self) -> None:
        places: Places = {
            ("CN-ZJ", "measured"): 30,
            ("CN-XJ", "measured"): 40,
            ("CN-SC", "estimated"): 20,
            ("CN", "measured"): 7,
            ("US", "measured"): 10,
        }
        assert relabel(places, "CN-ZJ") == {
            ("CN-XJ", "measured"): 60,
            ("CN-SC", "estimated"): 30,
            ("CN", "measured"): 7,
            ("US", "measured"): 10,
        }

    def test_zhejiang_stays_where_no_other_province_is_listed(self) -> None:
        alone: Places = {("CN-ZJ", "measured"): 10, ("CN", "measured"): 5}
        assert relabel(alone, "CN-ZJ") == alone

    def test_relabelling_to_a_tiny_hashrate_does_not_overflow(self) -> None:
        places: Places = {("CN-ZJ", "measured"): 1e21, ("CN-SC", "measured"): 1e-300}
        assert relabel(places, "CN-ZJ") == {("CN-SC", "measured"): pytest.approx(1e21)}

    def test_a_rule_applies_to_its_pools_only(self) -> None:
        seen = {"own": observed(cell(1, CN_ZJ=30, CN_XJ=60))}
        beliefs = Beliefs(rules=[Rule("zj", "CN-ZJ", frozenset({"a"}))])
        a, b = cohort_of({"a": seen, "b": seen}, {}, 1, beliefs).members
        assert a.places == {("CN-XJ", "measured"): 90}
        assert b.places == {("CN-ZJ", "measured"): 30, ("CN-XJ", "measured"): 60}
        unruled = cohort_of({"a": seen}, {}, 1, beliefs.without_rules())
        assert unruled.members[0].places == b.places


codes = st.sampled_from(["US", "US-TX", "CN", "CN-ZJ", "CN-SC", "CN-OTHER", "KZ", "OTHER"])
kinds = st.sampled_from(["measured", "estimated", "prior"])
places = st.dictionaries(
    st.tuples(codes, kinds), st.floats(0, 1e21, allow_subnormal=False), max_size=6
)


@given(places)
def test_relabelling_keeps_the_totals_of_countries(located: Places) -> None:
    total = sum(located.values())
    before, after = (
        Member("a", "own", total, found).by_country
        for found in (located, relabel(located, "CN-ZJ"))
    )
    assert {c: sum(k) for c, k in after.items()} == {
        c: pytest.approx(sum(k), rel=1e-9) for c, k in before.items()
    }
