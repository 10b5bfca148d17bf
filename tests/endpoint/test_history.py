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
    await store.write([(imported, claims_of(imported, horizon(config.Retention(), NOW)))])
    for step, count in (("day", 3), ("month", 1), ("hour", 72)):
        query = {"code": "CN-SC", "step": step, "from": "2020-04-10", "to": "2020-04-13"}
        async with client.get("/api/v1/history", params=query) as answer:
            points = (await answer.json())["points"]
        shares = [None if step == "hour" else 0.75] * count
        assert [point["share"] for point in points] == pytest.approx(shares)


async def test_the_error_of_a_range_that_is_too_long_includes_where_to_divide_it(
    client: Client,
) -> None:
    query = {"code": "US", "step": "day", "from": "2019-09-01T12:00:00Z", "to": "2022-10-01"}
    async with client.get("/api/v1/history", params=query) as answer:
        assert answer.status == 400
        (first, to) = (query["from"], re.findall(r"to=(\S+Z)", (await answer.json())["detail"])[0])
    ats = []
    for start, end in ((first, to), (to, query["to"])):
        ranged = query | {"from": start, "to": end}
        async with client.get("/api/v1/history", params=ranged) as answer:
            ats += [point["at"] for point in (await answer.json())["points"]]
    assert len(ats) == len(set(ats)) == 1126  # 2019-09-01 to 2022-09-30
    assert ats == sorted(ats)


async def test_an_invalid_parameter_is_a_400_that_names_it(client: Client) -> None:
    answer = await client.get("/api/v1/history?code=XX")
    assert (answer.status, (await answer.json())["parameter"]) == (400, "code")
