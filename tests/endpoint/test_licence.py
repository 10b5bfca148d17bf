"""Every answer with figures names their licence, which Cambridge's imported tables decide."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from miningmap.cbeci.monthly_tables import reports
from miningmap.licences import CC_BY, CC_BY_NC_SA
from tests.endpoint.conftest import NOW
from tests.endpoint.test_cbeci import TABLE, write_messages

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.test_utils import TestClient

    from streams.redis.store import Store

    Client = TestClient[web.Request, web.Application]

pytestmark = pytest.mark.integration

FIGURES = [
    "/api/v1/shares",
    "/api/v1/shares?window=24h",
    "/api/v1/shares.csv?level=subdivision&country=US",
    "/api/v1/history?code=US",
    "/api/v1/history.csv?code=US",
    "/api/v1/contributions?code=US",
    "/api/v1/contributions.csv?code=US",
    "/api/v1/pools",
    "/api/v1/pools.csv",
    "/api/v1/swings",
    "/api/v1/swings.csv",
    "/api/v1/places",
    "/api/v1/beliefs",
    "/cbeci/api/charts/mining_countries",
    "/cbeci/api/v1.2.0/download/mining_countries",
    "/metrics",
]
IMPORTED = [
    "/api/v1/shares?window=2021-06",
    "/api/v1/shares.csv?window=2021-06",
    "/api/v1/history?code=US&step=month&from=2021-01&to=2021-12",
    "/api/v1/history.csv?code=US&step=month&from=2021-01&to=2021-12",
    "/api/v1/contributions?code=US&window=2021-06",
    "/cbeci/api/charts/mining_countries",
]
NO_FIGURES = ["/", "/openapi.json", "/healthz", "/api/v1/shares?window=wrong"]


async def licence_of(client: Client, path: str) -> str | None:
    async with client.get(path) as answer:
        link = answer.headers.get("Link")
    if link is None:
        return None
    named = re.fullmatch(r'<(https://[^>]+)>; rel="license"', link)
    assert named, link
    return named[1]


@pytest.mark.usefixtures("snapshots")
async def test_answers_with_figures_name_their_licence(client: Client) -> None:
    found = {path: await licence_of(client, path) for path in FIGURES}
    assert set(found.values()) == {CC_BY.url}, found


@pytest.mark.usefixtures("snapshots")
async def test_the_stream_names_the_licence_before_its_first_event(client: Client) -> None:
    async with client.head("/api/v1/stream") as answer:
        assert CC_BY.url in answer.headers["Link"]
    async with client.get("/api/v1/stream") as answer:
        assert CC_BY.url in answer.headers["Link"]


async def test_figures_of_imported_tables_stay_under_their_own_licence(
    client: Client, store: Store
) -> None:
    await write_messages(store, reports({"table.csv": TABLE.encode()}, fetched_at=NOW))
    found = {path: await licence_of(client, path) for path in IMPORTED}
    assert set(found.values()) == {CC_BY_NC_SA.url}, found
    # The tables are no part of what is asked here, although they are known.
    assert await licence_of(client, "/api/v1/shares?window=7d") == CC_BY.url


async def test_files_and_errors_name_no_licence(client: Client) -> None:
    found = {path: await licence_of(client, path) for path in NO_FIGURES}
    assert set(found.values()) == {None}, found


async def test_a_body_that_is_not_modified_names_its_licence_too(client: Client) -> None:
    async with client.get("/api/v1/places") as first:
        tag = first.headers["ETag"]
    async with client.get("/api/v1/places", headers={"If-None-Match": tag}) as again:
        assert again.status == 304
        assert CC_BY.url in again.headers["Link"]


async def test_the_page_describes_the_data_to_search_engines(client: Client) -> None:
    async with client.get("/") as answer:
        page = await answer.text()
    (text,) = re.findall(r'<script type="application/ld\+json">(.*?)</script>', page, re.DOTALL)
    described = json.loads(text)
    assert described["@type"] == "Dataset"
    assert described["license"] == CC_BY.url
    for download in described["distribution"]:
        async with client.get(f"/{download['contentUrl']}") as answer:
            assert answer.status == 200, download
            assert answer.content_type == download["encodingFormat"], download
