from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from miningmap import settings as config
from miningmap.messages import Located
from miningmap.retention import horizon
from streams.method.cells import claims_of
from tests.endpoint.conftest import EH, NOW, report

if TYPE_CHECKING:
    from streams.redis.store import Store
    from tests.endpoint.conftest import Client

pytestmark = pytest.mark.integration


@pytest.mark.usefixtures("cells")
async def test_a_history_is_answered_as_json_and_csv(client: Client) -> None:
    query = {"code": "US", "step": "day", "from": "2026-11-15", "to": "2026-11-22"}
    answer = await client.get("/api/v1/history", params=query)
    assert answer.status == 200
    found = await answer.json()
    assert (found["code"], found["step"], len(found["points"])) == ("US", "day", 7)
    assert all(point["share"] for point in found["points"])
    text = await (await client.get("/api/v1/history.csv", params=query)).text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["at"] for row in rows] == [point["at"] for point in found["points"]]


@pytest.mark.usefixtures("cells")
async def test_the_history_of_many_places_is_answered_as_json_and_csv(client: Client) -> None:
    query = {"code": "*,US-*", "step": "day", "from": "2026-11-21", "adjust": "none"}
    async with client.get("/api/v1/history", params=query) as answer:
        found = await answer.json()
    assert [series["code"] for series in found["series"]] == ["US", "US-TX", "CN", "CA", "DE"]
    rows = await csv_rows(client, query)
    points = [(s["code"], s["name"], p) for s in found["series"] for p in s["points"]]
    assert [(row["code"], row["name"], row["at"]) for row in rows] == [
        (code, name, point["at"]) for code, name, point in points
    ]
    for row, (_, _, point) in zip(rows, points, strict=True):
        assert point["pools"] == ["alpha", "beta"]
        assert (row["pools"], row["rules"], row["beliefs"]) == ("alpha beta", "", "pools/beta")
        assert float(row["share"]) == point["share"]
        assert float(row["kinds_prior"]) == point["kinds"]["prior"]
        assert float(row["overall_evidence"]) == point["overall_evidence"]
        assert row["as_of"] == found["as_of"]
    assert list(rows[0])[:3] == ["code", "name", "at"]
    assert await csv_rows(client, query | {"code": "US"}) == rows[:2]


async def csv_rows(client: Client, query: dict[str, str]) -> list[dict[str, str]]:
    async with client.get("/api/v1/history.csv", params=query) as answer:
        return list(csv.DictReader(io.StringIO(await answer.text())))


async def test_days_are_answered_after_their_hours_have_expired(
    client: Client, store: Store
) -> None:
    imported = report(
        "alpha",
        datetime(2020, 4, 1, tzinfo=UTC),
        datetime(2020, 5, 1, tzinfo=UTC),
        4 * EH,
        (Located("CN-SC", 3 * EH, "measured"), Located("US", 1 * EH, "measured")),
    )
    await store.writer.write([(imported, claims_of(imported, horizon(config.Retention(), NOW)))])
    for step, count in (("day", 3), ("month", 1), ("hour", 72)):
        query = {"code": "CN-SC", "step": step, "from": "2020-04-10", "to": "2020-04-13"}
        async with client.get("/api/v1/history", params=query) as answer:
            points = (await answer.json())["points"]
        shares = [None if step == "hour" else 0.75] * count
        assert [point["share"] for point in points] == pytest.approx(shares)


@pytest.mark.parametrize(("code", "requests"), [("US", 2), ("US,CN-*", 5)])
async def test_the_error_of_a_range_that_is_too_long_includes_where_to_divide_it(
    client: Client, code: str, requests: int
) -> None:
    query = {"code": code, "step": "day", "from": "2019-09-01T12:00:00Z", "to": "2022-10-01"}
    ats: list[str] = []
    for _ in range(requests - 1):
        async with client.get("/api/v1/history", params=query) as answer:
            assert answer.status == 400
            (to,) = re.findall(r"to=(\S+Z)", (await answer.json())["detail"])
        ats += await days_of_the_us(client, query | {"to": to})
        query["from"] = to
    ats += await days_of_the_us(client, query)
    assert len(ats) == len(set(ats)) == 1126  # 2019-09-01 to 2022-09-30
    assert ats == sorted(ats)


async def days_of_the_us(client: Client, query: dict[str, str]) -> list[str]:
    async with client.get("/api/v1/history", params=query) as answer:
        found = await answer.json()
    (one,) = found.get("series", [found])
    return [point["at"] for point in one["points"]]


async def test_an_invalid_parameter_is_a_400_that_names_it(client: Client) -> None:
    for code in ("XX", "US,XX", "XX-*"):
        async with client.get("/api/v1/history", params={"code": code}) as answer:
            problem = await answer.json()
        assert (answer.status, problem["parameter"]) == (400, "code")
        assert "'XX'" in problem["detail"]
