"""``/api/v1/beliefs``, its CSV twin, and the clients, over HTTP; none of it needs Redis."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from endpoint.routes.api import _is_in_snapshot
from endpoint.service import application
from miningmap import settings as config
from miningmap.client import ApiError, AsyncClient, Client
from miningmap.redis_client import connect
from streams.beliefs import beliefs_of
from streams.beliefs.documents import SHIPPED, read
from streams.beliefs.rows import rows_on
from streams.queries.parameters import SharesParameters
from streams.redis.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    Service = TestClient[web.Request, web.Application]

NOW = datetime(2026, 11, 27, 23, 59, 59, tzinfo=UTC)
DOCUMENT = read(SHIPPED)


@pytest.fixture
async def service(unused_tcp_port: int) -> AsyncIterator[Service]:
    url = SecretStr(f"redis://127.0.0.1:{unused_tcp_port}/0")
    redis = connect(config.Redis(url=url), patient=False)
    store = Store(redis, config.Retention())
    app = application(
        store, beliefs_of(DOCUMENT), config.Endpoint(), documents=DOCUMENT, now=lambda: NOW
    )
    async with TestClient(TestServer(app)) as client:
        yield client
    await redis.aclose()


async def answer_of(service: Service, query: str = "") -> Any:
    async with service.get(f"/api/v1/beliefs{query}") as response:
        assert response.status == 200
        return await response.json()


async def test_the_answer_is_what_counts_today(service: Service) -> None:
    answer = await answer_of(service)
    assert answer["on"] == "2026-11-27"
    assert answer["beliefs"][0]["id"] == "network/hashrate-index"
    expected = [row.id for row in rows_on(DOCUMENT, date(2026, 11, 27))]
    assert [row["id"] for row in answer["beliefs"]] == expected
    for row in answer["beliefs"]:
        assert row["source"]
        assert row["kind"] in {"declared", "prior", "rule", "part", "annotation"}
        assert {"from", "until", "publisher", "published", "primary", "figures"} <= row.keys()


async def test_another_day_has_other_beliefs(service: Service) -> None:
    answer = await answer_of(service, "?on=2024-02-01")
    assert answer["on"] == "2024-02-01"
    found = {row["id"]: row for row in answer["beliefs"]}
    assert found["pools/marapool"]["kind"] == "declared"
    assert "network/hashrate-index" not in found
    assert (await answer_of(service, "?on="))["on"] == "2026-11-27"


async def test_an_annotation_is_listed_out_of_its_season_too(service: Service) -> None:
    found = {row["id"]: row for row in (await answer_of(service))["beliefs"]}
    row = found["annotations/ercot-4cp"]
    assert (row["kind"], row["places"], row["pools"]) == ("annotation", ["US-TX"], None)
    assert row["calendar"] == "06-01 to 09-30, 15 to 19 h, America/Chicago"
    assert row["text"].startswith("Large consumers in Texas")


async def test_the_csv_has_the_rows_of_the_json(service: Service) -> None:
    listed = (await answer_of(service))["beliefs"]
    async with service.get("/api/v1/beliefs.csv") as response:
        assert response.content_type == "text/csv"
        rows = list(csv.DictReader(io.StringIO(await response.text(), newline=""), strict=True))
    assert list(rows[0]) == list(listed[0])
    for row, expected in zip(rows, listed, strict=True):
        assert (row["id"], row["from"]) == (expected["id"], expected["from"] or "")
        figures = dict(pair.split("=") for pair in row["figures"].split())
        assert {code: float(f) for code, f in figures.items()} == expected["figures"]


async def test_an_unchanged_answer_is_a_304(service: Service) -> None:
    async with service.get("/api/v1/beliefs") as response:
        tag = response.headers["ETag"]
        assert "max-age" in response.headers["Cache-Control"]
    async with service.get("/api/v1/beliefs", headers={"If-None-Match": tag}) as response:
        assert response.status == 304
    headers = {"If-None-Match": tag}
    async with service.get("/api/v1/beliefs?on=2025-02-01", headers=headers) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("?on=today", "on"),
        ("?on=2026-02-30", "on"),
        ("?on=2026-11-22T00:00:00Z", "on"),
        ("?on=2026-11-22&on=2026-11-23", "on"),
        ("?day=2026-11-22", "day"),
    ],
)
async def test_a_wrong_parameter_is_a_problem_that_names_it(
    service: Service, query: str, parameter: str
) -> None:
    for path in ("beliefs", "beliefs.csv"):
        async with service.get(f"/api/v1/{path}{query}") as response:
            assert response.status == 400
            assert response.content_type == "application/problem+json"
            assert (await response.json())["parameter"] == parameter


async def test_the_description_has_the_path_its_parameter_and_its_type(service: Service) -> None:
    async with service.get("/openapi.json") as response:
        document = await response.json()
    for path in ("/api/v1/beliefs", "/api/v1/beliefs.csv"):
        (parameter,) = (
            p for p in document["paths"][path]["get"]["parameters"] if p["in"] == "query"
        )
        assert parameter["name"] == "on"
    assert {"from", "until", "figures"} <= document["components"]["schemas"]["BeliefRow"][
        "properties"
    ].keys()
    header = document["paths"]["/api/v1/beliefs.csv"]["get"]["responses"]["200"]
    assert ",places,within,part_of,calendar,text,from,until,source," in json.dumps(header)


def test_the_snapshot_answers_for_the_default_prior_alone() -> None:
    assert _is_in_snapshot(SharesParameters.parse({"window": "1h", "prior": "default"}))
    for prior in ("none", "network/ccaf-survey-2024"):
        assert not _is_in_snapshot(SharesParameters.parse({"window": "1h", "prior": prior})), prior


async def test_the_clients_have_the_rows_with_their_types(service: Service) -> None:
    url = str(service.make_url("/"))
    async with AsyncClient(url) as mining:
        found = await mining.beliefs(date(2026, 9, 22))
        assert found.beliefs == rows_on(DOCUMENT, date(2026, 9, 22))
        assert found == await mining.beliefs("2026-09-22")
        with pytest.raises(ApiError, match="on: 'soon' is not a day"):
            await mining.beliefs("soon")

    def today() -> list[str]:
        with Client(url) as blocking:
            frame = blocking.beliefs().to_pandas()
            assert list(frame.columns)[:4] == ["id", "kind", "subject", "figures"]
            assert "from" in frame.columns
            return [str(id_) for id_ in frame["id"]]

    assert await asyncio.to_thread(today) == [r.id for r in rows_on(DOCUMENT, NOW.date())]
