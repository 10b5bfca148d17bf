from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.endpoint.conftest import Client

pytestmark = pytest.mark.integration


@pytest.mark.usefixtures("cells")
async def test_a_history_is_answered_as_json_and_csv(client: Client) -> None:
    asked = {"code": "US", "step": "day", "from": "2026-11-15", "to": "2026-11-22"}
    answer = await client.get("/api/v1/history", params=asked)
    assert answer.status == 200
    found = await answer.json()
    assert (found["code"], found["step"], len(found["points"])) == ("US", "day", 7)
    assert all(point["share"] for point in found["points"])
    text = await (await client.get("/api/v1/history.csv", params=asked)).text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["at"] for row in rows] == [point["at"] for point in found["points"]]


async def test_a_wrong_parameter_is_a_400_that_names_it(client: Client) -> None:
    answer = await client.get("/api/v1/history?code=XX")
    assert (answer.status, (await answer.json())["parameter"]) == (400, "code")
