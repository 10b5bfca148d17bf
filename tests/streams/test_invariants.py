"""Properties of all answers, and minimal counterexamples of others that seem to hold but do not.

A property that is not obvious has its proof in the test's docstring. A counterexample is a separate
test, so that no code relies on the property.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

from miningmap.messages import Network
from streams.method.beliefs import (
    Amount,
    Beliefs,
    BeliefsInForce,
    ClaimGroup,
    Distribution,
    Rule,
    normalised,
)
from streams.method.cells import Cell, claimed_cell, claims_of
from streams.method.cohort import Earlier, cohort_of
from streams.method.observations import Observations
from streams.method.placing import place
from streams.method.shares import Shares, kinds_of
from streams.method.tables import Rows
from streams.method.windows import parse_window
from streams.queries.shares import shares_of
from tests.examples import examples
from tests.streams import worlds
from tests.streams.fixtures import cohort, member, observed, places_of
from tests.streams.worlds import MIDNIGHT, beliefs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from miningmap.api.models import Adjust
    from streams.method.cohort import Cohort, Member
    from streams.method.observations import Observation
    from streams.method.shares import Share
    from tests.streams.model import World

    Document = dict[str, Any]

NEAR = 1e-9
WINDOW = parse_window("now", MIDNIGHT)
DAY = WINDOW.day or 0
NOTHING = BeliefsInForce()
some = examples(60, "EXAMPLES")
crowded = worlds.crowded_minutes()


def observations_in(world: World) -> Observations:
    """The minute from midnight on; reports of the day before are the profile."""
    pools: dict[str, dict[str, Observation]] = {}
    network: dict[str, Observation] = {}
    for message in world.messages:
        (claim,) = claims_of(message)
        cell = claimed_cell(message, claim.tier)
        if isinstance(message, Network):
            network[message.source] = observed(cell)
        elif claim.tier == "minute":
            pools[message.pool] = {message.source: observed(cell)}
        else:
            seen = pools[message.pool][message.source]
            pools[message.pool][message.source] = structs.replace(seen, profile_sum=cell)
    return Observations(pools, network)


def shares_in(world: World, adjust: Adjust = "published", prior: str = "default") -> Shares:
    observations = observations_in(world)
    return shares_of(WINDOW, observations, beliefs_of(world), adjust=adjust, prior=prior)


def believing(world: World, document: Document) -> World:
    """A world with other distributions and claims; its rules and parts stay."""
    kept = {name: world.beliefs[name] for name in ("part_of", "rules")}
    return replace(world, beliefs={**document, **kept})


def without_profiles(world: World) -> World:
    minutes = [m for m in world.messages if claims_of(m)[0].tier == "minute"]
    return replace(world, messages=minutes)


def of(*members: Member, network: float | None = None) -> Shares:
    return Shares(place(cohort(*members, network=network), NOTHING, (), None))


def by_code(rows: Iterable[Share]) -> dict[str, Share]:
    return {row.code: row for row in rows}


def located_in(shares: Shares) -> float:
    return sum(sum(row.kinds) for row in shares.countries())


def countries(shares: Shares) -> list[Share]:
    return shares.countries()


def in_country(country: str) -> Callable[[Shares], list[Share]]:
    return lambda shares: shares.subdivisions(country)


LEVELS = [countries, in_country("CN"), in_country("US")]
levels = pytest.mark.parametrize("level", LEVELS, ids=["countries", "provinces", "states"])


class TestShares:
    @some
    @given(crowded)
    def test_add_up_to_one(self, world: World) -> None:
        shares = shares_in(world)
        rows = shares.countries()
        assert bool(rows) == any(map(sum, kinds_of(shares.placement)))
        assert not rows or sum(row.share for row in rows) == pytest.approx(1, abs=NEAR)

    @some
    @given(crowded, st.sampled_from(["CN", "US"]))
    def test_inside_a_country_add_up_to_its_share(self, world: World, country: str) -> None:
        shares = shares_in(world)
        inside = shares.subdivisions(country)
        assume(inside)
        whole = by_code(shares.countries())[country]
        assert sum(row.share for row in inside) == pytest.approx(whole.share, abs=NEAR)
        assert sum(row.share_of_country or 0 for row in inside) == pytest.approx(1, abs=NEAR)

    @some
    @given(crowded)
    def test_are_of_all_hashrate_that_is_located(self, world: World) -> None:
        shares = shares_in(world)
        assert located_in(shares) == pytest.approx((shares.located or 0) * shares.total)

    @levels
    @some
    @given(world=crowded, scale=st.sampled_from([2.0**-40, 0.5, 2.0, 2.0**20]))
    def test_do_not_depend_on_the_unit(
        self, level: Callable[[Shares], list[Share]], world: World, scale: float
    ) -> None:
        """Claims are hashrates too. Powers of two, so that no float is rounded differently."""
        beliefs = beliefs_of(world).on(DAY)
        found = cohort_of(observations_in(world), 1, beliefs_of(world))
        groups = [
            ClaimGroup(g.pools, [a._replace(hashrate=a.hashrate * scale) for a in g.amounts])
            for g in beliefs.claims
        ]
        one, other = (
            Shares(place(each, believed, (), None))
            for each, believed in (
                (found, beliefs),
                (_scaled(found, scale), replace(beliefs, claims=groups)),
            )
        )
        for row, same in zip(level(one), level(other), strict=True):
            assert same == replace(row, kinds=same.kinds)
            assert list(same.kinds) == [hashrate * scale for hashrate in row.kinds]

    @some
    @given(crowded, st.sampled_from([1e18, 3e18]))
    def test_do_not_change_with_a_pool_without_places_if_nothing_is_believed(
        self, world: World, total: float
    ) -> None:
        """It changes ``coverage`` and ``located``, and nothing else of the countries."""
        before = cohort_of(observations_in(world), 1, beliefs_of(believing(world, {})))
        assume(len(before.members) > 1)
        network = before.network and before.network + 1e20  # more than all pools together
        before = replace(before, network=network)
        after = replace(before, members={**before.members, "z": member("z", total=total)})
        old, new = (Shares(place(each, NOTHING, (), None)).countries() for each in (before, after))
        assert [replace(a, sensitivity=None) for a in new] == [
            replace(b, sensitivity=None) for b in old
        ]
        for a, b in zip(new, old, strict=True):
            assert a.sensitivity == (b.sensitivity and pytest.approx(b.sensitivity, abs=NEAR))

    def test_change_with_a_pool_without_places_that_a_prior_locates(self) -> None:
        beliefs = BeliefsInForce(network=[Distribution("n", {"KZ": 1})])
        joined = place(cohort(member("a", US=1), member("z", total=1)), beliefs, (), "n")
        assert by_code(Shares(joined).countries())["US"].share == 0.5


class TestWhatIsKept:
    @some
    @given(
        crowded,
        st.lists(
            st.tuples(
                crowded, st.sets(st.sampled_from("abcd")), st.sampled_from(["published", "none"])
            ),
            min_size=2,
            max_size=4,
        ),
    )
    def test_of_an_earlier_cohort_changes_no_digit(
        self, world: World, later: list[tuple[World, set[str], Adjust]]
    ) -> None:
        beliefs, observed = beliefs_of(world), observations_in(world)
        earlier = Earlier({}, {})
        for other, changed, adjust in [(world, set[str](), "published"), *later]:
            new = observations_in(other).pools
            kept = {pool: each for pool, each in observed.pools.items() if pool not in changed}
            pools = kept | {pool: new[pool] for pool in changed & new.keys()}
            observed = Observations(pools, observed.network)
            found = shares_of(WINDOW, observed, beliefs, adjust=adjust, earlier=earlier)
            assert _digits(found) == _digits(shares_of(WINDOW, observed, beliefs, adjust=adjust))
            earlier = Earlier(pools, found.placement.cohort.members)


def _digits(shares: Shares) -> list[object]:
    pools = shares.placement.pools
    rows = [(*map(list, pool.located), pool.remainder) for pool in pools]
    return [rows, *(level(shares) for level in LEVELS)]


def _scaled(found: Cohort, scale: float) -> Cohort:
    members = {
        pool: structs.replace(
            m,
            reported_total=m.reported_total * scale,
            total=m.total * scale,
            located=m.located._replace(hashrates=m.located.hashrates * scale),
            profile=m.profile._replace(hashrates=m.profile.hashrates * scale),
        )
        for pool, m in found.members.items()
    }
    return replace(
        found,
        members=members,
        network=found.network and found.network * scale,
        usual_network=found.usual_network and found.usual_network * scale,
    )


def _evidence_at(rows: Iterable[Share]) -> dict[str, float]:
    """The hashrate by place that something says is there."""
    return {row.code: row.kinds.evidence for row in rows if row.kinds.evidence > 0}


def _measured(shares: Shares) -> dict[str, float]:
    """The measured hashrate at exactly each place, of all pools."""
    sums: dict[str, float] = {}
    for pool in shares.placement.pools:
        for (code, kind), hashrate in pool.places.items():
            if kind == "measured":
                sums[code] = sums.get(code, 0.0) + hashrate
    return sums


class TestEvidence:
    """What is believed stays what it is, and adds no hashrate."""

    @some
    @given(crowded, worlds.beliefs_about())
    def test_nothing_believed_is_ever_measured(self, world: World, document: Document) -> None:
        """The measured hashrate is that of the reports after the rules, whatever is believed."""
        plain = shares_in(believing(world, {}))
        believed = shares_in(believing(world, document))
        assert _measured(plain) == pytest.approx(_measured(believed), rel=NEAR)
        assert all(placed.kind != "measured" for placed in believed.placement.beliefs.values())

    @some
    @given(crowded, worlds.beliefs_about())
    def test_beliefs_add_no_hashrate(self, world: World, document: Document) -> None:
        """Each pool has its total, placed or not; all totals together are the coverage."""
        plain = shares_in(believing(world, {}))
        believed = shares_in(believing(world, document))
        assert (believed.total, believed.coverage) == (plain.total, plain.coverage)
        pools = believed.placement.pools
        for pool, kinds in zip(pools, kinds_of(believed.placement), strict=True):
            placed = sum(kinds) + pool.remainder
            assert placed == pytest.approx(pool.member.total, rel=NEAR)

    @some
    @given(crowded)
    def test_what_beliefs_placed_is_what_reports_and_profiles_do_not(self, world: World) -> None:
        shares = shares_in(world)
        plain = shares_in(believing(world, {}))
        pools = [pool.member.pool for pool in plain.placement.pools]
        own = dict(zip(pools, map(sum, kinds_of(plain.placement)), strict=True))
        placed = sum(placed.hashrate for placed in shares.placement.beliefs.values())
        assert placed == pytest.approx(located_in(shares) - sum(own.values()), abs=1e-6 * 1e18)

    @some
    @given(crowded)
    def test_without_beliefs_the_answer_is_what_reports_say(self, world: World) -> None:
        """The rest is unknown. (A pool's profile is no belief, but what it reported before.)"""
        shares = shares_in(without_profiles(replace(world, beliefs={})))
        for pool in shares.placement.pools:
            assert pool.places == pool.member.places
        assert shares.placement.beliefs == {}
        assert all(row.belief is None for row in shares.countries())

    @some
    @given(crowded)
    def test_of_a_place_does_not_depend_on_the_prior_of_the_network(self, world: World) -> None:
        """It comes last, for what nothing else locates."""
        priors = ["default", "none", *(each["id"] for each in world.beliefs["network"])]
        first, *others = (shares_in(world, prior=prior).countries() for prior in priors)
        for other in others:
            assert _evidence_at(first) == _evidence_at(other)

    @some
    @given(crowded)
    def test_a_claim_places_at_most_what_it_claims(self, world: World) -> None:
        placed = shares_in(world).placement.beliefs
        for claim in world.beliefs["claims"]:
            if claim["id"] in placed:
                assert placed[claim["id"]].kind == "declared"
                assert placed[claim["id"]].hashrate <= claim["at_least"] * (1 + NEAR)

    def test_of_a_part_and_its_whole_is_not_counted_twice(self) -> None:
        """Unless the whole itself locates more than its other parts leave of it."""
        pools = {
            "a": {"own": observed(Cell(1, 30, Rows.of(places_of(US=30))))},
            "b": {"own": observed(Cell(1, 40, Rows.of(places_of(CA=20))))},
        }
        for part_of, total in (({}, 70), ({"a": "b"}, 30 + 20)):
            shares = shares_of(WINDOW, Observations(pools, {}), Beliefs(part_of=part_of))
            assert shares.total == total


class TestBounds:
    @levels
    @some
    @given(world=crowded)
    def test_are_in_order_and_declared_ones_are_narrower(
        self, level: Callable[[Shares], list[Share]], world: World
    ) -> None:
        """``low`` grows with what is counted at the place, ``1 - high`` with that elsewhere."""
        for row in level(shares_in(world)):
            bounds = (row.low, row.declared_low, row.declared_high, row.high)
            if None not in bounds:
                low, inner_low, inner_high, high = (bound or 0.0 for bound in bounds)
                assert 0 <= low <= inner_low <= inner_high + NEAR
                assert inner_high <= high + NEAR
                assert high <= 1

    @levels
    @some
    @given(world=crowded)
    def test_contain_the_share_whatever_the_beliefs(
        self, level: Callable[[Shares], list[Share]], world: World
    ) -> None:
        """Whatever is located (L) is at most what the pools have (T), and T at most H'.

        With M measured of h in a country and S in all: low = M/H' <= h/L. And all that is measured
        elsewhere is not here: 1 - h/L >= (S - M)/L >= (S - M)/H' = 1 - high.

        A subdivision's share is h/I x C/L, with I listed of C in its country and O elsewhere:
        at least h/L. And 1 - that = (I - h)/I x C/L + O/L >= (I - h)/L + O/L, and there is all
        that is measured in other subdivisions and countries, which is 1 - high of H'.
        The same holds of measured and declared hashrate together.
        """
        for row in level(shares_in(world)):
            for low, high in ((row.low, row.high), (row.declared_low, row.declared_high)):
                if low is not None and high is not None:
                    assert low - NEAR <= row.share <= high + NEAR

    @levels
    @some
    @given(world=crowded, document=worlds.beliefs_about())
    def test_do_not_move_when_a_distribution_or_a_claim_changes(
        self, level: Callable[[Shares], list[Share]], world: World, document: Document
    ) -> None:
        """They are of measured hashrate, of H and of the totals: of reports, rules and parts."""
        one, other = (
            by_code(level(shares_in(each))) for each in (world, believing(world, document))
        )
        for code in one.keys() & other.keys():
            assert (one[code].low, one[code].high) == (other[code].low, other[code].high)

    @some
    @given(crowded)
    def test_declared_ones_do_not_depend_on_the_prior_of_the_network(self, world: World) -> None:
        one, other = (by_code(shares_in(world, prior=p).countries()) for p in ("default", "none"))
        for code in one.keys() & other.keys():
            before, after = one[code], other[code]
            assert before.declared_low == after.declared_low
            assert before.declared_high == after.declared_high

    def test_declared_ones_move_when_a_claim_changes(self) -> None:
        pool = cohort(member("a", total=10), network=10)
        bounds = []
        for at_least in (1, 5):
            claims = [ClaimGroup(None, [Amount("c", "NO", at_least)])]
            (row,) = Shares(place(pool, BeliefsInForce(claims=claims), (), None)).countries()
            bounds.append((row.low, row.declared_low, row.declared_high, row.high))
        assert bounds == [(0, 0.1, 1, 1), (0, 0.5, 1, 1)]


class TestRelabelling:
    @some
    @given(crowded)
    def test_keeps_every_countrys_share_hashrate_and_sensitivity_of_what_reports_locate(
        self, world: World
    ) -> None:
        """``h (1 + E/O)`` over the others that add up to O is O + E: what E and O were.

        Kinds may change with the place, so that evidence is less than half on one side only.
        """
        reports = without_profiles(believing(world, {}))
        plain, moved = shares_in(reports, "none"), shares_in(reports)
        before, after = by_code(plain.countries()), by_code(moved.countries())
        assert before.keys() == after.keys()
        for code, row in before.items():
            assert after[code].share == pytest.approx(row.share, abs=NEAR)
            assert sum(after[code].kinds) == pytest.approx(sum(row.kinds))
            if row.sensitivity and (found := after[code].sensitivity):
                assert found == pytest.approx(row.sensitivity, abs=NEAR)

    @some
    @given(crowded)
    def test_keeps_the_cohort_and_its_coverage(self, world: World) -> None:
        plain, moved = shares_in(world, "none"), shares_in(world)
        assert plain.placement.cohort == moved.placement.cohort
        assert plain.coverage == moved.coverage

    def test_does_not_keep_a_countrys_share_of_what_is_placed(self) -> None:
        """Half of the pool is in Zhejiang by its prior. By the rule nothing that it lists is."""
        pool = cohort(member("a", total=8, CN_ZJ=1, CN_SC=1))
        own = BeliefsInForce(priors={"a": Distribution("p", normalised({"CN-ZJ": 1, "US": 1}))})
        shares = [
            by_code(Shares(place(pool, own, rules, None)).countries())["CN"].share
            for rules in ([], [Rule("zj", "CN-ZJ", None)])
        ]
        assert shares == pytest.approx([2 / 8 + 6 / 8 * 3 / 7, 2 / 8 + 6 / 8 * 1 / 2])

    def test_does_not_keep_a_countrys_kinds_and_bounds(self) -> None:
        """Moved hashrate takes the kinds of its new place: measured may become estimated."""
        pool = cohort(member("a", places_of(CN_ZJ=1) | places_of("estimated", CN_SC=1)), network=4)
        plain = Shares(place(pool, NOTHING, [], None))
        moved = Shares(place(pool, NOTHING, [Rule("zj", "CN-ZJ", None)], None))
        assert (plain.measured_coverage, moved.measured_coverage) == (0.25, 0)
        (before,), (after,) = plain.countries(), moved.countries()
        assert (before.low, before.high, after.low, after.high) == (0.25, 1, 0, 1)


class TestSensitivity:
    @levels
    @some
    @given(world=crowded)
    def test_is_the_range_without_each_pool_placed_as_they_are(
        self, level: Callable[[Shares], list[Share]], world: World
    ) -> None:
        shares = shares_in(world)
        pools, table = shares.placement.pools, shares.placement.table
        lefts = []
        for n in range(len(pools)):
            rest = replace(shares.placement, table=table.where(table.pools != n))
            if left := by_code(level(Shares(rest))):
                lefts.append(left)
        for row in level(shares):
            found = [left[row.code].share if row.code in left else 0.0 for left in lefts]
            if len(pools) < 2 or not found or (row.evidence or 0) < 0.5 * (1 - NEAR):
                assert row.sensitivity is None
            else:
                assert row.sensitivity == pytest.approx((min(found), max(found)), abs=NEAR)

    def test_need_not_be_the_range_of_answers_without_the_messages_of_a_pool(self) -> None:
        """Without a, the prior would place more of b in the US: a has no part in its 60 % then."""
        a, b = member("a", US=60), member("b", places_of(RU=30), total=40)
        beliefs = BeliefsInForce(network=[Distribution("n", {"US": 0.6, "RU": 0.4})])
        row = by_code(Shares(place(cohort(a, b), beliefs, (), "n")).countries())["US"]
        alone = by_code(Shares(place(cohort(b), beliefs, (), "n")).countries())["US"]
        assert alone.share == 0.25
        assert row.sensitivity == (0, 1)

    @some
    @given(crowded)
    def test_contains_the_share_of_a_country_if_two_pools_count(self, world: World) -> None:
        """Left out one by one: with x of L in the country, and x_p of L_p by pool p, the shares
        (x - x_p)/(L - L_p), weighted by L - L_p, have the mean ((n-1) x)/((n-1) L): the share. A
        cohort that locates nothing has no weight; one that locates something there always is."""
        shares = shares_in(world)
        assume(len(shares.placement.pools) > 1)
        for row in shares.countries():
            assert (row.sensitivity is None) == ((row.evidence or 0) < 0.5 * (1 - NEAR))
            if row.sensitivity:
                assert row.sensitivity[0] - NEAR <= row.share <= row.sensitivity[1] + NEAR

    @some
    @given(worlds.crowded_minutes(["CN-ZJ", "CN-SC", "CN-OTHER", "US-TX"]))
    def test_contains_the_share_of_a_subdivision_if_two_pools_list_some_and_none_the_country_alone(
        self, world: World
    ) -> None:
        """Then its share is hashrate over L too, and no cohort is left out: the proof above."""
        shares = shares_in(world)
        listing = [
            pool
            for pool in shares.placement.pools
            if any(h and code.startswith("CN-") for (code, _), h in pool.places.items())
        ]
        assume(len(listing) > 1)
        for row in shares.subdivisions("CN"):
            if row.sensitivity:
                assert row.sensitivity[0] - NEAR <= row.share <= row.sensitivity[1] + NEAR

    def test_need_not_contain_the_share_of_a_subdivision_that_one_pool_alone_lists(self) -> None:
        """Without pool a no province is listed, so that cohort does not count, and all that is left
        is one where Sichuan is the world."""
        (row,) = of(member("a", CN_SC=1), member("b", US=1)).subdivisions("CN")
        assert row.share == 0.5
        assert row.sensitivity == pytest.approx((1, 1))

    def test_need_not_contain_the_share_of_a_subdivision_where_its_country_is_listed_alone(
        self,
    ) -> None:
        """Pool b gives China weight and little detail: together with a, which lists Sichuan,
        Sichuan gets more of the world than either gives it."""
        shares = of(member("a", CN_SC=1, US=3), member("b", CN_XJ=1, CN=2))
        row = by_code(shares.subdivisions("CN"))["CN-SC"]
        assert row.sensitivity == pytest.approx((0, 0.25))
        assert row.share == pytest.approx(2 / 7)

    def test_is_a_point_if_only_one_pool_locates_anything(self) -> None:
        """It is the effect of one pool more or less, not of how much is known."""
        rows = by_code(of(member("a", US=3, CA=1), member("unlocated", total=9)).countries())
        assert rows["US"].sensitivity == (0.75, 0.75)


class TestBelief:
    @levels
    @some
    @given(world=crowded)
    def test_contains_the_share_and_is_the_range_of_the_answers_under_each_prior(
        self, level: Callable[[Shares], list[Share]], world: World
    ) -> None:
        priors = [each.id for each in beliefs_of(world).on(DAY).network]
        tables = [by_code(level(shares_in(world, prior=prior))) for prior in priors]
        for row in level(shares_in(world)):
            if len(priors) < 2:
                assert row.belief is None
            else:
                found = [table[row.code].share if row.code in table else 0.0 for table in tables]
                assert row.belief == pytest.approx((min(found), max(found)), abs=NEAR)
                assert min(found) - NEAR <= row.share <= max(found) + NEAR
