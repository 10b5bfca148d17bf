"""Pools that have not reported for 30 days leave lists and metrics; their past stays."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from miningmap.api.models import Refusal
from miningmap.client import AsyncClient
from miningmap.messages import Located
from streams.method.cells import claims_of
from streams.queries.snapshot import take_snapshot
from tests.endpoint.conftest import BELIEFS, EH, NOW, report

if TYPE_CHECKING:
    from streams.redis.store import Store
    from tests.endpoint.conftest import Client

pytestmark = pytest.mark.integration

POOLS = "/api/v1/pools"
DAY = timedelta(days=1)
THEN = NOW.replace(hour=0, minute=0, second=0) - 40 * DAY


@pytest.fixture
async def old_cells(store: Store, cells: None) -> None:  # noqa: ARG001 - written first
    """Pools that reported 40 days ago, once; of one of them a reading was rejected today."""
    places = (Located("CA", 3 * EH, "measured"),)
    sent = [
        report(pool, THEN, THEN + DAY, 4 * EH, places) for pool in ("gone", "refused", "very-old")
    ]
    rejected = Refusal(NOW - timedelta(hours=1), "refused-api", "implausible", "too much")
    claimed = [(message, claims_of(message)) for message in sent]
    await store.writer.write(claimed, rejected={"refused": rejected})


@pytest.fixture
async def made_up(store: Store, old_cells: None) -> None:  # noqa: ARG001 - written first
    """The same, with a snapshot."""
    await store.snapshots.write(await take_snapshot(store.cells, BELIEFS, NOW))


async def states(client: Client, **query: str) -> dict[str, str]:
    async with client.get(POOLS, params=query) as answer:
        assert answer.status == 200
        document: dict[str, Any] = await answer.json()
    return {pool["pool"]: pool["state"] for pool in document["pools"]}


@pytest.mark.usefixtures("made_up")
async def test_pools_that_are_off_are_listed_only_on_request(client: Client) -> None:
    live = {"alpha": "live", "beta": "live"}
    # Whoever looks for the reason of a rejected reading has to find it.
    assert await states(client) == live | {"gamma": "stale", "refused": "off"}
    assert await states(client, state="live") == live
    assert await states(client, state="stale") == {"gamma": "stale"}
    assert await states(client, state="thin") == {}
    off = await states(client, state="off")
    assert off == {"gone": "off", "refused": "off", "very-old": "off"}
    assert list(off) == sorted(off)
    async with client.get(POOLS, params={"state": "off"}) as answer:
        gone = (await answer.json())["pools"][0]
    assert (gone["reason"], gone["hashrate"]) == ("no report for more than 30 days", None)
    assert gone["last_report"] == f"{THEN + DAY:%Y-%m-%dT%H:%M:%SZ}"
    assert [source["source"] for source in gone["sources"]] == ["gone-api"]


@pytest.mark.usefixtures("made_up")
async def test_the_same_rows_are_in_the_csv_and_the_client(client: Client) -> None:
    async with client.get(f"{POOLS}.csv", params={"state": "off"}) as answer:
        lines = (await answer.text()).splitlines()
    assert [line.partition(",")[0] for line in lines] == ["pool", "gone", "refused", "very-old"]
    async with AsyncClient(str(client.make_url("/"))) as mining:
        assert [pool.pool for pool in (await mining.pools()).pools][:2] == ["alpha", "beta"]
        found = await mining.pools(state="off")
    assert [pool.pool for pool in found.pools] == ["gone", "refused", "very-old"]


@pytest.mark.usefixtures("made_up")
async def test_they_leave_the_metrics(client: Client) -> None:
    async with client.get("/metrics") as answer:
        text = await answer.text()
    assert 'pool="gamma"' in text
    assert "gone" not in text
    assert "very-old" not in text


@pytest.mark.usefixtures("made_up")
async def test_their_past_can_still_be_cited(client: Client) -> None:
    query = {"code": "CA", "step": "day", "from": f"{THEN:%Y-%m-%d}", "to": f"{NOW:%Y-%m-%d}"}
    async with client.get("/api/v1/history", params=query) as answer:
        points = (await answer.json())["points"]
    assert points[0]["pools"] == ["gone", "refused", "very-old"]
    assert points[0]["share"] == pytest.approx(1)


@pytest.mark.usefixtures("old_cells")
async def test_before_the_first_snapshot_those_with_old_reports_are_off(client: Client) -> None:
    assert await states(client, state="off") == {"gone": "off", "refused": "off", "very-old": "off"}
    assert await states(client, state="live") == {}


async def test_an_unknown_state_is_an_error(client: Client) -> None:
    async with client.get(POOLS, params={"state": "dead"}) as answer:
        document = await answer.json(content_type=None)
    assert (answer.status, document["parameter"]) == (400, "state")
    assert "live, stale, thin, off" in document["detail"]
