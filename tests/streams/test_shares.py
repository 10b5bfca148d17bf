"""The method's arithmetic by worked cases that can be checked on paper, and by what must hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streams.method import shares
from streams.method.cells import Cell
from streams.method.shares import (
    Beliefs,
    Cohort,
    Kinds,
    Member,
    Observed,
    Rule,
    cohort_of,
    country_shares,
    locate,
    profile_of,
    relabel,
    representing,
    subdivision_shares,
)

if TYPE_CHECKING:
    from miningmap.messages import Kind
    from streams.method.cells import Places


def cell(minutes: int = 1, kind: Kind = "measured", *, total: float = 0, **places: float) -> Cell:
    """A sum over ``minutes`` of means; ``CN_SC`` stands for CN-SC."""
    said = {(code.replace("_", "-"), kind): h * minutes for code, h in places.items()}
    return Cell(minutes, (total or sum(places.values())) * minutes, said)


def observed(window: Cell, profile: Cell | None = None, *, seen_before: bool = False) -> Observed:
    return Observed(window, profile or Cell(), seen_before)


def cohort(*members: Member, network: float | None = None) -> Cohort:
    return Cohort(members, {}, network, None if network is None else "mempool", simulated=False)


def member(pool: str, total: float = 0, kind: Kind = "measured", **places: float) -> Member:
    said: Places = {(code.replace("_", "-"), kind): h for code, h in places.items()}
    return Member(pool, "own", total or sum(places.values()), said)


def by_code(lines: list[shares.Share]) -> dict[str, shares.Share]:
    return {line.code: line for line in lines}


class TestWhoCounts:
    """Method 4."""

    def test_a_source_needs_half_of_the_windows_minutes(self) -> None:
        assert representing({"own": observed(cell(30, US=1))}, 60) == "own"
        assert representing({"own": observed(cell(29, US=1))}, 60) is None
        assert representing({"own": observed(cell(719, US=1))}, 1440) is None
        assert representing({"own": observed(Cell())}, 0) is None

    def test_the_better_kind_then_more_minutes_then_the_name_stands_for_a_pool(self) -> None:
        measured, estimated = cell(40, US=1), cell(60, "estimated", US=1)
        bare = cell(60, total=1)
        assert representing({"a": observed(estimated), "b": observed(measured)}, 60) == "b"
        assert representing({"a": observed(bare), "b": observed(estimated)}, 60) == "b"
        longer = cell(50, US=1)
        assert representing({"a": observed(measured), "b": observed(longer)}, 60) == "b"
        assert representing({"b": observed(bare), "a": observed(bare)}, 60) == "a"

    def test_a_dark_pool_is_stale_and_one_with_gaps_is_thin(self) -> None:
        pools = {
            "dark": {"own": observed(Cell(), seen_before=True)},
            "gaps": {"own": observed(cell(10, US=5))},
            "good": {"own": observed(cell(60, US=5))},
            "unborn": {"own": observed(Cell())},
        }
        made = cohort_of(pools, {}, 60, Beliefs())
        assert [m.pool for m in made.members] == ["good"]
        assert made.excluded == {"dark": "stale", "gaps": "thin"}

    def test_the_network_is_the_eligible_source_with_most_minutes(self) -> None:
        network = {"b": cell(50, total=900), "a": cell(40, total=800), "c": cell(10, total=1)}
        made = cohort_of({}, network, 60, Beliefs())
        assert (made.network_source, made.network) == ("b", 900)

    def test_a_network_hashrate_of_0_is_no_figure(self) -> None:
        network = {"a": cell(1, total=0.5), "b": cell(60)}
        assert cohort_of({}, network, 1, Beliefs()).network_source == "a"
        assert cohort_of({}, {"b": network["b"]}, 1, Beliefs()).network is None

    def test_without_a_network_nothing_that_needs_it_is_known(self) -> None:
        made = cohort(member("a", US=5))
        (line,) = country_shares(made)
        assert (line.low, line.high) == (None, None)
        assert shares.coverage(made) is shares.measured_coverage(made) is None

    def test_what_is_simulated_says_so(self) -> None:
        cells = replace(cell(60, US=5), simulated=True)
        assert cohort_of({"a": {"own": observed(cells)}}, {}, 60, Beliefs()).simulated
        assert not cohort_of({"a": {"own": observed(cell(60, US=5))}}, {}, 60, Beliefs()).simulated


class TestWhereItIs:
    """Method 5 and 6."""

    def test_the_profile_locates_a_bare_total(self) -> None:
        placed = locate(200, {}, {"CN-SC": 60.0, "KZ": 20.0}, {"US": 1})
        assert placed == {("CN-SC", "estimated"): 150, ("KZ", "estimated"): 50}

    def test_what_is_located_adds_to_what_the_pool_says_of_the_same_place_and_kind(self) -> None:
        placed = locate(100, {("US", "estimated"): 20.0}, {"US": 3.0, "CA": 1.0}, None)
        assert placed == {("US", "estimated"): 80, ("CA", "estimated"): 20}

    def test_a_pool_that_counts_is_located_by_its_profile_before_its_prior(self) -> None:
        seen = {"own": observed(cell(1, total=10), cell(1440, CN_SC=3, KZ=1))}
        (one,) = cohort_of({"a": seen}, {}, 1, Beliefs({"a": {"US": 1}})).members
        assert (one.pool, one.source, one.total) == ("a", "own", 10)
        assert one.places == {("CN-SC", "estimated"): 7.5, ("KZ", "estimated"): 2.5}

    def test_without_a_profile_the_prior_does_and_adds_to_what_is_said(self) -> None:
        placed = locate(100, {("US", "measured"): 30.0}, {}, {"US": 1, "CA": 1})
        assert placed == {("US", "measured"): 30, ("US", "prior"): 35, ("CA", "prior"): 35}

    def test_without_either_the_rest_stays_unknown(self) -> None:
        assert locate(100, {("US", "measured"): 30.0}, {}, None) == {("US", "measured"): 30}

    def test_what_gets_nothing_is_not_listed_for_it(self) -> None:
        """A 0 is listed where a report in the window named it, and nowhere else (method 7)."""
        assert locate(100, {}, {"US": 1.0, "CA": 0.0}, None) == {("US", "estimated"): 100}
        assert locate(100, {}, {}, {"US": 0.2, "CA": 0}) == {("US", "prior"): 100}
        assert locate(100, {}, {}, {"US": 0}) == {}
        assert locate(0, {}, {}, {"US": 1}) == {}

    def test_the_default_prior_is_for_pools_without_one_of_their_own(self) -> None:
        seen = {"own": observed(cell(1, total=9))}
        beliefs = Beliefs({"a": {"US": 1}}, default_prior={"KZ": 1})
        a, b = cohort_of({"a": seen, "b": seen}, {}, 1, beliefs).members
        assert a.places == {("US", "prior"): 9}
        assert b.places == {("KZ", "prior"): 9}
        assert cohort_of({"b": seen}, {}, 1, beliefs.without_rules()).members[0] == b

    def test_what_rounding_leaves_is_nothing(self) -> None:
        said: Places = {("US", "measured"): 1e20 - 16384}
        assert locate(1e20, said, {"KZ": 1.0}, None) == said
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

    def test_of_sources_with_as_many_minutes_the_first_name_makes_the_profile(self) -> None:
        sources = {name: observed(Cell(), cell(1, US=0.1)) for name in "bac"}
        sources["a"] = observed(Cell(), cell(1, CA=0.1))
        assert profile_of(sources) == {"CA": 0.1}

    def test_zhejiang_goes_to_the_provinces_that_the_pool_lists(self) -> None:
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

    def test_zhejiang_alone_is_left(self) -> None:
        alone: Places = {("CN-ZJ", "measured"): 10, ("CN", "measured"): 5}
        assert relabel(alone, "CN-ZJ") == alone

    def test_next_to_nothing_elsewhere_takes_all_and_overflows_nothing(self) -> None:
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


class TestShares:
    """Method 7 and 8."""

    made = cohort(member("a", US=60, CN_SC=30, CN=10), member("b", total=150, US=100), network=1000)

    def test_shares_are_parts_of_what_is_located(self) -> None:
        lines = by_code(country_shares(self.made))
        assert lines["US"].share == pytest.approx(160 / 200)
        assert lines["CN"].share == pytest.approx(40 / 200)
        assert shares.located(self.made) == pytest.approx(200 / 250)
        assert shares.coverage(self.made) == pytest.approx(250 / 1000)
        assert shares.measured_coverage(self.made) == pytest.approx(200 / 1000)

    def test_bounds_hold_whatever_the_unseen_part_does(self) -> None:
        line = by_code(country_shares(self.made))["US"]
        assert line.low == pytest.approx(0.16)
        assert line.high == pytest.approx(0.16 + 0.8)

    def test_bounds_of_more_than_is_there_are_all_of_it(self) -> None:
        (line,) = country_shares(cohort(member("a", US=30), network=20))
        assert (line.low, line.high) == (1, 1)

    def test_bounds_end_at_all_of_it_in_whatever_order_floats_are_added_up(self) -> None:
        """Each small pool is 3/4 of the last digit: one by one they are rounded up, at once not."""
        small = [member(pool, US=192.0) for pool in "bcdefghi"]
        (line,) = country_shares(cohort(member("a", US=2.0**60), *small, network=2.0**61))
        assert line.high is not None
        assert line.high <= 1

    def test_kinds_are_added_up_kind_by_kind_over_subdivisions_and_pools(self) -> None:
        a = Member(
            "a", "own", 7, {("US", "measured"): 1, ("US", "estimated"): 2, ("US", "prior"): 4}
        )
        b = member("b", US_TX=30, US_GA=50)
        c = member("c", kind="prior", US=600)
        (line,) = country_shares(cohort(a, b, c))
        assert line.kinds == Kinds(measured=81, estimated=2, prior=604)
        assert (b.located, b.measured) == (80, 80)
        assert (a.located, a.measured) == (7, 1)

    def test_sensitivity_is_the_range_without_each_pool(self) -> None:
        lines = by_code(country_shares(self.made))
        assert lines["US"].sensitivity == pytest.approx((0.6, 1))
        assert lines["CN"].sensitivity == pytest.approx((0, 0.4))
        (alone,) = country_shares(cohort(member("a", US=5)))
        assert alone.sensitivity is None

    def test_inside_a_country_its_share_varies_too(self) -> None:
        """SC is 20/20 of 40/300 without a, 30/40 of 40/200 without b, 50/60 of 80/300 without c."""
        a, b = member("a", CN_SC=30, CN_XJ=10, US=60), member("b", CN_SC=20, CN=20, US=160)
        lines = by_code(subdivision_shares(cohort(a, b, member("c", KZ=100)), "CN"))
        assert lines["CN-SC"].share == pytest.approx(50 / 60 * 80 / 400)
        assert lines["CN-SC"].sensitivity == pytest.approx((2 / 15, 2 / 9))
        assert lines["CN-XJ"].share == pytest.approx(10 / 60 * 80 / 400)
        assert lines["CN-XJ"].sensitivity == pytest.approx((0, 1 / 20))

    def test_without_the_only_pool_that_lists_subdivisions_there_are_none_to_compare(self) -> None:
        (line,) = subdivision_shares(cohort(member("a", CN_SC=1), member("b", US=1)), "CN")
        assert (line.share, line.sensitivity) == (0.5, (1, 1))

    def test_hashrate_known_by_country_only_is_spread_like_the_rest_of_it(self) -> None:
        (line,) = subdivision_shares(self.made, "CN")
        assert (line.code, line.share_of_country) == ("CN-SC", 1)
        assert line.share == pytest.approx(40 / 200)
        assert line.kinds == Kinds(measured=30)

    def test_a_zero_that_was_looked_for_is_listed_and_nothing_else_is(self) -> None:
        lines = by_code(country_shares(cohort(member("a", US=5, CN=0))))
        assert lines["CN"].share == 0
        assert "KZ" not in lines

    def test_other_counts_and_unknown_does_not(self) -> None:
        lines = by_code(country_shares(cohort(member("a", total=100, US=30, OTHER=10))))
        assert lines["US"].share == pytest.approx(0.75)
        assert lines["OTHER"].share == pytest.approx(0.25)

    def test_nothing_located_is_an_empty_list(self) -> None:
        for nobody in (cohort(), cohort(member("a", total=5)), cohort(member("a", US=0))):
            assert country_shares(nobody) == []
            assert subdivision_shares(nobody, "US") == []
        assert shares.located(cohort()) is None

    def test_however_little_is_seen_it_is_seen(self) -> None:
        assert shares.located(cohort(member("a", total=0.5, US=0.25))) == 0.5
        little = cohort(member("a", CN_SC=0.125, US=0.125), member("b", CN_SC=0.25))
        (line,) = subdivision_shares(little, "CN")
        assert (line.share, line.sensitivity) == (0.75, (0.5, 1))

    def test_only_places_inside_a_country_have_a_share_of_it(self) -> None:
        assert {line.share_of_country for line in country_shares(self.made)} == {None}

    def test_the_order_is_by_share_then_code(self) -> None:
        lines = country_shares(cohort(member("a", US=5, CA=5, KZ=9)))
        assert [line.code for line in lines] == ["KZ", "CA", "US"]


codes = st.sampled_from(["US", "US-TX", "US-GA", "CN", "CN-ZJ", "CN-SC", "CN-OTHER", "KZ", "OTHER"])
kinds = st.sampled_from(["measured", "estimated", "prior"])
hashrates = st.floats(0, 1e21, allow_subnormal=False)
members = st.builds(
    lambda pool, places, dark: Member(pool, "own", sum(places.values()) + dark, places),
    st.sampled_from("abcdef"),
    st.dictionaries(st.tuples(codes, kinds), hashrates, max_size=6),
    hashrates,
)
cohorts = st.builds(
    lambda pools, network: cohort(*pools, network=network),
    st.lists(members, max_size=5, unique_by=lambda m: m.pool),
    st.none() | st.floats(1e18, 1e22),
)


@given(cohorts)
def test_shares_add_up_to_one_or_there_are_none(made: Cohort) -> None:
    lines = country_shares(made)
    assert not lines or sum(line.share for line in lines) == pytest.approx(1, abs=1e-9)
    for country in ("US", "CN"):
        inside = subdivision_shares(made, country)
        assert not inside or sum(s.share_of_country or 0 for s in inside) == pytest.approx(1)
        whole = by_code(lines).get(country)
        if inside and whole:
            assert sum(line.share for line in inside) == pytest.approx(whole.share, abs=1e-9)


@given(cohorts)
def test_bounds_and_kinds_are_sound(made: Cohort) -> None:
    for line in [*country_shares(made), *subdivision_shares(made, "US")]:
        assert 0 <= line.share <= 1
        if line.low is None or line.high is None:
            assert made.network is None
        else:
            assert 0 <= line.low <= line.high <= 1
        if line.sensitivity:
            assert 0 <= line.sensitivity[0] <= line.sensitivity[1] <= 1


@given(cohorts)
def test_a_measured_share_lies_within_its_bounds(made: Cohort) -> None:
    """What is seen cannot say more than the bounds, if all that counts is measured and all is seen
    at most once: method 8's promise."""
    covered = shares.coverage(made)
    measured = all(kind == "measured" for m in made.members for _, kind in m.places)
    assume(covered is not None and covered <= 1 and measured)
    for line in country_shares(made):
        assert line.low is not None
        assert line.high is not None
        assert line.low <= line.share + 1e-9
        assert line.share <= line.high + 1e-9


@given(members)
def test_relabelling_keeps_a_pools_country_totals(one: Member) -> None:
    moved = Member(one.pool, one.source, one.total, relabel(one.places, "CN-ZJ"))
    before, after = one.by_country, moved.by_country
    assert {c: sum(k) for c, k in after.items()} == {
        c: pytest.approx(sum(k), rel=1e-9) for c, k in before.items()
    }
