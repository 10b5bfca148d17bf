"""The Python client against the real service, over HTTP."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from datetime import date, datetime
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from miningmap.api.models import Answer, PoolList, SubdivisionAnswer
from miningmap.client import ApiError, AsyncClient, Client, Event
from miningmap.places import all_places
from miningmap.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from streams.redis.store import Store
    from tests.endpoint.conftest import Client as Service

pytestmark = pytest.mark.integration


@pytest.fixture
def address(client: Service) -> str:
    return str(client.make_url("/"))


@pytest.fixture
def waiting(address: str) -> Iterator[Client]:
    with Client(address) as mining:
        yield mining


@pytest.fixture
async def mining(address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address) as mining:
        yield mining


async def test_shares_are_the_services_own_answer(
    mining: AsyncClient, snapshots: dict[str, bytes]
) -> None:
    assert await mining.shares() == msgspec.json.decode(snapshots["1h/country"], type=Answer)
    inside = await mining.shares("now", country="CN")
    assert inside == msgspec.json.decode(snapshots["now/subdivision/CN"], type=SubdivisionAnswer)
    assert inside.shares[0].share_of_country == 1


@pytest.mark.usefixtures("snapshots")
async def test_a_moment_and_a_method_are_asked_for(mining: AsyncClient, now: datetime) -> None:
    found = await mining.shares("now", country="CN", adjust="none", as_of=now)
    assert found.as_of == now
    assert found.rules == ()
    assert [row.code for row in found.shares] == ["CN-SC", "CN-ZJ"]
    assert found == await mining.shares("now", country="CN", adjust="none", as_of=rfc3339(now))


@pytest.mark.usefixtures("cells")
async def test_a_history_is_asked_for_by_dates_times_and_texts(
    mining: AsyncClient, now: datetime
) -> None:
    found = await mining.history("US", step="day", start=date(2026, 11, 15), to=now)
    assert len(found.points) == 8
    assert found.points[0].at.isoformat() == "2026-11-15T00:00:00+00:00"
    assert found == await mining.history("US", step="day", start="2026-11-15", to=rfc3339(now))
    assert len((await mining.history("US")).points) == 49


async def test_pools_and_places_are_listed(
    mining: AsyncClient, snapshots: dict[str, bytes]
) -> None:
    assert await mining.pools() == msgspec.json.decode(snapshots["pools"], type=PoolList)
    assert (await mining.places()).places == all_places()


@pytest.mark.usefixtures("snapshots")
async def test_the_waiting_client_has_the_same_answers(
    waiting: Client, mining: AsyncClient
) -> None:
    def ask() -> list[object]:
        return [
            waiting.shares("24h"),
            waiting.shares("now", country="CN"),
            waiting.history("DE", step="day", start="2026-11-15"),
            waiting.pools(),
            waiting.places(),
        ]

    assert await asyncio.to_thread(ask) == [
        await mining.shares("24h"),
        await mining.shares("now", country="CN"),
        await mining.history("DE", step="day", start="2026-11-15"),
        await mining.pools(),
        await mining.places(),
    ]


async def test_a_refusal_carries_the_problem_document(mining: AsyncClient, waiting: Client) -> None:
    with pytest.raises(ApiError, match="400 Bad Request: window: unknown window '2h'") as refused:
        await mining.shares("2h")
    assert refused.value.problem.parameter == "window"
    assert refused.value.problem.status == 400
    with pytest.raises(ApiError, match="code: unknown place 'XX'"):
        await asyncio.to_thread(waiting.history, "XX")


async def test_a_time_without_a_zone_is_refused_before_it_is_asked(mining: AsyncClient) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        await mining.shares(as_of=datetime(2026, 11, 22))  # noqa: DTZ001 - that is what is wrong


async def test_an_error_of_a_proxy_becomes_a_problem_too() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=502, text="<html>nobody there", content_type="text/html")

    proxy = web.Application()
    proxy.router.add_get("/map/api/v1/pools", refuse)
    async with TestServer(proxy) as server, AsyncClient(str(server.make_url("/map"))) as mining:
        with pytest.raises(ApiError, match="502 Bad Gateway: <html>nobody there"):
            await mining.pools()


async def test_a_refused_connection_is_the_transports_error(unused_tcp_port: int) -> None:
    async with AsyncClient(f"http://127.0.0.1:{unused_tcp_port}") as mining:
        with pytest.raises(httpx.ConnectError):
            await mining.pools()


# --- the stream ---------------------------------------------------------------------------------


async def heard(events: AsyncGenerator[Event, None]) -> Event:
    async with asyncio.timeout(30):
        return await anext(events)


async def test_a_stream_tells_the_newest_shares_and_what_follows(
    mining: AsyncClient, store: Store, snapshots: dict[str, bytes]
) -> None:
    async with aclosing(mining.stream("now")) as events:
        first = await heard(events)
        assert first.answer == await mining.shares("now")
        later = {**snapshots, "now/country": snapshots["1h/country"]}
        await store.write_snapshot(later)
        second = await heard(events)
    assert (first.name, second.name) == ("shares", "shares")
    assert second.answer == msgspec.json.decode(snapshots["1h/country"], type=Answer)
    async with aclosing(mining.stream("now", after=first.id)) as events:
        assert await heard(events) == second


@pytest.mark.usefixtures("snapshots")
async def test_a_gap_in_a_stream_is_told(mining: AsyncClient) -> None:
    async with aclosing(mining.stream(after="1-0")) as events:
        gap, newest = await heard(events), await heard(events)
    assert (gap.name, gap.answer) == ("gap", None)
    assert newest.answer == await mining.shares()


async def test_a_stream_that_is_refused_says_why(mining: AsyncClient) -> None:
    async with aclosing(mining.stream("2026-11")) as events:
        with pytest.raises(ApiError, match="window: '2026-11' is not allowed"):
            await heard(events)


# --- pandas ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("snapshots")
async def test_frames_have_the_columns_of_the_csv_twins(
    client: Service, mining: AsyncClient
) -> None:
    answers = {
        "shares": await mining.shares(),
        "shares.csv?level=subdivision&country=CN": await mining.shares(country="CN"),
        "history.csv?code=US": await mining.history("US"),
        "pools": await mining.pools(),
        "places": await mining.places(),
    }
    for path, answer in answers.items():
        frame = answer.to_pandas()
        twin_path = path if ".csv" in path else f"{path}.csv"
        async with client.get(f"/api/v1/{twin_path}") as twin:
            header, *lines = (await twin.text()).splitlines()
        assert list(frame.columns) == header.split(",")
        assert len(frame) == len(lines)


@pytest.mark.usefixtures("snapshots")
async def test_frames_have_the_figures_with_their_types(mining: AsyncClient) -> None:
    answer = await mining.shares("now")
    frame = answer.to_pandas()
    assert frame["share"].sum() == pytest.approx(1)
    assert frame["kinds_measured"].tolist() == [row.kinds.measured for row in answer.shares]
    assert frame["sensitivity_max"].tolist() == [
        (row.sensitivity or [])[1] for row in answer.shares
    ]
    points = (await mining.history("US", step="day")).to_pandas()
    assert str(points["at"].dt.tz) == "UTC"
    assert points["share"].isna().sum() > 0  # before there was any report


async def test_an_empty_frame_has_its_columns(mining: AsyncClient) -> None:
    assert "kinds_prior" in (await mining.shares()).to_pandas().columns


async def test_without_pandas_the_error_says_so(
    mining: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'miningmap\[pandas\]'"):
        (await mining.shares()).to_pandas()
