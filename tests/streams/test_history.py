from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cache

import hypothesis
import pytest
from hypothesis import strategies as st

from miningmap.api.models import Answer, Histories, History, ShareRow
from miningmap.places import all_places, country_of, is_country
from streams.method.beliefs import Beliefs, Claim, Document, Entry, Rule
from streams.method.cells import MemoryCells
from streams.queries.history import HistoryParameters, history
from streams.queries.parameters import ParameterError
from streams.queries.shares import answer_from
from tests.examples import examples
from tests.streams import worlds
from tests.streams.fixtures import NOON, network, report
from tests.streams.worlds import Query, Scene

NOW = NOON + timedelta(hours=3, seconds=30)
DAY = timedelta(days=1)


def history_of(cells: MemoryCells, beliefs: Beliefs | None = None, /, **parameters: str) -> History:
    found = any_history(cells, beliefs, NOW, **parameters)
    assert isinstance(found, History)
    return found


def histories_of(
    cells: MemoryCells, beliefs: Beliefs | None = None, now: datetime = NOW, /, **parameters: str
) -> Histories:
    found = any_history(cells, beliefs, now, **parameters)
    assert isinstance(found, Histories)
    return found


def any_history(
    cells: MemoryCells, beliefs: Beliefs | None, now: datetime, /, **parameters: str
) -> History | Histories:
    named = {name.rstrip("_"): value for name, value in parameters.items()}
    return history(cells, HistoryParameters.parse(named).query(now), beliefs or Beliefs())


def days(cells: MemoryCells, start: datetime, places: dict[str, float]) -> None:
    cells.add(report(places=places, start=start, end=start + DAY))


@pytest.mark.parametrize(
    ("step", "start", "to", "first", "count"),
    [
        ("hour", "2026-11-22T09:30:00Z", "2026-11-22T12:00:00Z", (22, 9), 3),
        ("day", "2026-11-20", "2026-11-22T00:00:01Z", (20, 0), 3),
        ("month", "2026-09-30", "2026-11-22", (1, 0), 3),
        ("month", "2019-09", "2022-02", (1, 0), 29),
        ("day", "2026-10", "2026-11", (1, 0), 31),
    ],
)
def test_every_bucket_that_overlaps_the_range_has_a_point(
    step: str, start: str, to: str, first: tuple[int, int], count: int
) -> None:
    found = history_of(MemoryCells(), code="US", step=step, from_=start, to=to)
    assert len(found.points) == count
    at = found.points[0].at
    assert (at.day, at.hour) == first
    assert all(point.share is None for point in found.points)


@pytest.mark.parametrize(("step", "count"), [("hour", 49), ("day", 31), ("month", 12)])
def test_the_default_range_is_the_latest_buckets(step: str, count: int) -> None:
    points = history_of(MemoryCells(), code="US", step=step).points
    assert len(points) == count
    assert points[-1].at <= NOW


@pytest.mark.parametrize(
    ("step", "start", "to", "count"),
    [
        ("hour", "", "0001-01-01T00:00:01Z", 1),
        ("day", "", "0001-01-02", 1),
        ("month", "", "0001-03-01", 2),
        ("month", "0975-11-30", "0976-01-01", 2),
        ("hour", "9999-12-31T22:00:00Z", "9999-12-31T23:59:59Z", 2),
        ("day", "9999-12-30", "9999-12-31T23:59:59Z", 2),
        ("month", "9999-11-01", "9999-12-31T23:59:59Z", 2),
    ],
)
def test_the_calendar_has_a_first_and_a_last_bucket(
    step: str, start: str, to: str, count: int
) -> None:
    points = history_of(MemoryCells(), code="US", step=step, from_=start, to=to).points
    assert len(points) == count
    assert all(point.share is None for point in points)


def test_a_reported_0_is_0_and_an_unreported_place_is_null() -> None:
    cells = MemoryCells()
    start = datetime(2026, 11, 18, tzinfo=UTC)
    days(cells, start, {"US": 3.0, "CA": 1.0})
    days(cells, start + DAY, {"US": 5.0, "CA": 0.0})
    days(cells, start + 2 * DAY, {"US": 5.0})
    found = history_of(cells, code="CA", step="day", from_="2026-11-18", to="2026-11-22")
    assert [point.share for point in found.points] == [0.25, 0, None, None]


def test_the_history_of_a_nested_subdivision_is_that_of_the_outermost() -> None:
    cells = MemoryCells()
    days(cells, datetime(2026, 11, 18, tzinfo=UTC), {"FR-75C": 1, "FR-78": 2, "FR-BRE": 1})
    found = history_of(cells, code="FR-75C", step="day", from_="2026-11-18", to="2026-11-19")
    assert found.code == "FR-IDF"
    assert [point.share for point in found.points] == [0.75]


def test_figures_equal_those_of_the_window_of_the_same_name() -> None:
    cells = MemoryCells()
    start = datetime(2026, 11, 18, tzinfo=UTC)
    days(cells, start, {"US": 3.0, "CN-SC": 1.0})
    cells.add(network(40.0, start=start, end=start + DAY))
    found = history_of(cells, code="CN-SC", step="day", from_="2026-11-18", to="2026-11-19")
    (point,) = found.points
    assert (point.share, point.hashrate, point.network_hashrate) == (0.25, 1, 10)
    assert (point.coverage, point.low, point.high) == (0.1, 0.025, 0.925)
    assert (point.declared_low, point.declared_high, point.evidence) == (0.025, 0.925, 1)


def test_each_point_is_by_the_beliefs_of_its_own_day() -> None:
    cells = MemoryCells()
    start = datetime(2026, 11, 18, tzinfo=UTC)
    day = (start - datetime(1970, 1, 1, tzinfo=UTC)).days
    for n in range(3):
        at = start + n * DAY
        cells.add(report(hashrate=8.0, start=at, end=at + DAY))
    beliefs = Beliefs(
        network=[Document("n", [Entry(0, {"US": 0.5, "KZ": 0.5}), Entry(day + 2, {"KZ": 1.0})])],
        claims=[Claim("c", "US", 2.0, day + 1, day + 2, frozenset({"a"}))],
    )
    dates = {"step": "day", "from_": "2026-11-18", "to": "2026-11-21"}
    points = history_of(cells, beliefs, code="US", **dates).points
    assert [point.share for point in points] == [0.5, 0.5, None]
    assert [point.hashrate for point in points] == [0, 2, None]
    assert [point.evidence for point in points] == [0, 0.5, None]
    unassumed = history_of(cells, beliefs, code="US", prior="none", **dates).points
    assert [point.share for point in unassumed] == [None, 1, None]


def test_adjust_none_applies_no_rule() -> None:
    cells = MemoryCells()
    days(cells, datetime(2026, 11, 18, tzinfo=UTC), {"CN-ZJ": 1.0, "CN-SC": 3.0})
    beliefs = Beliefs(rules=[Rule("cn-zhejiang", "CN-ZJ", None)])
    for adjust, share in (("published", 1), ("none", 0.75)):
        found = history_of(
            cells,
            beliefs,
            code="CN-SC",
            step="day",
            from_="2026-11-18",
            to="2026-11-19",
            adjust=adjust,
        )
        assert found.points[0].share == share


def test_an_invalid_parameter_is_named() -> None:
    us = {"code": "US"}
    cases: list[tuple[dict[str, str], str]] = [
        ({"step": "day"}, "code"),
        ({"code": ""}, "code"),
        ({"code": "XX"}, "code"),
        ({"code": "UNKNOWN"}, "code"),
        (us | {"step": "week"}, "step"),
        (us | {"from": "yesterday"}, "from"),
        (us | {"from": "2026-13-01"}, "from"),
        (us | {"from": "2026-13"}, "from"),
        (us | {"from": "0000-01"}, "from"),
        (us | {"to": "2026-1 "}, "to"),
        (us | {"to": "2026-11-22T00:00:00"}, "to"),
        (us | {"from": "2026-02-01", "to": "2026-01-01"}, "from"),
        (us | {"from": "2026-02-01", "to": "2026-02-01"}, "from"),
        (us | {"step": "hour", "from": "2020-01-01"}, "from"),
        (us | {"adjust": "some"}, "adjust"),
        (us | {"windw": "1h"}, "windw"),
        ({"code": "*", "from": "2025-01-01"}, "from"),
        ({"code": ","}, "code"),
        ({"code": "US,,CN"}, "code"),
        ({"code": ",".join(["US"] * 251)}, "code"),
    ]
    named = []
    for given, _ in cases:
        with pytest.raises(ParameterError) as caught:
            HistoryParameters.parse(given).query(NOW)
        named.append(caught.value.parameter)
    assert named == [parameter for _, parameter in cases]


# --- several places -------------------------------------------------------------------------------

ALL_LISTS = "*,CN-*,US-*,BR,BR-SP"
EXAMPLES = examples(50)
OF_THE_PLACE = set(ShareRow.__struct_fields__) - {"code", "name", "flags"}
OF_THE_COHORT = ("coverage", "measured_coverage", "declared_coverage")


RANGES = st.sampled_from(
    [
        {"step": "hour", "from": "2026-12-01T22:00:00Z"},
        {"step": "day", "from": "2026-11-29"},
        {"step": "month", "from": "2026-11"},
    ]
)
"""Some buckets around the midnight of random worlds."""


@EXAMPLES
@hypothesis.given(worlds.scenes(), RANGES)
def test_every_point_has_the_figures_of_its_window(scene: Scene, asked: dict[str, str]) -> None:
    """Of all places at once, and of each place alone, under any adjustment and prior."""
    cells = MemoryCells()
    for message in scene.world.messages:
        cells.add(message)
    beliefs = worlds.beliefs_of(scene.world)
    now = worlds.MIDNIGHT + timedelta(hours=2, minutes=30)
    chosen = {"adjust": scene.query.adjust, "prior": scene.query.prior}

    @cache
    def answer_of(window: str, country: str | None) -> Answer:
        query = worlds.query_of(Query(window, now, country, **chosen))
        return answer_from(cells, query, beliefs)

    together = histories_of(cells, beliefs, now, code=ALL_LISTS, **asked, **chosen)
    codes = {series.code for series in together.series}
    assert codes >= {"BR", "BR-SP"}
    for series in together.series:
        alone = any_history(cells, beliefs, now, code=series.code, **asked, **chosen)
        assert isinstance(alone, History)
        assert (alone.name, alone.points) == (series.name, series.points)
        assert (alone.adjust, alone.prior) == (scene.query.adjust, scene.query.prior)
        country = None if country_of(series.code) == series.code else country_of(series.code)
        for point in series.points:
            answer = answer_of(point.window, country)
            row = next((row for row in answer.shares if row.code == series.code), None)
            known = answer if answer.cohort else None
            assert codes >= {row.code for row in answer.shares}
            for name in OF_THE_PLACE:
                assert getattr(point, name) == getattr(row, name, None)
            for name in OF_THE_COHORT:
                assert getattr(point, name) == getattr(known, name, None)
            assert point.overall_evidence == answer.evidence
            assert point.pools == tuple(member.pool for member in answer.cohort)
            assert point.beliefs == tuple(belief.id for belief in answer.beliefs)
            assert (point.rules, point.simulated) == (answer.rules, answer.simulated)


START = datetime(2026, 11, 18, tzinfo=UTC)
THREE_DAYS = {"step": "day", "from_": "2026-11-18", "to": "2026-11-21"}


def three_days() -> MemoryCells:
    cells = MemoryCells()
    days(cells, START, {"US-TX": 2, "US-GA": 1, "CA": 1, "CN-SC": 4})
    days(cells, START + DAY, {"US-TX": 6, "KZ": 2})
    cells.add(network(40.0, start=START + DAY, end=START + 3 * DAY))
    return cells


def shares_by_code(found: Histories) -> dict[str, list[float | None]]:
    return {series.code: [point.share for point in series.points] for series in found.series}


def test_every_bucket_of_every_listed_country_is_there_the_largest_first() -> None:
    assert shares_by_code(histories_of(three_days(), code="*", **THREE_DAYS)) == {
        "US": [0.375, 0.75, None],
        "CN": [0.5, None, None],
        "KZ": [None, 0.25, None],
        "CA": [0.125, None, None],
    }
    order = [s.code for s in histories_of(three_days(), code="*", **THREE_DAYS).series]
    assert order == ["US", "CN", "KZ", "CA"]


@pytest.mark.parametrize(
    ("code", "codes"),
    [
        ("US-*", ["US-TX", "US-GA"]),
        ("BR-*", []),
        ("US,", ["US"]),
        ("US,US", ["US"]),
        ("BR,AR,KZ", ["KZ", "AR", "BR"]),
        ("US-GA,*", ["US", "CN", "KZ", "CA", "US-GA"]),
        ("FR-75C,FR-78,CN-*", ["CN-SC", "FR-IDF"]),
        ("OTHER,CN-OTHER", ["CN-OTHER", "OTHER"]),
    ],
)
def test_codes_and_lists_can_be_combined_and_no_place_is_there_twice(
    code: str, codes: list[str]
) -> None:
    found = histories_of(three_days(), code=code, **THREE_DAYS)
    assert [series.code for series in found.series] == codes
    assert all(len(series.points) == 3 for series in found.series)


def test_a_place_without_a_row_is_null_beside_what_its_bucket_rests_on() -> None:
    beliefs = Beliefs(rules=[Rule("cn-zhejiang", "CN-ZJ", None)])
    found = histories_of(three_days(), beliefs, code="US,BR", **THREE_DAYS)
    known, unknown = (series.points[1] for series in found.series)
    assert (unknown.share, unknown.evidence, unknown.kinds) == (None, None, None)
    for point in (known, unknown):
        assert (point.coverage, point.measured_coverage, point.declared_coverage) == (0.2,) * 3
        assert (point.overall_evidence, point.pools, point.rules) == (1, ("a",), ("cn-zhejiang",))
    without_cohort = found.series[0].points[2]
    assert without_cohort.coverage is without_cohort.overall_evidence is None
    assert (without_cohort.pools, without_cohort.beliefs) == ((), ())


@pytest.mark.parametrize(
    ("code", "limit"),
    [
        ("US", 1000),
        ("US,CA,MX", 1000),
        ("*", 250),
        ("CN-*,US-*", 125),
        (",".join(place.code for place in all_places() if is_country(place.code)), 50),
    ],
)
def test_the_more_places_the_fewer_buckets_and_the_error_says_where_to_divide(
    code: str, limit: int
) -> None:
    asked = {"code": code, "from": "2026-01-01T00:00:00Z"}
    with pytest.raises(ParameterError, match=f"more than {limit} buckets") as caught:
        HistoryParameters.parse(asked).query(NOW)
    (to,) = re.findall(r"to=(\S+Z)", str(caught.value))
    assert len(HistoryParameters.parse(asked | {"to": to}).query(NOW).buckets) == limit
    default = {"code": code, "step": "hour"}
    assert len(HistoryParameters.parse(default).query(NOW).buckets) == 49


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("US,XX", "unknown place 'XX': expected an ISO"),
        ("US,CN-HK", "unknown place 'CN-HK': use the country code HK"),
        ("*,US,", None),
        ("US, CN", "unknown place ' CN'"),
        ("XX-*", "unknown country 'XX'"),
        ("OTHER-*", "unknown country 'OTHER'"),
        ("US*", "unknown place 'US*'"),
        ("**", "unknown place '**'"),
        ("US,,", "unknown place ''"),
        (",".join(["US"] * 251), "251 places; expected at most 250"),
    ],
)
def test_the_error_of_a_code_names_the_one_that_is_unknown(code: str, error: str | None) -> None:
    if error is None:
        assert not HistoryParameters.parse({"code": code}).code.is_one
    else:
        with pytest.raises(ParameterError, match=re.escape(error)) as caught:
            HistoryParameters.parse({"code": code})
        assert caught.value.parameter == "code"
