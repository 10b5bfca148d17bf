"""Shares, bounds and sensitivity: cases that can be checked by hand, and properties."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.method import shares
from streams.method.placing import Cohort, HashrateByKind, Member
from streams.method.shares import country_shares, subdivision_shares

if TYPE_CHECKING:
    from miningmap.messages import Kind
    from streams.method.cells import Places


def of(*members: Member, network: float | None = None) -> Cohort:
    return Cohort(members, {}, network, None if network is None else "mempool", simulated=False)


def member(pool: str, total: float = 0, kind: Kind = "measured", **places: float) -> Member:
    values: Places = {(code.replace("_", "-"), kind): h for code, h in places.items()}
    return Member(pool, "own", total or sum(places.values()), values)


def by_code(rows: list[shares.Share]) -> dict[str, shares.Share]:
    return {row.code: row for row in rows}


class TestShares:
    """Sections 7 and 8 of the method."""

    cohort = of(member("a", US=60, CN_SC=30, CN=10), member("b", total=150, US=100), network=1000)

    def test_shares_are_of_the_located_hashrate(self) -> None:
        lines = by_code(country_shares(self.cohort))
        assert lines["US"].share == pytest.approx(160 / 200)
        assert lines["CN"].share == pytest.approx(40 / 200)
        assert shares.located(self.cohort) == pytest.approx(200 / 250)
        assert shares.coverage(self.cohort) == pytest.approx(250 / 1000)
        assert shares.measured_coverage(self.cohort) == pytest.approx(200 / 1000)

    def test_bounds_hold_for_any_distribution_of_the_unmeasured_hashrate(self) -> None:
        line = by_code(country_shares(self.cohort))["US"]
        assert line.low == pytest.approx(0.16)
        assert line.high == pytest.approx(0.16 + 0.8)

    def test_bounds_are_at_most_1_if_more_is_measured_than_the_network_has(self) -> None:
        (line,) = country_shares(of(member("a", US=30), network=20))
        assert (line.low, line.high) == (1, 1)

    def test_bounds_do_not_exceed_1_through_rounding(self) -> None:
        """Each small pool is 3/4 of the last digit: added one by one they are rounded up."""
        small = [member(pool, US=192.0) for pool in "bcdefghi"]
        (line,) = country_shares(of(member("a", US=2.0**60), *small, network=2.0**61))
        assert line.high is not None
        assert line.high <= 1

    def test_parts_of_a_whole_do_not_exceed_it_through_rounding(self) -> None:
        """A message's places may add up to a little more than its total, and sums are rounded."""
        thirds = member("a", total=0.3, US=0.1, CA=0.2)  # 0.1 + 0.2 is 0.30000000000000004
        tolerated = member("a", total=1.0, US=1.0 + 1e-10)
        for cohort in (of(thirds, network=0.3), of(tolerated, network=1.0)):
            assert shares.located(cohort) == 1
            assert shares.measured_coverage(cohort) == shares.coverage(cohort) == 1

    def test_coverages_are_above_1_if_pools_report_more_than_the_network_has(self) -> None:
        cohort = of(member("a", total=40, US=30), network=20)
        assert (shares.coverage(cohort), shares.measured_coverage(cohort)) == (2, 1.5)

    def test_kinds_are_added_up_kind_by_kind_over_subdivisions_and_pools(self) -> None:
        a = Member(
            "a", "own", 7, {("US", "measured"): 1, ("US", "estimated"): 2, ("US", "prior"): 4}
        )
        b = member("b", US_TX=30, US_GA=50)
        c = member("c", kind="prior", US=600)
        (line,) = country_shares(of(a, b, c))
        assert line.kinds == HashrateByKind(measured=81, estimated=2, prior=604)
        assert (b.located, b.measured) == (80, 80)
        assert (a.located, a.measured) == (7, 1)

    def test_sensitivity_is_the_range_without_each_pool(self) -> None:
        lines = by_code(country_shares(self.cohort))
        assert lines["US"].sensitivity == pytest.approx((0.6, 1))
        assert lines["CN"].sensitivity == pytest.approx((0, 0.4))
        (alone,) = country_shares(of(member("a", US=5)))
        assert alone.sensitivity is None

    def test_without_the_networks_hashrate_bounds_and_coverages_are_unknown(self) -> None:
        cohort = of(member("a", US=5))
        (line,) = country_shares(cohort)
        assert (line.low, line.high) == (None, None)
        assert shares.coverage(cohort) is shares.measured_coverage(cohort) is None

    def test_sensitivity_inside_a_country_varies_with_the_countrys_share(self) -> None:
        """SC is 20/20 of 40/300 without a, 30/40 of 40/200 without b, 50/60 of 80/300 without c."""
        a, b = member("a", CN_SC=30, CN_XJ=10, US=60), member("b", CN_SC=20, CN=20, US=160)
        lines = by_code(subdivision_shares(of(a, b, member("c", KZ=100)), "CN"))
        assert lines["CN-SC"].share == pytest.approx(50 / 60 * 80 / 400)
        assert lines["CN-SC"].sensitivity == pytest.approx((2 / 15, 2 / 9))
        assert lines["CN-XJ"].share == pytest.approx(10 / 60 * 80 / 400)
        assert lines["CN-XJ"].sensitivity == pytest.approx((0, 1 / 20))

    def test_cohorts_without_subdivisions_are_left_out_of_the_sensitivity(self) -> None:
        (line,) = subdivision_shares(of(member("a", CN_SC=1), member("b", US=1)), "CN")
        assert (line.share, line.sensitivity) == (0.5, (1, 1))

    def test_hashrate_known_by_country_only_is_spread_like_the_rest_of_it(self) -> None:
        (line,) = subdivision_shares(self.cohort, "CN")
        assert (line.code, line.share_of_country) == ("CN-SC", 1)
        assert line.share == pytest.approx(40 / 200)
        assert line.kinds == HashrateByKind(measured=30)

    def test_a_reported_0_is_listed_and_unreported_places_are_not(self) -> None:
        lines = by_code(country_shares(of(member("a", US=5, CN=0))))
        assert lines["CN"].share == 0
        assert "KZ" not in lines

    def test_other_is_in_the_denominator_and_unknown_is_not(self) -> None:
        lines = by_code(country_shares(of(member("a", total=100, US=30, OTHER=10))))
        assert lines["US"].share == pytest.approx(0.75)
        assert lines["OTHER"].share == pytest.approx(0.25)

    def test_without_located_hashrate_there_are_no_shares(self) -> None:
        for unlocated in (of(), of(member("a", total=5)), of(member("a", US=0))):
            assert country_shares(unlocated) == []
            assert subdivision_shares(unlocated, "US") == []
        assert shares.located(of()) is None

    def test_small_hashrates_are_not_rounded_to_0(self) -> None:
        assert shares.located(of(member("a", total=0.5, US=0.25))) == 0.5
        little = of(member("a", CN_SC=0.125, US=0.125), member("b", CN_SC=0.25))
        (line,) = subdivision_shares(little, "CN")
        assert (line.share, line.sensitivity) == (0.75, (0.5, 1))

    def test_only_subdivisions_have_a_share_of_their_country(self) -> None:
        assert {line.share_of_country for line in country_shares(self.cohort)} == {None}

    def test_the_order_is_by_share_then_code(self) -> None:
        lines = country_shares(of(member("a", US=5, CA=5, KZ=9)))
        assert [line.code for line in lines] == ["KZ", "CA", "US"]


codes = st.sampled_from(["US", "US-TX", "US-GA", "CN", "CN-ZJ", "CN-SC", "CN-OTHER", "KZ", "OTHER"])
hashrates = st.floats(0, 1e21, allow_subnormal=False)


def members_with(kinds: st.SearchStrategy[Kind]) -> st.SearchStrategy[list[Member]]:
    """Pools with places of these kinds, each with some unlocated hashrate."""
    one = st.builds(
        lambda pool, places, unlocated: Member(
            pool, "own", sum(places.values()) + unlocated, places
        ),
        st.sampled_from("abcdef"),
        st.dictionaries(st.tuples(codes, kinds), hashrates, max_size=6),
        hashrates,
    )
    return st.lists(one, max_size=5, unique_by=lambda m: m.pool)


cohorts = st.builds(
    lambda pools, network: of(*pools, network=network),
    members_with(st.sampled_from(["measured", "estimated", "prior"])),
    st.none() | st.floats(1e18, 1e22),
)
# The members together have no more than the network, so coverage is at most 1.
measured_cohorts = st.builds(
    lambda pools, uncovered: of(*pools, network=sum(m.total for m in pools) + uncovered),
    members_with(st.just("measured")),
    st.sampled_from([1.0, 1e15]) | st.floats(1e18, 1e22),
)


@given(cohorts)
def test_shares_add_up_to_1_or_the_list_is_empty(cohort: Cohort) -> None:
    lines = country_shares(cohort)
    assert not lines or sum(line.share for line in lines) == pytest.approx(1, abs=1e-9)
    for country in ("US", "CN"):
        inside = subdivision_shares(cohort, country)
        assert not inside or sum(s.share_of_country or 0 for s in inside) == pytest.approx(1)
        whole = by_code(lines).get(country)
        if inside and whole:
            assert sum(line.share for line in inside) == pytest.approx(whole.share, abs=1e-9)


@given(cohorts)
def test_ratios_of_a_part_are_at_most_those_of_the_whole(cohort: Cohort) -> None:
    assert 0 <= (shares.located(cohort) or 0) <= 1
    measured, coverage = shares.measured_coverage(cohort), shares.coverage(cohort)
    assert (measured is None) == (coverage is None)
    assert 0 <= (measured or 0) <= (coverage or 0)


@given(cohorts)
def test_bounds_and_kinds_are_consistent(cohort: Cohort) -> None:
    for line in [*country_shares(cohort), *subdivision_shares(cohort, "US")]:
        assert 0 <= line.share <= 1
        if line.low is None or line.high is None:
            assert cohort.network is None
        else:
            assert 0 <= line.low <= line.high <= 1
        if line.sensitivity:
            assert 0 <= line.sensitivity[0] <= line.sensitivity[1] <= 1


@given(measured_cohorts)
def test_a_measured_share_lies_within_its_bounds(cohort: Cohort) -> None:
    """If all is measured and coverage is at most 1, the bounds contain the share."""
    for line in country_shares(cohort):
        assert line.low is not None
        assert line.high is not None
        assert line.low <= line.share + 1e-9
        assert line.share <= line.high + 1e-9
