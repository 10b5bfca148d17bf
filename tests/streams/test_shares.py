"""Shares, bounds and ranges: cases that can be checked by hand, and properties."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from miningmap.messages import KINDS
from streams.method.beliefs import BeliefsInForce, Distribution, normalised
from streams.method.placing import place
from streams.method.shares import HashrateByKind, Share, Shares, in_order, kinds_of
from tests.streams.fixtures import cohort, member, places_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from miningmap.messages import Kind
    from streams.method.cohort import Member


def of(*members: Member, network: float | None = None) -> Shares:
    """The shares of what reports locate."""
    return Shares(place(cohort(*members, network=network), BeliefsInForce(), (), None))


def under(*members: Member, compare: bool = True, **priors: Mapping[str, float]) -> Shares:
    """The shares under the first of some network priors."""
    network = [Distribution(id_, normalised(weights)) for id_, weights in priors.items()]
    placement = place(cohort(*members), BeliefsInForce(network=network), (), next(iter(priors)))
    return Shares(placement, compare_beliefs=compare)


def by_code(rows: list[Share]) -> dict[str, Share]:
    return {row.code: row for row in rows}


class TestShares:
    """Section 7 of the method."""

    shares = of(member("a", US=60, CN_SC=30, CN=10), member("b", total=150, US=100), network=1000)

    def test_shares_are_of_the_located_hashrate(self) -> None:
        rows = by_code(self.shares.countries())
        assert rows["US"].share == pytest.approx(160 / 200)
        assert rows["CN"].share == pytest.approx(40 / 200)
        assert self.shares.located == pytest.approx(200 / 250)
        assert self.shares.coverage == pytest.approx(250 / 1000)
        assert self.shares.measured_coverage == pytest.approx(200 / 1000)

    def test_parts_of_a_whole_do_not_exceed_it_through_rounding(self) -> None:
        """A message's places may add up to a little more than its total, and sums are rounded."""
        thirds = member("a", total=0.3, US=0.1, CA=0.2)  # 0.1 + 0.2 is 0.30000000000000004
        tolerated = member("a", total=1.0, US=1.0 + 1e-10)
        for shares in (of(thirds, network=0.3), of(tolerated, network=1.0)):
            assert shares.located == 1
            assert shares.measured_coverage == shares.declared_coverage == shares.coverage == 1

    def test_coverages_are_above_1_if_pools_report_more_than_the_network_has(self) -> None:
        shares = of(member("a", total=40, US=30), network=20)
        assert (shares.coverage, shares.measured_coverage) == (2, 1.5)

    def test_kinds_are_added_up_kind_by_kind_over_subdivisions_and_pools(self) -> None:
        mixed = (
            places_of(US=1)
            | places_of("declared", US=2)
            | places_of("estimated", US=4)
            | places_of("prior", US=8)
        )
        assumed = member("c", places_of("prior", US=600))
        shares = of(member("a", mixed), member("b", US_TX=30, US_GA=50), assumed)
        (row,) = shares.countries()
        assert row.kinds == HashrateByKind(measured=81, declared=2, estimated=4, prior=608)
        assert kinds_of(shares.placement)[:1] == [HashrateByKind(1, 2, 4, 8)]
        assert kinds_of(of(member("a", total=5)).placement) == [HashrateByKind()]
        assert kinds_of(of().placement) == []

    def test_evidence_is_all_but_prior(self) -> None:
        places = (
            places_of(US=10)
            | places_of("declared", US=20)
            | places_of("estimated", US=30, CA=15)
            | places_of("prior", US=40, KZ=5)
        )
        shares = of(member("a", places), network=240)
        rows = by_code(shares.countries())
        assert rows["US"].kinds.evidence == 60
        assert (rows["US"].evidence, rows["CA"].evidence, rows["KZ"].evidence) == (0.6, 1, 0)
        assert shares.evidence == pytest.approx(75 / 120)
        assert shares.measured_coverage == pytest.approx(10 / 240)
        assert shares.declared_coverage == pytest.approx(30 / 240)

    def test_without_the_networks_hashrate_bounds_and_coverages_are_unknown(self) -> None:
        shares = of(member("a", US=5))
        for row in shares.countries():
            assert row.low is row.high is row.declared_low is row.declared_high is None
        assert shares.coverage is shares.measured_coverage is shares.declared_coverage is None
        assert (shares.network, shares.evidence) == (None, 1)

    def test_hashrate_known_by_country_only_is_spread_like_the_rest_of_it(self) -> None:
        (row,) = self.shares.subdivisions("CN")
        assert (row.code, row.share_of_country) == ("CN-SC", 1)
        assert row.share == pytest.approx(40 / 200)
        assert row.kinds == HashrateByKind(measured=30)

    def test_a_reported_0_is_listed_and_unreported_places_are_not(self) -> None:
        rows = by_code(of(member("a", US=5, CN=0), member("b", KZ=5)).countries())
        assert (rows["CN"].share, rows["CN"].evidence, rows["CN"].sensitivity) == (0, None, None)
        assert "RU" not in rows

    def test_other_is_in_the_denominator_and_unknown_is_not(self) -> None:
        rows = by_code(of(member("a", total=100, US=30, OTHER=10)).countries())
        assert rows["US"].share == pytest.approx(0.75)
        assert rows["OTHER"].share == pytest.approx(0.25)

    def test_without_located_hashrate_there_are_no_shares(self) -> None:
        for unlocated in (of(), of(member("a", total=5)), of(member("a", total=0, US=0))):
            assert unlocated.countries() == []
            assert unlocated.subdivisions("US") == []
            assert unlocated.evidence is None
        assert of().located is None
        assert of(member("a", total=5)).located == 0

    def test_small_hashrates_are_not_rounded_to_0(self) -> None:
        assert of(member("a", total=0.5, US=0.25)).located == 0.5
        little = of(member("a", CN_SC=0.125, US=0.125), member("b", CN_SC=0.25))
        (row,) = little.subdivisions("CN")
        assert (row.share, row.sensitivity) == (0.75, (0.5, 1))

    def test_only_subdivisions_have_a_share_of_their_country(self) -> None:
        assert {row.share_of_country for row in self.shares.countries()} == {None}

    def test_the_order_is_by_share_then_code(self) -> None:
        rows = of(member("a", US=5, CA=5, KZ=9)).countries()
        assert [row.code for row in rows] == ["KZ", "CA", "US"]

    def test_shares_that_differ_by_rounding_are_in_the_order_of_their_codes(self) -> None:
        third = 1e18 / 3
        rows = of(member("a", US=third * 3, CA=1e18, KZ=1e18 * (1 - 1e-8))).countries()
        assert [row.code for row in rows] == ["CA", "US", "KZ"]


def test_what_is_nearly_equal_is_ordered_by_name_and_negative_figures_too() -> None:
    rows = {"d": 1.0, "c": 1 - 5e-10, "b": 1 - 2e-9, "a": 0.0, "e": 0.0}
    assert in_order(rows, lambda name: rows[name], str) == ["c", "d", "b", "a", "e"]
    assert in_order([], float, str) == []


class TestBounds:
    """Section 8 of the method: what holds whatever is assumed."""

    def test_they_hold_for_any_distribution_of_the_unmeasured_hashrate(self) -> None:
        row = by_code(TestShares.shares.countries())["US"]
        assert row.low == pytest.approx(0.16)
        assert row.high == pytest.approx(0.16 + 0.8)

    def test_declared_bounds_trust_the_cited_sources_too(self) -> None:
        places = (
            places_of(US=10, CA=5)
            | places_of("declared", US=20)
            | places_of("estimated", US=30)
            | places_of("prior", US=5)
        )
        row = by_code(of(member("a", places), network=100).countries())["US"]
        assert [row.low, row.high] == pytest.approx([0.1, 0.95])
        assert [row.declared_low, row.declared_high] == pytest.approx([0.3, 0.95])

    def test_an_estimate_of_the_network_can_be_too_small_but_what_was_seen_cannot(self) -> None:
        pools = (member("a", US=30), member("b", total=10))
        (row,) = of(*pools, network=20).countries()
        assert (row.low, row.high) == (0.75, 1)
        (alone,) = of(member("a", US=30), network=20).countries()
        assert (alone.low, alone.high) == (1, 1)

    def test_they_do_not_exceed_1_through_rounding(self) -> None:
        """Each small pool is 3/4 of the last digit: added one by one they are rounded up."""
        small = [member(pool, US=192.0) for pool in "bcdefghi"]
        (row,) = of(member("a", US=2.0**60), *small, network=2.0**61).countries()
        assert row.high is not None
        assert row.high <= 1

    def test_what_is_known_only_by_country_can_be_in_any_of_its_subdivisions(self) -> None:
        """Of 100, 80 are measured: 20 can be anywhere, 10 in any state, 5 in one not listed."""
        shares = of(member("a", US_TX=30, US_GA=10, US=10, US_OTHER=5, CA=25), network=100)
        rows = by_code(shares.subdivisions("US"))
        assert [rows["US-TX"].low, rows["US-TX"].high] == pytest.approx([0.3, 0.3 + 0.2 + 0.15])
        assert [rows["US-GA"].low, rows["US-GA"].high] == pytest.approx([0.1, 0.1 + 0.2 + 0.15])
        assert rows["US-OTHER"].high == pytest.approx(0.05 + 0.2 + 0.1)
        assert by_code(shares.countries())["US"].high == pytest.approx(0.55 + 0.2)
        none_stated = rows["US-TX"]
        assert none_stated.declared_high == none_stated.high


class TestSensitivity:
    """Section 8 of the method: leave one pool out."""

    def test_it_is_the_range_without_each_pool(self) -> None:
        rows = by_code(TestShares.shares.countries())
        assert rows["US"].sensitivity == pytest.approx((0.6, 1))
        assert rows["CN"].sensitivity == pytest.approx((0, 0.4))

    def test_of_one_pool_it_is_unknown(self) -> None:
        (alone,) = of(member("a", US=5)).countries()
        assert alone.sensitivity is None

    def test_of_a_place_with_less_than_half_evidence_it_is_unknown(self) -> None:
        pools = (member("a", US=5, CA=4), member("b", places_of("prior", US=5, CA=5)))
        rows = by_code(of(*pools).countries())
        assert rows["US"].sensitivity == pytest.approx((0.5, 5 / 9))
        assert rows["CA"].sensitivity is None

    def test_rounding_does_not_decide_what_is_half(self) -> None:
        tenths = {f"p{n}": member(f"p{n}", US=0.1) for n in range(3)}
        assumed = member("x", places_of("prior", US=0.1 + 0.2))
        (row,) = of(*tenths.values(), assumed).countries()
        assert row.sensitivity == (1, 1)

    def test_inside_a_country_it_varies_with_the_countrys_share(self) -> None:
        """SC is 20/20 of 40/300 without a, 30/40 of 40/200 without b, 50/60 of 80/300 without c."""
        a, b = member("a", CN_SC=30, CN_XJ=10, US=60), member("b", CN_SC=20, CN=20, US=160)
        rows = by_code(of(a, b, member("c", KZ=100)).subdivisions("CN"))
        assert rows["CN-SC"].share == pytest.approx(50 / 60 * 80 / 400)
        assert rows["CN-SC"].sensitivity == pytest.approx((2 / 15, 2 / 9))
        assert rows["CN-XJ"].share == pytest.approx(10 / 60 * 80 / 400)
        assert rows["CN-XJ"].sensitivity == pytest.approx((0, 1 / 20))

    def test_a_cohort_that_locates_nothing_is_left_out(self) -> None:
        (row,) = of(member("a", CN_SC=1), member("b", total=1)).subdivisions("CN")
        assert row.sensitivity == (1, 1)

    def test_cohorts_without_subdivisions_are_left_out(self) -> None:
        (row,) = of(member("a", CN_SC=1), member("b", US=1)).subdivisions("CN")
        assert (row.share, row.sensitivity) == (0.5, (1, 1))


class TestBelief:
    """Section 8 of the method: the range over the priors of the network."""

    pools = (member("a", total=50, US_TX=10, US=30), member("b", total=50))

    def test_it_is_the_range_over_all_priors_in_force(self) -> None:
        """Of 100, 40 are in the US. The first prior has 60 there, the second none."""
        shares = under(*self.pools, first={"US": 6, "RU": 4}, second={"RU": 5, "NO": 5})
        rows = by_code(shares.countries())
        assert rows["US"].belief == pytest.approx((0.4, 0.6))
        assert rows["RU"].belief == pytest.approx((0.3, 0.4))
        assert set(rows) == {"US", "RU"}

    def test_a_place_that_is_absent_under_one_prior_has_0_there(self) -> None:
        shares = under(member("a", total=10), first={"US": 1}, second={"NO": 1})
        (row,) = shares.countries()
        assert (row.code, row.belief) == ("US", (0, 1))

    def test_inside_a_country_the_subdivisions_of_each_prior_count(self) -> None:
        shares = under(*self.pools, first={"US_TX": 0, "US": 6, "RU": 4}, second={"RU": 1})
        (texas,) = shares.subdivisions("US")
        assert texas.belief == pytest.approx((0.4, 0.6))
        alone = under(member("a", total=10), first={"US-TX": 1, "US": 1}, second={"US": 1})
        (believed,) = alone.subdivisions("US")
        assert (believed.share, believed.belief) == (1, (0, 1))

    def test_the_subdivisions_of_a_country_add_up_to_it(self) -> None:
        """Small hashrates too: of 1, half is in two states, a quarter of each under the other."""
        pool = member("a", total=1, US_TX=0.25, US_GA=0.25)
        shares = under(pool, first={"US": 1}, second={"US": 0.5, "NO": 0.5})
        (country, *_) = shares.countries()
        assert (country.code, country.belief) == ("US", (0.5, 1))
        for row in shares.subdivisions("US"):
            assert row.belief == (0.25, 0.5)

    def test_a_subdivision_that_was_reported_with_0_has_no_share_where_nothing_is_listed(
        self,
    ) -> None:
        pool = member("a", places_of(US_TX=0), total=1)
        (texas,) = under(pool, first={"US-TX": 1}, second={"US": 1}).subdivisions("US")
        assert (texas.share, texas.belief) == (1, (0, 1))

    def test_with_one_prior_or_a_named_one_there_is_nothing_to_compare(self) -> None:
        one = under(*self.pools, first={"US": 1})
        named = under(*self.pools, compare=False, first={"US": 1}, second={"NO": 1})
        for shares in (one, named, of(*self.pools)):
            assert {row.belief for row in shares.countries()} == {None}

    def test_where_everything_is_located_the_priors_agree(self) -> None:
        shares = under(member("a", US=3, CA=1), first={"US": 1}, second={"NO": 1})
        assert by_code(shares.countries())["US"].belief == (0.75, 0.75)


codes = st.sampled_from(["US", "US-TX", "US-GA", "CN", "CN-ZJ", "CN-SC", "CN-OTHER", "KZ", "OTHER"])
hashrates = st.floats(0, 1e21, allow_subnormal=False)


def members_with(kinds: st.SearchStrategy[Kind]) -> st.SearchStrategy[list[Member]]:
    """Pools with places of these kinds, each with some unlocated hashrate."""
    one = st.builds(
        lambda pool, places, unlocated: replace(
            member(pool, places), total=sum(places.values()) + unlocated
        ),
        st.sampled_from("abcdef"),
        st.dictionaries(st.tuples(codes, kinds), hashrates, max_size=6),
        hashrates,
    )
    return st.lists(one, max_size=5, unique_by=lambda m: m.pool)


any_shares = st.builds(
    lambda pools, network: of(*pools, network=network),
    members_with(st.sampled_from(KINDS)),
    st.none() | st.floats(1e18, 1e22),
)
# The pools together have no more than the network, so coverage is at most 1.
measured_shares = st.builds(
    lambda pools, uncovered: of(*pools, network=sum(m.total for m in pools) + uncovered),
    members_with(st.just("measured")),
    st.sampled_from([1.0, 1e15]) | st.floats(1e18, 1e22),
)


@given(any_shares)
def test_shares_add_up_to_1_or_the_list_is_empty(shares: Shares) -> None:
    rows = shares.countries()
    assert not rows or sum(row.share for row in rows) == pytest.approx(1, abs=1e-9)
    for country in ("US", "CN"):
        inside = shares.subdivisions(country)
        assert not inside or sum(s.share_of_country or 0 for s in inside) == pytest.approx(1)
        whole = by_code(rows).get(country)
        if inside and whole:
            assert sum(row.share for row in inside) == pytest.approx(whole.share, abs=1e-9)


@given(any_shares)
def test_ratios_of_a_part_are_at_most_those_of_the_whole(shares: Shares) -> None:
    assert 0 <= (shares.located or 0) <= 1
    measured, declared, coverage = (
        shares.measured_coverage,
        shares.declared_coverage,
        shares.coverage,
    )
    assert (measured is None) == (declared is None) == (coverage is None)
    assert 0 <= (measured or 0) <= (declared or 0) <= (coverage or 0)


@given(any_shares)
def test_bounds_and_kinds_are_consistent(shares: Shares) -> None:
    for row in [*shares.countries(), *shares.subdivisions("US")]:
        assert 0 <= row.share <= 1
        for low, high in ((row.low, row.high), (row.declared_low, row.declared_high)):
            if low is None or high is None:
                assert shares.network is None
            else:
                assert 0 <= low <= high <= 1
        if row.sensitivity:
            assert 0 <= row.sensitivity[0] <= row.sensitivity[1] <= 1


@given(measured_shares)
def test_a_measured_share_lies_within_its_bounds(shares: Shares) -> None:
    """If all is measured and coverage is at most 1, the bounds contain the share."""
    for row in [*shares.countries(), *shares.subdivisions("CN")]:
        assert row.low is not None
        assert row.high is not None
        assert row.low <= row.share + 1e-9
        assert row.share <= row.high + 1e-9
