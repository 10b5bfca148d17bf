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
from streams.method.shares import Beliefs, Cohort, Member, Observed, Rule
from streams.queries.parameters import SharesParameters
from streams.queries.shares import answer, cohort_for
from tests.streams.fixtures import NOON

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.method.cells import Places

# Germany has 40 of 80 that are located, Sichuan 30 and China as a whole 10 more; H is 200.
MADE = Cohort(
    [
        Member("a", "own", 60, {("DE", "measured"): 40, ("CN", "prior"): 10}),
        Member("b", "partner", 40, {("CN-SC", "estimated"): 30}),
    ],
    {"c": "thin", "d": "stale"},
    network=200,
    network_source="mempool",
    simulated=True,
)


def ask(cohort: Cohort, asked: Mapping[str, str]) -> Answer:
    return answer(SharesParameters.parse(asked).query(NOON), cohort, ["zj"])


def test_an_answer_says_what_was_asked_and_who_counts() -> None:
    said = ask(MADE, {"window": "24h"})
    assert (said.window, said.level, said.country, said.adjust) == (
        "24h",
        "country",
        None,
        "published",
    )
    assert (said.as_of, said.simulated, said.rules) == (NOON, True, ("zj",))
    assert said.network == NetworkHashrate(200, "mempool")
    assert (said.coverage, said.located, said.measured_coverage) == (0.5, 0.8, 0.2)
    assert said.cohort == (CohortPool("a", "own"), CohortPool("b", "partner"))
    assert said.excluded == (ExcludedPool("c", "thin"), ExcludedPool("d", "stale"))


def test_a_country_has_its_share_its_bounds_and_what_a_reader_should_know() -> None:
    china, germany = ask(MADE, {}).shares
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
    said = ask(MADE, {"level": "subdivision", "country": "CN"})
    assert (said.level, said.country) == ("subdivision", "CN")
    (sichuan,) = said.shares
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


def test_without_a_network_hashrate_what_needs_it_is_null() -> None:
    said = ask(replace(MADE, network=None, network_source=None), {})
    assert (said.network, said.coverage, said.measured_coverage) == (None, None, None)
    assert said.located == 0.8
    _, germany = said.shares
    assert (germany.low, germany.high, germany.network_hashrate) == (None, None, None)
    assert (germany.share, germany.hashrate) == (0.5, 40)


@pytest.mark.parametrize(
    ("adjust", "rules", "places"),
    [
        ("published", ("zj",), {("CN-SC", "measured"): 8}),
        ("none", (), {("CN-ZJ", "measured"): 2, ("CN-SC", "measured"): 6}),
    ],
)
def test_rules_apply_and_are_named_unless_no_adjustment_is_asked_for(
    adjust: str, rules: tuple[str, ...], places: Places
) -> None:
    window = Cell(30, 240, {("CN-ZJ", "measured"): 60, ("CN-SC", "measured"): 180})
    pools = {"a": {"own": Observed(window, Cell(), seen_before=False)}}
    beliefs = Beliefs(rules=[Rule("zj", "CN-ZJ", None)])
    question = SharesParameters.parse({"adjust": adjust}).query(NOON)
    cohort = cohort_for(question, pools, {"mempool": Cell(60, 960)}, beliefs)
    assert [member.places for member in cohort.members] == [places]
    assert (cohort.network, cohort.network_source) == (16, "mempool")
    said = answer(question, cohort, ["zj"])
    assert (said.adjust, said.rules) == (adjust, rules)


def test_a_source_counts_by_the_minutes_of_the_window_that_is_asked_for() -> None:
    pools = {"a": {"own": Observed(Cell(30, 30), Cell(), seen_before=False)}}
    for window, excluded in (("1h", {}), ("24h", {"a": "thin"})):
        question = SharesParameters.parse({"window": window}).query(NOON)
        assert cohort_for(question, pools, {}, Beliefs()).excluded == excluded
