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
    ShareRow,
    SubdivisionRow,
)
from streams.method.cells import Cell
from streams.method.observations import Observation
from streams.method.placing import Beliefs, Cohort, Member, Rule
from streams.queries.parameters import SharesParameters
from streams.queries.shares import answer, cohort_for
from tests.streams.fixtures import NOON

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.method.cells import Places

# Of 80 located, Germany has 40, Sichuan 30 and China without a province 10; H is 200.
COHORT = Cohort(
    [
        Member("a", "own", 60, {("DE", "measured"): 40, ("CN", "prior"): 10}),
        Member("b", "partner", 40, {("CN-SC", "estimated"): 30}),
    ],
    {"c": "thin", "d": "stale"},
    network=200,
    network_source="mempool",
    simulated=True,
)


def answer_to(cohort: Cohort, parameters: Mapping[str, str]) -> Answer:
    return answer(SharesParameters.parse(parameters).query(NOON), cohort, ["zj"])


def test_an_answer_repeats_the_query_and_lists_the_cohort() -> None:
    result = answer_to(COHORT, {"window": "24h"})
    assert (result.window, result.level, result.country, result.adjust) == (
        "24h",
        "country",
        None,
        "published",
    )
    assert (result.as_of, result.simulated, result.rules) == (NOON, True, ("zj",))
    assert result.network == NetworkHashrate(200, "mempool")
    assert (result.coverage, result.located, result.measured_coverage) == (0.5, 0.8, 0.2)
    assert result.cohort == (CohortPool("a", "own"), CohortPool("b", "partner"))
    assert result.excluded == (ExcludedPool("c", "thin"), ExcludedPool("d", "stale"))


def test_a_countrys_row_has_share_bounds_kinds_and_flags() -> None:
    china, germany = answer_to(COHORT, {}).shares
    assert germany == ShareRow(
        code="DE",
        name="Germany",
        share=0.5,
        low=0.2,
        high=1.0,
        sensitivity=(0.0, 0.8),
        hashrate=40,
        network_hashrate=100,
        kinds=KindSplit(measured=40, estimated=0, prior=0),
        flags=("proxy_suspected",),
    )
    assert (china.code, china.share, china.network_hashrate) == ("CN", 0.5, 100)
    assert china.kinds == KindSplit(measured=0, estimated=30, prior=10)
    assert (china.hashrate, china.flags) == (40, ())


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
        high=0.8,
        sensitivity=(1.0, 1.0),
        hashrate=30,
        network_hashrate=100,
        kinds=KindSplit(measured=0, estimated=30, prior=0),
        flags=(),
    )
    assert b'"share_of_country":1.0' in msgspec.json.encode(sichuan)


def test_figures_that_depend_on_the_network_are_null_without_it() -> None:
    result = answer_to(replace(COHORT, network=None, network_source=None), {})
    assert (result.network, result.coverage, result.measured_coverage) == (None, None, None)
    assert result.located == 0.8
    _, germany = result.shares
    assert (germany.low, germany.high, germany.network_hashrate) == (None, None, None)
    assert (germany.share, germany.hashrate) == (0.5, 40)


@pytest.mark.parametrize(
    ("adjust", "rules", "places"),
    [
        ("published", ("zj",), {("CN-SC", "measured"): 8}),
        ("none", (), {("CN-ZJ", "measured"): 2, ("CN-SC", "measured"): 6}),
    ],
)
def test_rules_are_applied_and_named_unless_adjust_is_none(
    adjust: str, rules: tuple[str, ...], places: Places
) -> None:
    window = Cell(30, 240, {("CN-ZJ", "measured"): 60, ("CN-SC", "measured"): 180})
    pools = {"a": {"own": Observation(window, Cell(), seen_before=False)}}
    beliefs = Beliefs(rules=[Rule("zj", "CN-ZJ", None)])
    query = SharesParameters.parse({"adjust": adjust}).query(NOON)
    cohort = cohort_for(query, pools, {"mempool": Cell(60, 960)}, beliefs)
    assert [member.places for member in cohort.members] == [places]
    assert (cohort.network, cohort.network_source) == (16, "mempool")
    result = answer(query, cohort, ["zj"])
    assert (result.adjust, result.rules) == (adjust, rules)


def test_eligibility_depends_on_the_minutes_of_the_window() -> None:
    pools = {"a": {"own": Observation(Cell(30, 30), Cell(), seen_before=False)}}
    for window, excluded in (("1h", {}), ("24h", {"a": "thin"})):
        query = SharesParameters.parse({"window": window}).query(NOON)
        assert cohort_for(query, pools, {}, Beliefs()).excluded == excluded
