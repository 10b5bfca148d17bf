"""Where the hashrate is that no report locates; checkable by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from streams.method.beliefs import (
    Amount,
    BeliefsInForce,
    ClaimGroup,
    Distribution,
    Rule,
    normalised,
)
from streams.method.placing import Placed, missing, place
from streams.method.tables import Rows
from tests.cases import all_cases
from tests.streams.fixtures import cohort, member, places_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.method.cells import Places
    from streams.method.cohort import Member
    from streams.method.placing import Placement

NOTHING = BeliefsInForce()


def placed(
    *members: Member,
    beliefs: BeliefsInForce = NOTHING,
    prior: str | None = None,
    network: float | None = None,
    usual_network: float | None = None,
) -> Placement:
    """A cohort after all steps."""
    found = cohort(*members, network=network, usual_network=usual_network)
    return place(found, beliefs, (), prior)


def places_in(placement: Placement) -> dict[str, Places]:
    return {pool.member.pool: pool.places for pool in placement.pools}


def only(placement: Placement) -> Places:
    (pool,) = placement.pools
    return pool.places


def own(id_: str, **weights: float) -> Distribution:
    """A distribution with weights of any scale; ``US_TX`` means US-TX."""
    named = {code.replace("_", "-"): weight for code, weight in weights.items()}
    return Distribution(id_, normalised(named))


def near(places: Places) -> Any:
    return {key: pytest.approx(hashrate) for key, hashrate in places.items()}


class TestReports:
    """Step 0: what reports locate, after the rules."""

    def test_without_beliefs_the_rest_is_unknown(self) -> None:
        found = placed(member("a", total=100, US=30), member("b", total=5))
        assert places_in(found) == {"a": places_of(US=30), "b": {}}
        assert [pool.remainder for pool in found.pools] == [70, 5]
        assert (found.remainder, found.before_network_prior) == (75, {"US": 30})
        assert (found.beliefs, found.network_ratios) == ({}, {})

    def test_a_remainder_of_rounding_error_counts_as_0(self) -> None:
        beliefs = BeliefsInForce(priors={"a": own("own", KZ=1)})
        rounded = member("a", total=1e20, US=1e20 - 16384)
        assert only(placed(rounded, beliefs=beliefs)) == places_of(US=1e20 - 16384)
        small = member("a", total=1e12, US=1e12 - 2)
        assert only(placed(small, beliefs=beliefs))["KZ", "prior"] == 2

    def test_rules_apply_to_what_reports_and_profiles_list_and_to_nothing_else(self) -> None:
        zhejiang = [Rule("zj", "CN-ZJ", None)]
        seen = member("a", total=12, CN_ZJ=1, CN_SC=3)
        seen = replace(seen, profile=Rows.of(places_of(CN_ZJ=30, CN_XJ=10)))
        declared = member("b", total=8)
        beliefs = BeliefsInForce(declared={"b": own("own", CN_ZJ=1, CN_SC=1)})
        a, b = place(cohort(seen, declared), beliefs, zhejiang, None).pools
        assert a.places == places_of(CN_SC=4) | places_of("estimated", CN_XJ=8)
        assert b.places == places_of("declared", CN_ZJ=4, CN_SC=4)

    def test_a_rule_applies_to_the_reports_and_profiles_of_its_pools(self) -> None:
        rules = [Rule("zj", "CN-ZJ", frozenset("a"))]
        pools = [
            replace(
                member(name, total=8, CN_ZJ=1, CN_SC=1),
                profile=Rows.of(places_of(CN_ZJ=1, CN_XJ=1)),
            )
            for name in "ab"
        ]
        a, b = place(cohort(*pools), NOTHING, rules, None).pools
        assert a.places == places_of(CN_SC=2) | places_of("estimated", CN_XJ=6)
        assert b.places == near(
            places_of(CN_ZJ=1, CN_SC=1) | places_of("estimated", CN_ZJ=18 / 7, CN_XJ=24 / 7)
        )

    def test_pools_stay_in_the_order_of_the_cohort(self) -> None:
        whole = replace(member("a", total=5), parts=frozenset({"b"}))
        assert list(places_in(placed(whole, member("b", total=1)))) == ["a", "b"]


class TestOwnDistributions:
    """Steps 1, 2 and 4: distributions of a pool."""

    def test_the_profile_locates_a_bare_total(self) -> None:
        pool = replace(member("a", total=200), profile=Rows.of(places_of(CN_SC=60, KZ=20)))
        assert only(placed(pool)) == near(places_of("estimated", CN_SC=150, KZ=50))

    def test_a_profile_is_of_the_whole_pool(self) -> None:
        """Half of 100 is in the US by the profile, and 40 are measured there: 10 more."""
        pool = replace(member("a", total=100, US=40), profile=Rows.of(places_of(US=5, CA=5)))
        assert only(placed(pool)) == near(places_of(US=40) | places_of("estimated", US=10, CA=50))

    def test_the_located_remainder_adds_to_the_reported_hashrate_of_the_same_place_and_kind(
        self,
    ) -> None:
        reported = member("a", places_of("estimated", US=20), total=100)
        pool = replace(reported, profile=Rows.of(places_of(US=3, CA=1)))
        assert only(placed(pool)) == near(places_of("estimated", US=75, CA=25))

    def test_a_pool_is_located_by_its_profile_then_its_declared_distribution_then_its_prior(
        self,
    ) -> None:
        beliefs = BeliefsInForce(
            declared={"a": own("says", US=1), "b": own("says-too", CA=1)},
            priors={pool: own(f"assumed-{pool}", KZ=1) for pool in "abc"},
        )
        found = placed(
            replace(member("a", total=10), profile=Rows.of(places_of(NO=1))),
            member("b", total=20),
            member("c", total=30),
            beliefs=beliefs,
        )
        assert places_in(found) == {
            "a": places_of("estimated", NO=10),
            "b": places_of("declared", CA=20),
            "c": places_of("prior", KZ=30),
        }
        assert found.beliefs == {
            "says-too": Placed("declared", 20),
            "assumed-c": Placed("prior", 30),
        }

    def test_parts_count_towards_a_profile_too_and_add_up(self) -> None:
        """Of 100, half is in KZ by the profile. The parts have 20 of that, the pool itself 10."""
        parts = (member("y", KZ=10), member("z", places_of("declared", KZ=4), KZ=6))
        whole = replace(
            member("a", total=80, KZ=10),
            reported_total=100.0,
            profile=Rows.of(places_of(KZ=1, US=1)),
            parts=frozenset("yz"),
        )
        assert places_in(placed(whole, *parts))["a"] == near(
            places_of(KZ=10) | places_of("estimated", KZ=20, US=50)
        )

    def test_a_place_of_weight_0_is_not_listed(self) -> None:
        """A place with 0 is listed only if a report in the window names it (method, section 7)."""
        pool = replace(member("a", total=100), profile=Rows.of(places_of(US=1, CA=0)))
        assert only(placed(pool)) == places_of("estimated", US=100)

    def test_a_pool_without_a_remainder_gets_nothing(self) -> None:
        beliefs = BeliefsInForce(declared={"a": own("says", CA=1)})
        found = placed(member("a", US=5), beliefs=beliefs)
        assert (only(found), found.beliefs) == (places_of(US=5), {})

    def test_the_part_of_a_pool_counts_towards_its_whole_and_comes_before_it(self) -> None:
        """Of 100 reported, half is in KZ by the declaration: the part's 40 are, so 10 more are."""
        part = member("z", total=40)
        whole = replace(member("a", total=100), total=60.0, parts=frozenset({"z"}))
        beliefs = BeliefsInForce(
            declared={"a": own("whole", KZ=1, US=1), "z": own("part", KZ=1)},
        )
        found = placed(whole, part, beliefs=beliefs)
        assert places_in(found) == {
            "a": near(places_of("declared", KZ=10, US=50)),
            "z": places_of("declared", KZ=40),
        }
        priors = BeliefsInForce(priors=beliefs.declared)
        assert places_in(placed(whole, part, beliefs=priors))["a"] == near(
            places_of("prior", KZ=10, US=50)
        )


@all_cases(
    ("weights", "located", "expected"),
    [
        # The codes' own weights, or those of their countries.
        ({"US": 5, "CA": 5}, {}, {"US": 0.5, "CA": 0.5}),
        ({"US": 5, "CA": 5}, {"US": 2}, {"US": 3 / 8, "CA": 5 / 8}),
        ({"US": 5, "CA": 5}, {"US-TX": 2}, {"US": 3 / 8, "CA": 5 / 8}),
        ({"US-TX": 5, "CA": 5}, {"US-TX": 2}, {"US-TX": 3 / 8, "CA": 5 / 8}),
        ({"US": 5, "CA": 5}, {"US-TX": 1, "US-GA": 1}, {"US": 3 / 8, "CA": 5 / 8}),
        ({"US-TX": 5, "CA": 5}, {"US-TX": 1, "US": 2}, {"US-TX": 2 / 7, "CA": 5 / 7}),
        # More than the whole has there is not taken from other places.
        ({"US": 5, "CA": 5}, {"US": 7}, {"US": 0, "CA": 1}),
        # A country without a weight counts towards its subdivisions.
        (
            {"US-TX": 4, "US-GA": 2, "CA": 4},
            {"US": 3},
            {"US-TX": 2 / 7, "US-GA": 1 / 7, "CA": 4 / 7},
        ),
        ({"US-OTHER": 5, "CA": 5}, {"US": 2}, {"US-OTHER": 3 / 8, "CA": 5 / 8}),
        # A subdivision does not count towards another one, nor XX-OTHER towards any.
        ({"US-TX": 5, "CA": 5}, {"US-GA": 2}, {"US-TX": 0.5, "CA": 0.5}),
        ({"US-TX": 5, "OTHER": 5}, {"US-GA": 2}, {"US-TX": 5 / 8, "OTHER": 3 / 8}),
        ({"US-TX": 5, "OTHER": 5}, {"US-OTHER": 2}, {"US-TX": 5 / 8, "OTHER": 3 / 8}),
        # Subdivisions of weight 0 have no proportions.
        ({"US-TX": 0, "CA": 5, "OTHER": 5}, {"US": 2}, {"US-TX": 0, "CA": 5 / 8, "OTHER": 3 / 8}),
        # All else counts towards OTHER, if that has a weight.
        ({"US": 5, "OTHER": 5}, {"NO": 2}, {"US": 5 / 8, "OTHER": 3 / 8}),
        ({"US": 5, "OTHER": 5}, {"OTHER": 2}, {"US": 5 / 8, "OTHER": 3 / 8}),
        ({"US": 5, "OTHER": 5}, {"NO": 1, "FI": 1}, {"US": 5 / 8, "OTHER": 3 / 8}),
        ({"US": 5, "CA": 5}, {"NO": 2}, {"US": 0.5, "CA": 0.5}),
        # What a country has over its weight is in its subdivisions.
        ({"US": 2, "US-TX": 3, "CA": 5}, {"US": 4}, {"US": 0, "US-TX": 1 / 6, "CA": 5 / 6}),
        ({"US": 2, "US-TX": 3, "CA": 5}, {"US-GA": 4}, {"US": 0, "US-TX": 1 / 6, "CA": 5 / 6}),
        ({"US": 2, "US-TX": 3, "CA": 5}, {"US": 2}, {"US": 0, "US-TX": 3 / 8, "CA": 5 / 8}),
        (
            {"US": 2, "US-TX": 2, "US-GA": 1, "CA": 5},
            {"US": 3.5},
            {"US": 0, "US-TX": 1 / 6.5, "US-GA": 0.5 / 6.5, "CA": 5 / 6.5},
        ),
        ({"US": 2, "US-TX": 3, "CA": 5}, {"US": 1}, {"US": 1 / 9, "US-TX": 3 / 9, "CA": 5 / 9}),
        # If nothing is missing, the distribution itself.
        ({"US": 5, "CA": 5}, {"US": 5, "CA": 5}, {"US": 0.5, "CA": 0.5}),
        ({"US": 10}, {"US": 10 - 1e-12}, {"US": 1}),
    ],
)
def test_what_a_distribution_of_a_whole_of_10_says_of_the_part_not_located(
    weights: Mapping[str, float], located: Mapping[str, float], expected: Mapping[str, float]
) -> None:
    found = missing(normalised(weights), 10, located)
    assert dict(found) == pytest.approx(dict(expected))
    assert found.keys() == weights.keys()


class TestNetworkPrior:
    """Step 5: what is left of all pools."""

    beliefs = BeliefsInForce(network=[own("index", US=6, RU=4), own("other", KZ=1)])

    def test_it_is_of_the_whole_cohort_and_spreads_every_remainder_alike(self) -> None:
        """Of 100, 60 are in the US by the prior. 40 are, so 20 more are, of the 60 remaining."""
        found = placed(
            member("a", total=70, US=40), member("b", total=30), beliefs=self.beliefs, prior="index"
        )
        a, b = places_in(found).values()
        assert a == near(places_of(US=40) | places_of("prior", US=10, RU=20))
        assert b == near(places_of("prior", US=10, RU=20))
        assert found.beliefs == {"index": Placed("prior", 60)}
        assert [pool.remainder for pool in found.pools] == [0, 0]

    def test_its_effect_under_each_prior_in_force_is_kept(self) -> None:
        found = placed(member("a", total=100, US=40), beliefs=self.beliefs, prior="other")
        assert found.before_network_prior == {"US": 40}
        assert found.remainder == 60
        assert found.network_ratios == {
            "index": pytest.approx({"US": 20 / 60, "RU": 40 / 60}),
            "other": {"KZ": 1},
        }

    def test_without_it_or_with_one_that_is_not_in_force_the_rest_stays_unknown(self) -> None:
        for prior in (None, "of-another-year"):
            found = placed(member("a", total=100, US=40), beliefs=self.beliefs, prior=prior)
            assert (only(found), found.beliefs) == (places_of(US=40), {})

    def test_each_pool_is_as_large_as_over_the_profile_days(self) -> None:
        """a has lost half: usually 80 of the US' 60 % of 100 are its own, and the US lacks none."""
        pools = (replace(member("a", US=40), growth=2.0), member("b", total=20))
        found = placed(*pools, beliefs=self.beliefs, prior="index")
        assert places_in(found)["b"] == near(places_of("prior", RU=20))

    def test_the_places_of_all_pools_count(self) -> None:
        pools = (member("a", US=30), member("b", US=10), member("c", total=60))
        found = placed(*pools, beliefs=self.beliefs, prior="index")
        assert places_in(found)["c"] == near(places_of("prior", US=20, RU=40))

    def test_when_a_pool_with_places_falls_its_places_fall_and_no_others(self) -> None:
        def in_russia(total: float) -> float:
            pools = (replace(member("a", US=total), growth=80 / total), member("b", total=120))
            found = placed(*pools, beliefs=self.beliefs, prior="index")
            return places_in(found)["b"]["RU", "prior"]

        assert in_russia(8) == pytest.approx(in_russia(80)) == pytest.approx(80)


def claims(*amounts: Amount, pools: str | None = "a") -> BeliefsInForce:
    group = ClaimGroup(None if pools is None else frozenset(pools), amounts)
    return BeliefsInForce(claims=[group])


class TestClaims:
    """Step 3: floors."""

    def test_a_claim_is_placed_from_the_remainders_of_its_pools_in_proportion(self) -> None:
        beliefs = claims(Amount("c", "NO", 30), pools="ab")
        pools = (member("a", total=50, US=10), member("b", total=20), member("c", total=99))
        found = placed(*pools, beliefs=beliefs)
        assert places_in(found) == {
            "a": near(places_of(US=10) | places_of("declared", NO=20)),
            "b": near(places_of("declared", NO=10)),
            "c": {},
        }
        assert [pool.remainder for pool in found.pools] == pytest.approx([20, 10, 99])
        assert found.beliefs["c"].hashrate == pytest.approx(30)

    def test_a_claim_adds_only_what_nothing_located_can_already_be(self) -> None:
        for seen, more in ((places_of(NO=12), 18), (places_of("declared", NO=30), None)):
            pool = member("a", seen, total=100)
            found = placed(pool, beliefs=claims(Amount("c", "NO", 30)))
            placed_there = found.beliefs.get("c")
            assert placed_there == (None if more is None else Placed("declared", more))

    def test_assumed_hashrate_is_not_evidence(self) -> None:
        pool = member("a", places_of("prior", NO=30), total=100)
        assert placed(pool, beliefs=claims(Amount("c", "NO", 30))).beliefs["c"].hashrate == 30

    def test_estimated_and_declared_places_are_evidence_for_claims_about_pools(self) -> None:
        beliefs = claims(Amount("c", "NO", 30))
        estimated = member("a", places_of("estimated", NO=10), total=100)
        assert placed(estimated, beliefs=beliefs).beliefs["c"].hashrate == 20
        declared = member("a", places_of("declared", NO=10), total=100)
        assert placed(declared, beliefs=beliefs).beliefs["c"].hashrate == 20

    def test_the_sites_that_a_pool_declares_are_not_those_of_claims_about_any_pool(self) -> None:
        beliefs = claims(Amount("c", "NO", 30), pools=None)
        for kind, more in (("declared", 30), ("measured", 20), ("estimated", 20)):
            seen = places_of(kind, NO=10)  # type: ignore[arg-type]
            found = placed(member("a", seen, total=100), beliefs=beliefs, network=100)
            assert found.beliefs["c"].hashrate == more

    def test_only_other_pools_places_are_no_evidence_for_claims_about_pools(self) -> None:
        pools = (member("a", total=100), member("b", NO=30))
        assert placed(*pools, beliefs=claims(Amount("c", "NO", 30))).beliefs["c"].hashrate == 30

    def test_the_places_of_all_its_pools_are_evidence(self) -> None:
        pools = (member("a", total=50, NO=8), member("b", total=50, NO=4))
        found = placed(*pools, beliefs=claims(Amount("c", "NO", 30), pools="ab"))
        assert found.beliefs["c"].hashrate == 18

    def test_what_a_profile_or_a_declaration_locates_comes_first(self) -> None:
        """Nothing is left of the pool then, and a claim takes nothing away."""
        by_profile = replace(member("a", total=10), profile=Rows.of(places_of(US=1)))
        assert placed(by_profile, beliefs=claims(Amount("c", "NO", 5))).beliefs == {}

    @pytest.mark.parametrize(
        ("network", "usual_network", "hashrate"),
        [
            pytest.param(400, 1000, 30 / 4, id="the part of the network that is seen"),
            pytest.param(50, None, 30, id="at most all of it"),
            pytest.param(None, 200, 15, id="without the network, the usual one"),
        ],
    )
    def test_of_a_claim_about_any_pool_the_part_that_the_map_sees_is_placed(
        self, network: float | None, usual_network: float | None, hashrate: float
    ) -> None:
        found = placed(
            member("a", total=60),
            member("b", total=40),
            beliefs=claims(Amount("c", "NO", 30), pools=None),
            network=network,
            usual_network=usual_network,
        )
        assert found.beliefs["c"].hashrate == pytest.approx(hashrate)
        assert places_in(found)["b"] == near(places_of("declared", NO=hashrate * 0.4))

    def test_without_any_network_such_a_claim_places_nothing(self) -> None:
        beliefs = claims(Amount("c", "NO", 30), pools=None)
        assert placed(member("a", total=60), beliefs=beliefs).beliefs == {}

    def test_if_more_is_claimed_than_there_is_every_claim_gets_the_same_part(self) -> None:
        beliefs = claims(Amount("c", "NO", 30), Amount("d", "FI", 10))
        found = placed(member("a", total=20), beliefs=beliefs)
        assert only(found) == places_of("declared", NO=15, FI=5)
        assert found.beliefs == {"c": Placed("declared", 15), "d": Placed("declared", 5)}
        assert found.pools[0].remainder == 0

    def test_claims_at_one_place_share_what_they_add_by_their_size(self) -> None:
        beliefs = claims(Amount("c", "NO", 30), Amount("d", "NO", 10), Amount("e", "NO", 0))
        found = placed(member("a", total=100, NO=20), beliefs=beliefs)
        assert found.beliefs == {"c": Placed("declared", 15), "d": Placed("declared", 5)}
        nothing = claims(Amount("e", "NO", 0))
        assert placed(member("a", total=100), beliefs=nothing).beliefs == {}

    def test_groups_are_placed_one_after_the_other(self) -> None:
        beliefs = BeliefsInForce(
            claims=[
                ClaimGroup(frozenset("a"), [Amount("c", "NO", 15)]),
                ClaimGroup(frozenset("ab"), [Amount("d", "FI", 10)]),
            ]
        )
        found = placed(member("a", total=20), member("b", total=5), beliefs=beliefs)
        assert places_in(found) == {
            "a": near(places_of("declared", NO=15, FI=5)),
            "b": near(places_of("declared", FI=5)),
        }

    def test_claims_about_pools_that_do_not_count_place_nothing(self) -> None:
        beliefs = claims(Amount("c", "NO", 15), pools="x")
        assert placed(member("a", total=20), beliefs=beliefs).beliefs == {}


@all_cases(
    ("located", "wanted"),
    [
        # A country of 30 and one of its states of 10, as claims that add up.
        ({}, {"US": 30, "US-TX": 10}),
        ({"US-TX": 4}, {"US": 30, "US-TX": 6}),
        ({"US-TX": 14}, {"US": 26}),  # what is over the state's claim can be the country's
        ({"US-GA": 5}, {"US": 25, "US-TX": 10}),  # another state as well
        ({"US": 4}, {"US": 30, "US-TX": 6}),  # known no finer: it can be in the state, first
        ({"US-OTHER": 4}, {"US": 30, "US-TX": 6}),
        ({"US": 14}, {"US": 26}),  # and then it is the country's
        ({"US": 8, "US-OTHER": 6}, {"US": 26}),
        ({"US": 4, "US-GA": 5}, {"US": 25, "US-TX": 6}),
        ({"US": 60}, {}),
        ({"US-GA": 60}, {"US-TX": 10}),
        ({"CA": 60}, {"US": 30, "US-TX": 10}),
    ],
)
def test_what_the_claims_on_a_country_and_its_state_add(
    located: Mapping[str, float], wanted: Mapping[str, float]
) -> None:
    pool = member("a", {(code, "measured"): h for code, h in located.items()}, total=1000)
    beliefs = claims(Amount("US", "US", 30), Amount("US-TX", "US-TX", 10))
    found = placed(pool, beliefs=beliefs)
    assert {id_: each.hashrate for id_, each in found.beliefs.items()} == pytest.approx(
        dict(wanted)
    )


def test_small_hashrates_are_placed_like_large_ones() -> None:
    """In H/s, also less than one of them; powers of two, so that no float is rounded."""

    def all_steps(scale: float) -> Placement:
        def at(**hashrates: float) -> Places:
            return {key: h * scale for key, h in places_of(**hashrates).items()}

        pools = (
            replace(member("a", at(KZ=4), total=16 * scale), profile=Rows.of(at(KZ=1, RU=1))),
            member("b", at(US=4, US_GA=6), total=64 * scale),
            member("c", total=32 * scale),
            member("d", total=8 * scale),
        )
        amounts = [("us", "US", 16), ("tx", "US-TX", 8), ("al", "US-AL", 4)]
        group = [Amount(id_, code, h * scale) for id_, code, h in amounts]
        beliefs = BeliefsInForce(
            network=[own("index", US=1, RU=1)],
            declared={"d": own("says", NO=1)},
            priors={"c": own("assumed", CN=1)},
            claims=[ClaimGroup(frozenset("b"), group)],
        )
        return placed(*pools, beliefs=beliefs, prior="index")

    large, small = all_steps(1), all_steps(2.0**-20)
    assert set(large.beliefs) == {"us", "tx", "al", "says", "assumed", "index"}
    assert small.beliefs == {
        id_: Placed(each.kind, each.hashrate * 2.0**-20) for id_, each in large.beliefs.items()
    }
    assert places_in(small) == {
        pool: {key: h * 2.0**-20 for key, h in places.items()}
        for pool, places in places_in(large).items()
    }


def test_claims_on_two_states_share_what_is_known_no_finer_by_what_they_lack() -> None:
    beliefs = claims(Amount("tx", "US-TX", 30), Amount("ga", "US-GA", 10))
    found = placed(member("a", total=100, US=20), beliefs=beliefs)
    assert found.beliefs == {"tx": Placed("declared", 15), "ga": Placed("declared", 5)}
