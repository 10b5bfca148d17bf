from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from miningmap.api.models import (
    Answer,
    CohortPool,
    ExcludedPool,
    KindSplit,
    NetworkHashrate,
    PlacedByBelief,
    ShareRow,
    SubdivisionRow,
)
from streams.method.beliefs import (
    Beliefs,
    BeliefsInForce,
    Claim,
    Distribution,
    Document,
    Entry,
    Rule,
)
from streams.method.cells import Cell, MemoryCells
from streams.method.observations import Observations
from streams.method.placing import place
from streams.method.shares import Shares
from streams.queries.parameters import ParameterError, SharesParameters
from streams.queries.shares import answer, answer_from, check_prior, shares_of
from tests.cases import all_cases
from tests.streams.fixtures import NOON, cell, cohort, member, observed, places_of, report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.method.cells import Places
    from streams.method.cohort import Cohort

DAY = NOON.toordinal() - 719_163  # days since the Unix epoch

# Of 80 located, Germany has 30, Sichuan 30, China without a province 10, and Norway 10; H is 200.
COHORT = replace(
    cohort(
        member("a", places_of(DE=30) | places_of("prior", CN=10), total=60),
        member("b", places_of("estimated", CN_SC=30) | places_of("declared", NO=10), total=40),
        network=200,
    ),
    excluded={"c": "thin", "d": "stale"},
    simulated=True,
)
NO_BELIEFS = BeliefsInForce()


def answer_to(
    found: Cohort, parameters: Mapping[str, str], beliefs: BeliefsInForce = NO_BELIEFS
) -> Answer:
    prior = beliefs.network[0].id if beliefs.network else None
    shares = Shares(place(found, beliefs, (), prior))
    return answer(SharesParameters.parse(parameters).query(NOON), shares, ["zj"])


def test_an_answer_repeats_the_query_and_lists_the_cohort() -> None:
    result = answer_to(COHORT, {"window": "24h", "prior": "index"})
    assert (result.window, result.level, result.country) == ("24h", "country", None)
    assert (result.adjust, result.prior) == ("published", "index")
    assert (result.as_of, result.simulated, result.rules) == (NOON, True, ("zj",))
    assert result.network == NetworkHashrate(200, "mempool")
    assert (result.coverage, result.located) == (0.5, 0.8)
    assert (result.measured_coverage, result.declared_coverage) == (0.15, 0.2)
    assert result.evidence == 0.875
    assert result.cohort == (CohortPool("a", "own"), CohortPool("b", "own"))
    assert result.excluded == (ExcludedPool("c", "thin"), ExcludedPool("d", "stale"))
    assert result.beliefs == ()


def test_a_countrys_row_has_share_bounds_kinds_and_flags() -> None:
    china, germany, norway = answer_to(COHORT, {}).shares
    assert germany == ShareRow(
        code="DE",
        name="Germany",
        share=0.375,
        low=0.15,
        high=1.0,
        declared_low=0.15,
        declared_high=0.15 + 0.8,
        sensitivity=(0, 0.75),
        belief=None,
        hashrate=30,
        network_hashrate=75,
        evidence=1.0,
        kinds=KindSplit(measured=30, declared=0, estimated=0, prior=0),
        flags=("proxy_suspected",),
    )
    assert (china.code, china.share, china.network_hashrate) == ("CN", 0.5, 100)
    assert china.kinds == KindSplit(measured=0, declared=0, estimated=30, prior=10)
    assert (china.hashrate, china.evidence, china.flags) == (30, 0.75, ())
    assert (norway.low, norway.declared_low) == (0, 0.05)


def test_a_subdivision_has_a_share_of_the_world_and_one_of_its_country() -> None:
    result = answer_to(COHORT, {"level": "subdivision", "country": "CN"})
    assert (result.level, result.country) == ("subdivision", "CN")
    (sichuan,) = result.shares
    assert sichuan == SubdivisionRow(
        code="CN-SC",
        name="Sichuan",
        share=0.5,
        share_of_country=1,
        low=0.0,
        high=0.85,
        declared_low=0.0,
        declared_high=0.8,
        sensitivity=(0.75, 0.75),
        belief=None,
        hashrate=30,
        network_hashrate=100,
        evidence=1.0,
        kinds=KindSplit(measured=0, declared=0, estimated=30, prior=0),
        flags=(),
    )
    assert b'"share_of_country":1.0' in msgspec.json.encode(sichuan)


def test_figures_that_depend_on_the_network_are_null_without_it() -> None:
    result = answer_to(replace(COHORT, network=None, network_source=None), {})
    assert (result.network, result.coverage) == (None, None)
    assert result.measured_coverage is result.declared_coverage is None
    assert result.located == 0.8
    _, germany, _ = result.shares
    assert (germany.low, germany.high, germany.network_hashrate) == (None, None, None)
    assert (germany.declared_low, germany.declared_high) == (None, None)
    assert (germany.share, germany.hashrate) == (0.375, 30)


def test_an_answer_says_what_each_belief_placed_the_largest_first() -> None:
    pools = [member(pool, total=total) for pool, total in (("a", 30), ("b", 30), ("c", 60))]
    beliefs = BeliefsInForce(
        network=[Distribution("network/n", {"US": 1})],
        declared={"b": Distribution("pools/b", {"NO": 1}), "x": Distribution("pools/x", {"NO": 1})},
        priors={"a": Distribution("pools/a", {"KZ": 1})},
    )
    result = answer_to(cohort(*pools), {}, beliefs)
    assert result.beliefs == (
        PlacedByBelief("network/n", "prior", 60),
        PlacedByBelief("pools/a", "prior", 30),
        PlacedByBelief("pools/b", "declared", 30),
    )


NETWORK = [
    Document("old", [Entry(0, {"CN": 1.0}, until=DAY)]),
    Document("index", [Entry(0, {"CN": 1.0}), Entry(DAY, {"US": 1.0})]),
    Document("survey", [Entry(0, {"KZ": 1.0})]),
]


@all_cases(
    ("window", "prior", "code", "belief"),
    [
        ("now", "default", "US", (0, 1)),
        ("now", "survey", "KZ", None),
        ("now", "none", None, None),
        ("now", "old", None, None),  # known, but not in force
        ("2026-11-21", "default", "CN", (0, 1)),  # as it was on that day
    ],
)
def test_the_query_chooses_the_network_prior_and_the_window_its_day(
    window: str, prior: str, code: str | None, belief: tuple[float, float] | None
) -> None:
    query = SharesParameters.parse({"window": window, "prior": prior}).query(NOON)
    observations = Observations(
        {"a": {"own": observed(cell(query.window.span.minutes, total=9))}}, {}
    )
    shares = shares_of(query.window, observations, Beliefs(network=NETWORK), prior=query.prior)
    assert [row.code for row in shares.countries()] == ([] if code is None else [code])
    assert all(row.belief == belief for row in shares.countries())


def test_a_prior_that_is_not_one_of_the_beliefs_is_an_error_that_lists_them() -> None:
    beliefs = Beliefs(network=NETWORK)
    for known in ("default", "none", "old", "survey"):
        check_prior(known, beliefs)
    with pytest.raises(ParameterError, match=r"'later'; .*default, none, old, index, survey") as e:
        check_prior("later", beliefs)
    assert e.value.parameter == "prior"


def test_a_window_without_minutes_has_no_beliefs() -> None:
    claims = [Claim("c", "NO", 5, 0, 2 * DAY)]
    query = SharesParameters.parse({"window": "2026-12"}).query(NOON)
    seen = Observations({"a": {"own": observed(Cell(), seen_before=True)}}, {})
    shares = shares_of(query.window, seen, Beliefs(network=NETWORK, claims=claims))
    result = answer(query, shares, [])
    assert (result.cohort, result.excluded, result.beliefs, result.shares) == ((), (), (), ())
    assert (result.network, result.coverage, result.located) == (None, None, None)


@pytest.mark.parametrize(
    ("adjust", "rules", "places"),
    [
        ("published", ("zj",), places_of(CN_SC=8)),
        ("none", (), places_of(CN_ZJ=2, CN_SC=6)),
    ],
)
def test_rules_are_applied_and_named_unless_adjust_is_none(
    adjust: str, rules: tuple[str, ...], places: Places
) -> None:
    seen = observed(cell(30, CN_ZJ=2, CN_SC=6))
    observations = Observations({"a": {"own": seen}}, {"mempool": observed(cell(60, total=16))})
    query = SharesParameters.parse({"adjust": adjust}).query(NOON)
    beliefs = Beliefs(rules=[Rule("zj", "CN-ZJ", None)])
    shares = shares_of(query.window, observations, beliefs, adjust=query.adjust)
    assert [pool.places for pool in shares.placement.pools] == [places]
    if adjust == "published":  # the default
        assert shares_of(query.window, observations, beliefs) == shares
    result = answer(query, shares, ["zj"])
    assert (result.adjust, result.rules) == (adjust, rules)
    assert result.network == NetworkHashrate(16, "mempool")


@all_cases(
    ("adjust", "prior", "kinds"),
    [
        ("published", "default", {"CN-SC": KindSplit(8, 0, 0, 0), "CN-XJ": KindSplit(0, 0, 0, 2)}),
        ("published", "none", {"CN-SC": KindSplit(8, 0, 0, 0)}),
        (
            "none",
            "none",
            {"CN-SC": KindSplit(6, 0, 0, 0), "CN-ZJ": KindSplit(2, 0, 0, 0)},
        ),
    ],
)
def test_an_answer_from_cells_is_by_the_rules_and_the_prior_of_its_query(
    adjust: str, prior: str, kinds: dict[str, KindSplit]
) -> None:
    cells = MemoryCells()
    cells.add(report(hashrate=10, places={"CN-ZJ": 2, "CN-SC": 6}))
    given = {"window": "now", "level": "subdivision", "country": "CN"}
    query = SharesParameters.parse(given | {"adjust": adjust, "prior": prior}).query(NOON)
    beliefs = Beliefs(
        network=[Document("index", [Entry(0, {"CN-XJ": 1.0})])], rules=[Rule("zj", "CN-ZJ", None)]
    )
    result = answer_from(cells, query, beliefs)
    assert {row.code: row.kinds for row in result.shares} == kinds
    assert result.rules == (("zj",) if adjust == "published" else ())


def test_eligibility_depends_on_the_minutes_of_the_window() -> None:
    observations = Observations({"a": {"own": observed(Cell(30, 30))}}, {})
    for name, excluded in (("1h", {}), ("24h", {"a": "thin"})):
        window = SharesParameters.parse({"window": name}).query(NOON).window
        assert shares_of(window, observations, Beliefs()).placement.cohort.excluded == excluded
