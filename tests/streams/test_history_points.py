"""Points of histories have the figures of the answers for their windows, on random worlds."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from miningmap.api.models import Answer, Histories, History, Point, ShareRow
from miningmap.places import country_of
from miningmap.times import DAY_S, bucket
from streams.method.cells import MemoryCells
from streams.queries.history import (
    HistoryParameters,
    bucket_shares,
    history,
    with_data,
    without_data,
)
from streams.queries.parameters import SharesQuery
from streams.queries.shares import answer_from
from tests.examples import examples
from tests.streams import worlds
from tests.streams.worlds import MIDNIGHT, Query, Scene

NOW = MIDNIGHT + timedelta(hours=2, minutes=30)
DAY = timedelta(days=1)
RANGES = st.sampled_from(
    [
        {"step": "hour", "from": "2026-12-01T22:00:00Z"},
        {"step": "day", "from": "2026-11-29"},
        {"step": "month", "from": "2026-11"},
    ]
)
NEVER_REPORTED = {"BR", "BR-SP"}
OF_THE_PLACE = set(ShareRow.__struct_fields__) - {"code", "name", "flags"}
OF_THE_COHORT = ("coverage", "measured_coverage", "declared_coverage")


@examples(50)
@given(worlds.scenes(), RANGES)
def test_every_point_has_the_figures_of_its_window(scene: Scene, asked: dict[str, str]) -> None:
    """Of many places at once and of each alone, under any adjustment and any prior."""
    cells = MemoryCells()
    for message in scene.world.messages:
        cells.add(message)
    beliefs = worlds.beliefs_of(scene.world)
    chosen = {"adjust": scene.query.adjust, "prior": scene.query.prior}

    def histories(code: str) -> History | Histories:
        parameters = HistoryParameters.parse({"code": code, **asked, **chosen})
        return history(cells, parameters.query(NOW), beliefs)

    @cache
    def answer(window: str, country: str | None) -> Answer:
        query = worlds.query_of(Query(window, NOW, country, **chosen))
        return answer_from(cells, query, beliefs)

    found = histories("*,CN-*,US-*,BR,BR-SP")
    assert isinstance(found, Histories)
    listed = set()
    for series in found.series:
        alone = histories(series.code)
        assert isinstance(alone, History)
        assert (alone.name, alone.points) == (series.name, series.points)
        assert (alone.adjust, alone.prior) == (found.adjust, found.prior) == (*chosen.values(),)
        country = None if country_of(series.code) == series.code else country_of(series.code)
        for point in series.points:
            expected = answer(point.window, country)
            check(point, series.code, expected)
            listed |= {row.code for row in expected.shares}
    assert {series.code for series in found.series} == listed | NEVER_REPORTED


def check(point: Point, code: str, answer: Answer) -> None:
    row = next((row for row in answer.shares if row.code == code), None)
    for name in OF_THE_PLACE:
        assert getattr(point, name) == getattr(row, name, None)
    for name in OF_THE_COHORT:
        assert getattr(point, name) == getattr(answer if answer.cohort else None, name, None)
    assert point.overall_evidence == answer.evidence
    assert point.pools == tuple(member.pool for member in answer.cohort)
    assert point.beliefs == tuple(belief.id for belief in answer.beliefs)
    assert (point.rules, point.simulated) == (answer.rules, answer.simulated)


@examples(20)
@given(worlds.scenes(), RANGES)
def test_nothing_is_known_of_the_buckets_that_are_not_computed(
    scene: Scene, asked: dict[str, str]
) -> None:
    """A range of months around the data gives the same whether it is computed or not."""
    cells, days = MemoryCells(), []
    for message in scene.world.messages:
        cells.add(message)
        last = message.end + timedelta(seconds=message.hold_s)
        days += [bucket(message.start, DAY_S), bucket(last, DAY_S)]
    with_values = range(min(days), max(days) + 1) if days else range(0)
    beliefs = worlds.beliefs_of(scene.world)
    chosen = {"adjust": scene.query.adjust, "prior": scene.query.prior}
    around = asked | {"from": "2026-10-25", "to": "2027-01-10T00:00:00Z"}
    if asked["step"] == "hour":
        around = asked | {"from": "2026-11-25", "to": "2026-12-10"}
    query = HistoryParameters.parse({"code": "US", **around, **chosen}).query(NOW + 30 * DAY)
    computed = with_data(query, with_values)
    left_out = [each for each in query.buckets if each not in computed]
    assert left_out or asked["step"] != "month"
    for each in left_out:
        assert without_data(each, query, beliefs) == bucket_shares(cells, each, query, beliefs)
    # Those that were not taken to have data are computed in the long way, too.
    for each in query.buckets:
        asked_for = SharesQuery(
            window=each.window, as_of=query.as_of, adjust=query.adjust, prior=query.prior
        )
        shares = answer_from(cells, asked_for, beliefs)
        found = bucket_shares(cells, each, query, beliefs)
        assert found.about["simulated"] == shares.simulated
        assert found.about["pools"] == tuple(pool.pool for pool in shares.cohort)
        assert found.about["overall_evidence"] == shares.evidence
        assert found.about["beliefs"] == tuple(placed.id for placed in shares.beliefs)
        assert found.about["rules"] == shares.rules
        assert set(found.rows) - {"US-TX"} <= {row.code for row in shares.shares}
