"""Beliefs: which of them count on a day."""

from __future__ import annotations

import pytest

from streams.method.beliefs import (
    Amount,
    Beliefs,
    BeliefsInForce,
    Claim,
    ClaimGroup,
    Distribution,
    Document,
    Entry,
    normalised,
)
from tests.cases import all_cases

US, CA, KZ = {"US": 1.0}, {"CA": 1.0}, {"KZ": 1.0}


def claim(
    id_: str,
    at_least: float,
    *,
    place: str = "US",
    start: int = 0,
    until: int = 99,
    pools: frozenset[str] | None = None,
    within: str | None = None,
) -> Claim:
    return Claim(id_, place, at_least, start, until, pools, within)


def amounts(*claims: Claim, day: int = 10) -> dict[str, float]:
    groups = Beliefs(claims=claims).on(day).claims
    return {amount.id: amount.hashrate for group in groups for amount in group.amounts}


def test_weights_of_any_scale_become_fractions_of_the_whole() -> None:
    assert normalised({"US": 3, "CA": 1, "KZ": 0}) == {"US": 0.75, "CA": 0.25, "KZ": 0}


@all_cases(
    ("day", "weights"),
    [(9, None), (10, US), (19, US), (20, CA), (29, CA), (30, None), (49, None), (50, KZ)],
)
def test_the_latest_entry_of_a_series_counts_until_it_ends(
    day: int, weights: dict[str, float] | None
) -> None:
    """After the end of the latest entry none counts, not the one before it."""
    document = Document("d", [Entry(50, KZ), Entry(10, US), Entry(20, CA, until=30)])
    assert document.on(day) == (None if weights is None else Distribution("d", weights))


def test_of_the_documents_on_one_pool_the_first_in_force_of_each_kind_counts() -> None:
    pools = [
        Document("later", [Entry(20, KZ)], "a", declared=True),
        Document("first", [Entry(0, US)], "a", declared=True),
        Document("second", [Entry(0, CA)], "a", declared=True),
        Document("own", [Entry(0, CA)], "a"),
        Document("other", [Entry(0, KZ)], "b"),
    ]
    early, late = Beliefs(pools=pools).on(10), Beliefs(pools=pools).on(20)
    assert early.declared == {"a": Distribution("first", US)}
    assert late.declared == {"a": Distribution("later", KZ)}
    assert early.priors == {"a": Distribution("own", CA), "b": Distribution("other", KZ)}


def test_all_priors_of_the_network_in_force_are_listed_in_order() -> None:
    network = [Document("b", [Entry(20, KZ)]), Document("a", [Entry(0, US)])]
    assert Beliefs(network=network).on(10).network == [Distribution("a", US)]
    assert [found.id for found in Beliefs(network=network).on(20).network] == ["b", "a"]


def test_no_beliefs_are_in_force_without_any() -> None:
    assert Beliefs().on(10) == BeliefsInForce([], {}, {}, [])


@all_cases(("day", "counts"), [(9, False), (10, True), (19, True), (20, False)])
def test_a_claim_counts_from_its_first_day_until_the_day_it_ends(day: int, *, counts: bool) -> None:
    assert bool(amounts(claim("c", 5, start=10, until=20), day=day)) is counts


def test_claims_about_the_same_pools_are_a_group_and_those_about_any_come_last() -> None:
    b, ab, ac = (frozenset(pools) for pools in ("b", "ab", "ac"))
    claims = [
        claim("any", 1),
        claim("b", 2, pools=b),
        claim("ac", 3, pools=ac),
        claim("ab", 4, pools=ab, place="KZ"),
        claim("b2", 5, pools=b),
    ]
    assert Beliefs(claims=claims).on(10).claims == [
        ClaimGroup(ab, [Amount("ab", "KZ", 4)]),
        ClaimGroup(ac, [Amount("ac", "US", 3)]),
        ClaimGroup(b, [Amount("b", "US", 2), Amount("b2", "US", 5)]),
        ClaimGroup(None, [Amount("any", "US", 1)]),
    ]


class TestContents:
    """A claim that contains others adds what it has beside them."""

    def test_a_container_has_what_its_contents_do_not(self) -> None:
        found = amounts(claim("us", 30), claim("tx", 10, within="us"), claim("ga", 5, within="us"))
        assert found == {"us": 15, "tx": 10, "ga": 5}

    def test_it_never_has_less_than_nothing(self) -> None:
        assert amounts(claim("us", 8), claim("tx", 10, within="us"))["us"] == 0

    def test_a_content_is_as_large_as_its_own_contents(self) -> None:
        """The company's 50 contain a state of 4, in which a site alone has 20."""
        found = amounts(
            claim("us", 50), claim("tx", 4, within="us"), claim("site", 20, within="tx")
        )
        assert found == {"us": 30, "tx": 0, "site": 20}

    @pytest.mark.parametrize(("start", "until"), [(20, 99), (0, 10)])
    def test_a_container_that_is_not_in_force_is_passed_through(
        self, start: int, until: int
    ) -> None:
        claims = [
            claim("us", 50),
            claim("tx", 30, within="us", start=start, until=until),
            claim("site", 20, within="tx"),
        ]
        assert amounts(*claims) == {"us": 30, "site": 20}

    def test_without_a_container_in_force_a_claim_stands_alone(self) -> None:
        assert amounts(claim("us", 50, start=20), claim("tx", 30, within="us")) == {"tx": 30}


def test_the_wholes_of_a_pool_are_listed_from_the_nearest_on() -> None:
    beliefs = Beliefs(part_of={"a": "b", "b": "c", "x": "c"})
    assert list(beliefs.wholes_of("a")) == ["b", "c"]
    assert list(beliefs.wholes_of("c")) == []
