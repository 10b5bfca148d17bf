"""Properties of all answers, and minimal counterexamples of others that seem to hold but do not.

A property that is not obvious has its proof in the test's docstring. A counterexample is a separate
test, so that no code relies on the property.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from miningmap.messages import Network, Report
from streams.method import placing, shares
from streams.method.cells import Cell, claims_of
from streams.method.observations import Observation
from streams.method.placing import Beliefs, Cohort, Member
from streams.method.shares import country_shares, subdivision_shares
from streams.queries.shares import cohort_for
from tests.examples import examples
from tests.streams import worlds
from tests.streams.worlds import MIDNIGHT, Query, beliefs_of, query_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streams.method.cells import Places
    from streams.method.shares import Share
    from tests.streams.model import World

NEAR = 1e-9
some = examples(60, "EXAMPLES")


def cohort_in(world: World, adjust: str = "published", beliefs: Beliefs | None = None) -> Cohort:
    """The cohort of the minute from midnight on; reports of the day before are the profile."""
    pools: dict[str, dict[str, Observation]] = {}
    network: dict[str, Cell] = {}
    for message in world.messages:
        (claim,) = claims_of(message)
        if isinstance(message, Network):
            network[message.source] = claim.cell
        elif claim.tier == "minute":
            pools[message.pool] = {
                message.source: Observation(claim.cell, Cell(), seen_before=False)
            }
        else:
            seen = pools[message.pool][message.source]
            pools[message.pool][message.source] = replace(seen, profile_sum=claim.cell)
    query = query_of(Query("now", MIDNIGHT, adjust=adjust))
    return cohort_for(query, pools, network, beliefs or beliefs_of(world))


def pool(name: str, total: float = 0, **places: float) -> Member:
    """A pool with measured places; ``CN_SC`` means CN-SC."""
    measured: Places = {(code.replace("_", "-"), "measured"): h for code, h in places.items()}
    return Member(name, "own", total or sum(measured.values()), measured)


def of(*members: Member, network: float | None = None) -> Cohort:
    return Cohort(members, {}, network, None if network is None else "n", simulated=False)


def by_code(lines: Iterable[Share]) -> dict[str, Share]:
    return {line.code: line for line in lines}


def without(cohort: Cohort, n: int) -> Cohort:
    return replace(cohort, members=[*cohort.members[:n], *cohort.members[n + 1 :]])


def in_country(place: str) -> Callable[[Cohort], list[Share]]:
    return lambda cohort: subdivision_shares(cohort, place)


LEVELS = [country_shares, in_country("CN"), in_country("US")]
levels = pytest.mark.parametrize("level", LEVELS, ids=["countries", "provinces", "states"])


class TestShares:
    @some
    @given(worlds.crowded_minutes())
    def test_add_up_to_one(self, world: World) -> None:
        cohort = cohort_in(world)
        lines = country_shares(cohort)
        assert bool(lines) == any(m.located for m in cohort.members)
        assert not lines or sum(line.share for line in lines) == pytest.approx(1, abs=NEAR)

    @some
    @given(worlds.crowded_minutes(), st.sampled_from(["CN", "US"]))
    def test_inside_a_country_add_up_to_its_share(self, world: World, country: str) -> None:
        cohort = cohort_in(world)
        inside = subdivision_shares(cohort, country)
        assume(inside)
        whole = by_code(country_shares(cohort))[country]
        assert sum(line.share for line in inside) == pytest.approx(whole.share, abs=NEAR)
        assert sum(line.share_of_country or 0 for line in inside) == pytest.approx(1, abs=NEAR)

    @some
    @given(worlds.crowded_minutes())
    def test_are_of_all_hashrate_that_is_located(self, world: World) -> None:
        cohort = cohort_in(world)
        seen = sum(sum(line.kinds) for line in country_shares(cohort))
        total = sum(m.total for m in cohort.members)
        assert seen == pytest.approx((shares.located(cohort) or 0) * total)

    @levels
    @some
    @given(world=worlds.crowded_minutes(), scale=st.sampled_from([2.0**-40, 0.5, 2.0, 2.0**20]))
    def test_do_not_depend_on_the_unit(
        self, level: Callable[[Cohort], list[Share]], world: World, scale: float
    ) -> None:
        cohort = cohort_in(world)
        members = [
            Member(m.pool, m.source, m.total * scale, {k: h * scale for k, h in m.places.items()})
            for m in cohort.members
        ]
        network = cohort.network and cohort.network * scale
        scaled = replace(cohort, members=members, network=network)
        for line, same in zip(level(cohort), level(scaled), strict=True):
            assert same == replace(line, kinds=same.kinds)
            assert sum(same.kinds) == sum(line.kinds) * scale

    @some
    @given(worlds.crowded_minutes(), st.sampled_from([1e18, 3e18]))
    def test_do_not_change_with_a_pool_without_places(self, world: World, total: float) -> None:
        """It changes ``coverage`` and ``located``, and nothing else of the countries."""
        cohort = cohort_in(world)
        assume(len(cohort.members) > 1)
        joined = replace(cohort, members=[*cohort.members, pool("unlocated", total)])
        before, after = country_shares(cohort), country_shares(joined)
        assert [replace(a, sensitivity=None) for a in after] == [
            replace(b, sensitivity=None) for b in before
        ]
        for a, b in zip(after, before, strict=True):
            assert a.sensitivity == pytest.approx(b.sensitivity, abs=NEAR)


class TestBounds:
    @levels
    @some
    @given(world=worlds.crowded_minutes())
    def test_are_in_order(self, level: Callable[[Cohort], list[Share]], world: World) -> None:
        for line in level(cohort_in(world)):
            if line.low is not None and line.high is not None:
                assert 0 <= line.low <= line.high <= 1

    @some
    @given(worlds.crowded_minutes())
    def test_contain_the_share_of_a_country_whatever_the_beliefs(self, world: World) -> None:
        """If no more is located (L) than there is (H); it need not be measured.

        With M measured of h in a country and ML in all: low = M/H <= h/L. And all that is measured
        elsewhere is not here: 1 - h/L >= (ML - M)/L >= (ML - M)/H = 1 - high.
        """
        cohort = cohort_in(world)
        located = sum(m.located for m in cohort.members)
        assume(cohort.network is not None and located <= cohort.network)
        _assert_contained(country_shares(cohort))

    @some
    @given(worlds.crowded_minutes(), st.sampled_from(["CN", "US"]))
    def test_contain_the_share_of_a_subdivision_if_no_country_is_measured_as_a_whole(
        self, world: World, country: str
    ) -> None:
        """The same proof, with 1 - share >= (hashrate at other places with a subdivision) / L."""
        cohort = cohort_in(world)
        located = sum(m.located for m in cohort.members)
        assume(cohort.network is not None and located <= cohort.network)
        assume(not any(m.places.get((country, "measured")) for m in cohort.members))
        _assert_contained(subdivision_shares(cohort, country))

    def test_need_not_contain_the_share_of_a_subdivision_of_a_country_measured_as_a_whole(
        self,
    ) -> None:
        """Hashrate that is known as CN only may all be in Sichuan. The share spreads it over the
        provinces, and the bounds count it as measured elsewhere."""
        (line,) = subdivision_shares(of(pool("a", CN=1, CN_SC=1), network=2), "CN")
        assert (line.share, line.low, line.high) == (1, 0.5, 0.5)

    def test_need_not_contain_the_share_if_more_is_located_than_the_network_has(self) -> None:
        line = by_code(country_shares(of(pool("a", US=1, CA=1), network=1)))["US"]
        assert (line.share, line.low, line.high) == (0.5, 1, 1)

    @some
    @given(worlds.crowded_minutes(), worlds.weights)
    def test_do_not_depend_on_priors_before_relabelling(
        self, world: World, prior: dict[str, float]
    ) -> None:
        others = Beliefs({}, prior, ())
        one, other = (
            by_code(country_shares(cohort_in(world, "none", believed)))
            for believed in (None, others)
        )
        for code in one.keys() & other.keys():
            assert (one[code].low, one[code].high) == (other[code].low, other[code].high)

    def test_depend_on_priors_through_relabelling(self) -> None:
        """The rule multiplies measured hashrate by a factor that includes prior hashrate."""
        located: Places = {("CN-SC", "measured"): 1, ("CN-ZJ", "prior"): 1}
        plain = of(Member("a", "own", 2, located), network=4)
        moved = of(Member("a", "own", 2, placing.relabel(located, "CN-ZJ")), network=4)
        assert country_shares(plain)[0].low == 0.25
        assert country_shares(moved)[0].low == 0.5


def _assert_contained(lines: Iterable[Share]) -> None:
    for line in lines:
        assert line.low is not None
        assert line.high is not None
        assert line.low - NEAR <= line.share <= line.high + NEAR


class TestRelabelling:
    @some
    @given(worlds.crowded_minutes())
    def test_keeps_every_countrys_share_hashrate_and_sensitivity(self, world: World) -> None:
        """``h (1 + E/O)`` over the others that add up to O is O + E: what E and O were."""
        plain, moved = cohort_in(world, "none"), cohort_in(world)
        before, after = by_code(country_shares(plain)), by_code(country_shares(moved))
        assert before.keys() == after.keys()
        for code, line in before.items():
            assert after[code].share == pytest.approx(line.share, abs=NEAR)
            assert sum(after[code].kinds) == pytest.approx(sum(line.kinds))
            assert after[code].sensitivity == (
                line.sensitivity and pytest.approx(line.sensitivity, abs=NEAR)
            )

    @some
    @given(worlds.crowded_minutes())
    def test_keeps_the_cohort_and_its_coverage(self, world: World) -> None:
        plain, moved = cohort_in(world, "none"), cohort_in(world)
        assert [(m.pool, m.source, m.total) for m in plain.members] == [
            (m.pool, m.source, m.total) for m in moved.members
        ]
        assert shares.coverage(plain) == shares.coverage(moved)
        assert shares.located(plain) == pytest.approx(shares.located(moved))

    def test_does_not_keep_a_countrys_kinds_and_bounds(self) -> None:
        """Moved hashrate takes the kinds of its new place: measured may become estimated."""
        located: Places = {("CN-ZJ", "measured"): 1, ("CN-SC", "estimated"): 1}
        plain = of(Member("a", "own", 2, located), network=4)
        moved = of(Member("a", "own", 2, placing.relabel(located, "CN-ZJ")), network=4)
        assert (shares.measured_coverage(plain), shares.measured_coverage(moved)) == (0.25, 0)
        (before,), (after,) = country_shares(plain), country_shares(moved)
        assert (before.low, before.high, after.low, after.high) == (0.25, 1, 0, 1)

    @some
    @given(worlds.crowded_minutes())
    def test_is_idempotent(self, world: World) -> None:
        for member in cohort_in(world, "none").members:
            once = placing.relabel(member.places, "CN-ZJ")
            assert placing.relabel(once, "CN-ZJ") == once


class TestSensitivity:
    @levels
    @some
    @given(world=worlds.crowded_minutes())
    def test_is_the_range_of_answers_without_the_messages_of_a_pool(
        self, level: Callable[[Cohort], list[Share]], world: World
    ) -> None:
        cohort = cohort_in(world)
        lefts = []
        for member in cohort.members:
            others = [
                m for m in world.messages if not (isinstance(m, Report) and m.pool == member.pool)
            ]
            if left := by_code(level(cohort_in(replace(world, messages=others)))):
                lefts.append(left)
        for line in level(cohort):
            found = [left[line.code].share if line.code in left else 0.0 for left in lefts]
            if len(cohort.members) < 2 or not found:
                assert line.sensitivity is None
            else:
                assert line.sensitivity == pytest.approx((min(found), max(found)), abs=NEAR)

    @some
    @given(worlds.crowded_minutes())
    def test_contains_the_share_of_a_country_if_two_pools_count(self, world: World) -> None:
        """Left out one by one: with x of L in the country, and x_p of L_p by pool p, the shares
        (x - x_p)/(L - L_p), weighted by L - L_p, have the mean ((n-1) x)/((n-1) L): the share. A
        cohort that locates nothing has no weight; one that locates something there always is."""
        cohort = cohort_in(world)
        assume(len(cohort.members) > 1)
        for line in country_shares(cohort):
            assert line.sensitivity is not None
            assert line.sensitivity[0] - NEAR <= line.share <= line.sensitivity[1] + NEAR

    @some
    @given(worlds.crowded_minutes(["CN-ZJ", "CN-SC", "CN-OTHER", "US-TX"]))
    def test_contains_the_share_of_a_subdivision_if_two_pools_list_some_and_none_the_country_alone(
        self, world: World
    ) -> None:
        """Then its share is hashrate over L too, and no cohort is left out: the proof above."""
        cohort = cohort_in(world)
        listing = [m for m in cohort.members if sum(map(sum, m.by_subdivision("CN").values()))]
        assume(len(listing) > 1)
        for line in subdivision_shares(cohort, "CN"):
            assert line.sensitivity is not None
            assert line.sensitivity[0] - NEAR <= line.share <= line.sensitivity[1] + NEAR

    def test_need_not_contain_the_share_of_a_subdivision_that_one_pool_alone_lists(self) -> None:
        """Without pool a no province is listed, so that cohort does not count, and all that is left
        is one where Sichuan is the world."""
        (line,) = subdivision_shares(of(pool("a", CN_SC=1), pool("b", US=1)), "CN")
        assert line.share == 0.5
        assert line.sensitivity == pytest.approx((1, 1))

    def test_need_not_contain_the_share_of_a_subdivision_where_its_country_is_listed_alone(
        self,
    ) -> None:
        """Pool b gives China weight and little detail: together with a, which lists Sichuan,
        Sichuan gets more of the world than either gives it."""
        cohort = of(pool("a", CN_SC=1, US=3), pool("b", CN_XJ=1, CN=2))
        line = by_code(subdivision_shares(cohort, "CN"))["CN-SC"]
        assert line.sensitivity == pytest.approx((0, 0.25))
        assert line.share == pytest.approx(2 / 7)

    def test_is_a_point_if_only_one_pool_locates_anything(self) -> None:
        """It is the effect of one pool more or less, not of how much is known."""
        lines = by_code(country_shares(of(pool("a", US=3, CA=1), pool("unlocated", total=9))))
        assert lines["US"].sensitivity == (0.75, 0.75)

    def test_of_one_pool_is_unknown(self) -> None:
        (line,) = country_shares(of(pool("a", US=1)))
        assert line.sensitivity is None
