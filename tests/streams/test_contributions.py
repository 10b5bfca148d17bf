from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis import strategies as st
from msgspec.structs import replace

from miningmap.api.models import Contributions, KindSplit, WindowShare
from streams.method.beliefs import Beliefs, Document, Entry, Rule
from streams.method.cells import MemoryCells
from streams.queries.contributions import ContributionsParameters, contributions
from streams.queries.parameters import ParameterError
from streams.queries.shares import answer_from
from tests.examples import examples
from tests.streams import worlds
from tests.streams.fixtures import NOON, report

if TYPE_CHECKING:
    from miningmap.api.models import Answer, ShareRow
    from streams.method.observations import CellReader
    from tests.streams.worlds import Query, Scene

NEAR = 1e-9
DAY = timedelta(days=1)
FRIDAY = datetime(2026, 11, 20, tzinfo=UTC)
TWO_DAYS = {"window": "2026-11-21", "against": "2026-11-20"}


def contributions_of(
    cells: CellReader, beliefs: Beliefs | None = None, now: datetime = NOON, /, **parameters: str
) -> Contributions:
    query = ContributionsParameters.parse(parameters).query(now)
    return contributions(cells, query, beliefs or Beliefs())


def day(cells: MemoryCells, at: datetime, pool: str, **places: float) -> None:
    named = {code.replace("_", "-"): hashrate for code, hashrate in places.items()}
    cells.add(report(pool, named, start=at, end=at + DAY))


def two_days() -> MemoryCells:
    """On Friday, 10 of a's, 5 of b's and 5 of c's; on Saturday, c is gone and d is new."""
    cells = MemoryCells()
    day(cells, FRIDAY, "a", US_TX=4, US=4, KZ=2)
    day(cells, FRIDAY, "b", US_TX=2, US_GA=2, KZ=1)
    day(cells, FRIDAY, "c", US_TX=5)
    day(cells, FRIDAY + DAY, "a", US_TX=2, US=2, KZ=4)
    day(cells, FRIDAY + DAY, "b", KZ=4)
    day(cells, FRIDAY + DAY, "d", US_GA=4)
    return cells


def shares(found: Contributions) -> dict[str, float]:
    return {row.pool: row.share for row in found.pools}


def deltas(found: Contributions) -> dict[str, float | None]:
    return {row.pool: row.delta for row in found.pools}


# --- what holds for every place -------------------------------------------------------------------

LEVELS = (None, "CN", "US", "KZ")


def answer_of(cells: CellReader, query: Query, beliefs: Beliefs) -> Answer:
    return answer_from(cells, worlds.query_of(query), beliefs)


def row_of(answer: Answer, code: str) -> ShareRow | None:
    return next((row for row in answer.shares if row.code == code), None)


@examples(100)
@hypothesis.given(worlds.scenes(), st.sampled_from(worlds.WINDOWS))
def test_contributions_add_up_to_the_share_and_their_changes_to_its_change(
    scene: Scene, other: str
) -> None:
    """Of every place that is listed, under any adjustment and prior."""
    cells, beliefs = worlds.cells_of(scene.world.messages), worlds.beliefs_of(scene.world)
    chosen = {"adjust": scene.query.adjust, "prior": scene.query.prior}
    asked = {"window": scene.query.window, "against": other, **chosen}
    for country in LEVELS:
        query = scene.query._replace(country=country)
        answer = answer_of(cells, query, beliefs)
        there = answer_of(cells, query._replace(window=other), beliefs)
        sources = {member.pool: member.source for member in answer.cohort}
        for row in answer.shares:
            found = contributions_of(cells, beliefs, query.as_of, code=row.code, **asked)
            before = row_of(there, row.code)
            assert (found.name, found.share) == (row.name, row.share)
            assert found.against == WindowShare(other, before.share if before else None)
            assert sum(pool.share for pool in found.pools) == pytest.approx(row.share, abs=NEAR)
            for kind in KindSplit.__struct_fields__:
                added = sum(getattr(pool.kinds, kind) for pool in found.pools)
                assert added == pytest.approx(getattr(row.kinds, kind))
            for pool in found.pools:
                assert pool.source == sources.get(pool.pool)
                assert pool.share > 0 or (pool.share_against or 0) > 0
            if before is None:
                assert found.delta is None
                assert all(pool.delta is pool.share_against is None for pool in found.pools)
            else:
                assert found.delta == row.share - before.share
                added = sum(pool.delta or 0 for pool in found.pools)
                assert added == pytest.approx(found.delta, abs=NEAR)
            alone = contributions_of(
                cells, beliefs, query.as_of, code=row.code, window=query.window, **chosen
            )
            assert (alone.against, alone.delta) == (None, None)
            assert [pool.pool for pool in alone.pools] == [p.pool for p in found.pools if p.share]
            assert all(pool.delta is pool.share_against is None for pool in alone.pools)


# --- examples by hand -----------------------------------------------------------------------------


def test_a_contribution_to_a_country_is_the_pools_part_of_all_that_is_located() -> None:
    found = contributions_of(two_days(), code="US", window="2026-11-20")
    assert found.share == 0.85
    assert shares(found) == pytest.approx({"a": 0.4, "c": 0.25, "b": 0.2})
    assert [row.pool for row in found.pools] == ["a", "c", "b"]
    assert [row.kinds for row in found.pools] == [KindSplit(h, 0, 0, 0) for h in (8, 5, 4)]


def test_a_contribution_to_a_subdivision_shares_what_is_known_only_by_country() -> None:
    """Of 17 in the US 4 are in no known state, and 11 of the other 13 are in Texas."""
    found = contributions_of(two_days(), code="US-TX", window="2026-11-20")
    assert found.share == pytest.approx(11 / 13 * 0.85)
    expected = {"c": 5 / 13 * 0.85, "a": 4 / 13 * 0.85, "b": 2 / 13 * 0.85}
    assert shares(found) == pytest.approx(expected)
    assert [row.kinds.measured for row in found.pools] == [5, 4, 2]


def test_a_pool_in_one_window_only_has_the_share_0_in_the_other() -> None:
    found = contributions_of(two_days(), code="US", **TWO_DAYS)
    assert (found.window, found.against) == ("2026-11-21", WindowShare("2026-11-20", 0.85))
    assert (found.share, found.delta) == (0.5, 0.5 - 0.85)
    # Friday's 20 are 8 of a, 4 of b and 5 of c in the US; Saturday's 16 are 4 of a and 4 of d.
    assert deltas(found) == pytest.approx({"a": -0.15, "d": 0.25, "b": -0.2, "c": -0.25})
    assert [(row.pool, row.source) for row in found.pools] == [
        ("a", "own"),
        ("d", "own"),
        ("b", "own"),  # in the cohort, but no longer in the US
        ("c", None),
    ]
    gone = found.pools[-1]
    assert (gone.share, gone.share_against, gone.kinds) == (0, 0.25, KindSplit(0, 0, 0, 0))


def test_equal_contributions_are_in_the_order_of_the_pools() -> None:
    cells = MemoryCells()
    for pool, hashrate in (("c", 0.1 + 0.2), ("b", 0.3), ("d", 0.3), ("a", 0.1)):
        day(cells, FRIDAY, pool, US=hashrate)
    found = contributions_of(cells, code="US", window="2026-11-20")
    assert [row.pool for row in found.pools] == ["b", "c", "d", "a"]


def test_pools_have_their_names_and_sources() -> None:
    cells = MemoryCells()
    cells.add(report("foundryusa", {"US": 1}, source="foundry", start=FRIDAY, end=FRIDAY + DAY))
    (row,) = contributions_of(cells, code="US", window="2026-11-20").pools
    assert (row.pool, row.name, row.source) == ("foundryusa", "Foundry USA", "foundry")


def test_each_window_is_answered_by_the_beliefs_of_its_own_day() -> None:
    cells = MemoryCells()
    for at in (FRIDAY, FRIDAY + DAY):
        cells.add(report("a", hashrate=8, start=at, end=at + DAY))
    saturday = (FRIDAY + DAY - datetime(1970, 1, 1, tzinfo=UTC)).days
    entries = [Entry(0, {"US": 0.25, "KZ": 0.75}), Entry(saturday, {"US": 1})]
    beliefs = Beliefs(network=[Document("n", entries)])
    found = contributions_of(cells, beliefs, code="US", **TWO_DAYS)
    assert (found.share, found.against, found.delta) == (1, WindowShare("2026-11-20", 0.25), 0.75)
    assert found.pools[0].kinds == KindSplit(0, 0, 0, 8)
    assert contributions_of(cells, beliefs, code="US", prior="none", **TWO_DAYS).share is None


def test_adjust_none_applies_no_rule() -> None:
    cells = MemoryCells()
    day(cells, FRIDAY, "a", CN_ZJ=1, CN_SC=3)
    beliefs = Beliefs(rules=[Rule("cn-zhejiang", "CN-ZJ", None)])
    asked = {"code": "CN-SC", "window": "2026-11-20"}
    assert shares(contributions_of(cells, beliefs, **asked)) == {"a": 1}
    assert shares(contributions_of(cells, beliefs, **asked, adjust="none")) == {"a": 0.75}


# --- null and zero --------------------------------------------------------------------------------


def test_a_place_that_is_not_listed_has_no_share_and_no_pools() -> None:
    for code in ("BR", "US-CA", "OTHER"):
        found = contributions_of(two_days(), code=code, **TWO_DAYS)
        assert found.against == WindowShare("2026-11-20", None)
        assert (found.share, found.delta, found.pools) == (None, None, ())


def test_a_place_that_is_listed_in_one_window_only_has_no_change() -> None:
    cells = MemoryCells()
    day(cells, FRIDAY, "a", US=1)
    day(cells, FRIDAY + DAY, "a", US=1, KZ=3)
    new = contributions_of(cells, code="KZ", **TWO_DAYS)
    assert (new.share, new.delta, shares(new), deltas(new)) == (
        0.75,
        None,
        {"a": 0.75},
        {"a": None},
    )
    gone = contributions_of(cells, code="KZ", window="2026-11-20", against="2026-11-21")
    assert (gone.share, gone.against, gone.delta) == (None, WindowShare("2026-11-21", 0.75), None)
    assert gone.pools == ()


def test_a_reported_0_is_a_share_without_contributions() -> None:
    cells = MemoryCells()
    day(cells, FRIDAY, "a", US=2, KZ=2)
    day(cells, FRIDAY + DAY, "a", US=2, KZ=0)
    found = contributions_of(cells, code="KZ", **TWO_DAYS)
    assert (found.share, found.delta, deltas(found)) == (0, -0.5, {"a": -0.5})
    found = contributions_of(cells, code="KZ", window="2026-11-21")
    assert (found.share, found.pools) == (0, ())


def test_simulated_figures_in_either_window_mark_the_answer() -> None:
    cells = MemoryCells()
    day(cells, FRIDAY, "a", US=1)
    made_up = report("a", {"US": 1}, start=FRIDAY + 35 * DAY, end=FRIDAY + 36 * DAY)
    cells.add(replace(made_up, simulated=True))
    later = FRIDAY + 40 * DAY
    real = contributions_of(cells, None, later, code="US", window="2026-11-20")
    assert real.simulated is False
    for window, against in (("2026-11-20", "2026-12-25"), ("2026-12-25", "2026-11-20")):
        asked = {"code": "US", "window": window, "against": against}
        assert contributions_of(cells, None, later, **asked).simulated


# --- parameters -----------------------------------------------------------------------------------


def test_the_default_is_one_hour_in_whole_minutes_without_comparison() -> None:
    query = ContributionsParameters.parse({"code": "FR-75C"}).query(NOON + timedelta(seconds=30.5))
    assert (query.code, query.window.name, query.against) == ("FR-IDF", "1h", None)
    assert (query.as_of, query.adjust, query.prior) == (NOON, "published", "default")


def test_both_windows_are_as_of_the_same_time() -> None:
    asked = {"code": "US", "window": "24h", "against": "7d", "as_of": "2026-11-20T10:00:30Z"}
    query = ContributionsParameters.parse(asked).query(NOON)
    assert query.as_of == datetime(2026, 11, 20, 10, 0, 30, tzinfo=UTC)
    hours = [window.span.buckets for window in query.windows]
    assert [len(buckets) for buckets in hours] == [24, 168]
    assert hours[0].stop == hours[1].stop == query.as_of.timestamp() // 3600


def test_an_invalid_parameter_is_named() -> None:
    us = {"code": "US"}
    cases: list[tuple[dict[str, str], str]] = [
        ({}, "code"),
        ({"code": ""}, "code"),
        ({"code": "XX"}, "code"),
        ({"code": "UNKNOWN"}, "code"),
        ({"code": "US,CN"}, "code"),
        ({"code": "*"}, "code"),
        ({"code": "CN-*"}, "code"),
        (us | {"window": "2h"}, "window"),
        (us | {"window": ""}, "window"),
        (us | {"against": "2h"}, "against"),
        (us | {"against": "2026-13"}, "against"),
        (us | {"adjust": "some"}, "adjust"),
        (us | {"prior": "No Prior"}, "prior"),
        (us | {"as_of": "2026-11-22T00:00:00"}, "as_of"),
        (us | {"level": "country"}, "level"),
    ]
    named = []
    for given, _ in cases:
        with pytest.raises(ParameterError) as caught:
            ContributionsParameters.parse(given).query(NOON)
        named.append(caught.value.parameter)
    assert named == [parameter for _, parameter in cases]
