"""The Python client against the real service, over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
from contextlib import aclosing
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from miningmap.api.models import (
    Answer,
    BeliefList,
    PlaceList,
    PoolList,
    SubdivisionAnswer,
    WindowShare,
)
from miningmap.client import ApiError, AsyncClient, Client, Event
from miningmap.places import Place, all_places
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
def blocking(address: str) -> Iterator[Client]:
    with Client(address) as mining:
        yield mining


@pytest.fixture
async def mining(address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address) as mining:
        yield mining


async def test_shares_equal_the_snapshot_of_the_service(
    mining: AsyncClient, snapshots: dict[str, bytes]
) -> None:
    assert await mining.shares() == msgspec.json.decode(snapshots["1h/country"], type=Answer)
    inside = await mining.shares("now", country="CN")
    assert inside == msgspec.json.decode(snapshots["now/subdivision/CN"], type=SubdivisionAnswer)
    assert inside.shares[0].share_of_country == 1


@pytest.mark.usefixtures("snapshots")
async def test_shares_have_the_requested_time_and_rules(mining: AsyncClient, now: datetime) -> None:
    found = await mining.shares("now", country="CN", adjust="none", as_of=now)
    assert found.as_of == now
    assert found.rules == ()
    assert [row.code for row in found.shares] == ["CN-SC", "CN-ZJ"]
    assert found == await mining.shares("now", country="CN", adjust="none", as_of=rfc3339(now))
    midnight = datetime(2026, 11, 22, tzinfo=UTC)
    assert (await mining.shares("24h", as_of=date(2026, 11, 22))).as_of == midnight


@pytest.mark.usefixtures("snapshots")
async def test_shares_have_the_requested_network_prior(
    mining: AsyncClient, blocking: Client
) -> None:
    assert (await mining.shares("now", prior="none")).prior == "none"
    assert (await asyncio.to_thread(blocking.shares, "now", prior="none")).prior == "none"
    with pytest.raises(ApiError, match="prior: unknown network prior 'mine'"):
        await mining.shares("now", country="CN", prior="mine")


@pytest.mark.usefixtures("cells")
async def test_the_range_of_a_history_may_be_dates_times_or_texts(
    mining: AsyncClient, now: datetime
) -> None:
    found = await mining.history("US", step="day", start=date(2026, 11, 15), to=now)
    assert len(found.points) == 8
    assert found.points[0].at.isoformat() == "2026-11-15T00:00:00+00:00"
    assert found == await mining.history("US", step="day", start="2026-11-15", to=rfc3339(now))
    assert len((await mining.history("US")).points) == 49
    months = await mining.history("US", step="month", start="2026-10", to=date(2026, 11, 2))
    assert [point.window for point in months.points] == ["2026-10", "2026-11"]


@pytest.mark.usefixtures("cells")
async def test_histories_are_those_of_each_place(mining: AsyncClient, blocking: Client) -> None:
    chosen: dict[str, Any] = {"step": "day", "start": "2026-11-20", "adjust": "none"}
    for codes in (["US", "CN-SC"], "US,CN-SC", ("CN-SC", "US")):
        found = await mining.histories(codes, prior="none", **chosen)
        assert [series.code for series in found.series] == ["US", "CN-SC"]
        for series in found.series:
            alone = await mining.history(series.code, prior="none", **chosen)
            assert (alone.name, alone.points) == (series.name, series.points)
        assert (found.prior, found.adjust) == (alone.prior, alone.adjust) == ("none", "none")
    (one,) = (await mining.histories(["US"], **chosen)).series
    assert one.code == "US"
    inside = await asyncio.to_thread(blocking.histories, "CN-*", **chosen)
    assert [series.code for series in inside.series] == ["CN-SC", "CN-ZJ"]
    with pytest.raises(ValueError, match=r"'CN-\*' is not a single place; use histories"):
        await mining.history("CN-*")
    with pytest.raises(ApiError, match="code: unknown place 'XX'"):
        await mining.histories(["US", "XX"])


@pytest.mark.usefixtures("cells")
async def test_a_frame_of_histories_has_one_row_for_each_place_and_bucket(
    mining: AsyncClient,
) -> None:
    found = await mining.histories("*", step="day", start="2026-11-20")
    frame = found.to_pandas()
    assert list(frame.columns[:3]) == ["code", "name", "at"]
    table = frame.pivot(index="at", columns="code", values="share")
    assert set(table) == {"US", "CN", "CA", "DE"}
    assert table.sum(axis="columns").tolist() == pytest.approx([1, 1, 1])
    assert frame["pools"].tolist() == [("alpha", "beta")] * 12
    assert frame.attrs["step"] == "day"
    assert (await mining.histories("BR-*")).to_pandas().empty
    alone = (await mining.history("US", step="day", start="2026-11-20")).to_pandas()
    assert alone.equals(frame[frame["code"] == "US"].reset_index(drop=True))


@pytest.mark.usefixtures("snapshots")
async def test_contributions_are_of_the_requested_windows_and_rules(
    mining: AsyncClient, now: datetime
) -> None:
    found = await mining.contributions(
        "CN-SC", "24h", against="2026-11-21", adjust="none", as_of=now, prior="none"
    )
    assert (found.code, found.name, found.window, found.as_of) == ("CN-SC", "Sichuan", "24h", now)
    assert (found.adjust, found.prior) == ("none", "none")
    share, before = [
        (await mining.shares(window, country="CN", adjust="none", as_of=now)).shares[0].share
        for window in ("24h", "2026-11-21")
    ]
    assert (found.share, found.against) == (share, WindowShare("2026-11-21", before))
    assert [row.pool for row in found.pools] == ["alpha"]


async def test_pools_and_places_are_listed(
    mining: AsyncClient, snapshots: dict[str, bytes]
) -> None:
    assert await mining.pools() == msgspec.json.decode(snapshots["pools"], type=PoolList)
    assert (await mining.places()).places == all_places()


@pytest.mark.usefixtures("snapshots")
async def test_the_blocking_client_has_the_same_answers(
    blocking: Client, mining: AsyncClient
) -> None:
    def answers() -> list[object]:
        return [
            blocking.shares("24h"),
            blocking.shares("now", country="CN"),
            blocking.history("DE", step="day", start="2026-11-15"),
            blocking.histories("*", step="day", start="2026-11-15"),
            blocking.contributions("US", "24h", against="now"),
            blocking.pools(),
            blocking.places(),
        ]

    assert await asyncio.to_thread(answers) == [
        await mining.shares("24h"),
        await mining.shares("now", country="CN"),
        await mining.history("DE", step="day", start="2026-11-15"),
        await mining.histories("*", step="day", start="2026-11-15"),
        await mining.contributions("US", "24h", against="now"),
        await mining.pools(),
        await mining.places(),
    ]


async def test_an_api_error_has_the_problem_document(mining: AsyncClient, blocking: Client) -> None:
    with pytest.raises(ApiError, match="400 Bad Request: window: unknown window '2h'") as refused:
        await mining.shares("2h")
    assert refused.value.problem.parameter == "window"
    assert refused.value.problem.status == 400
    with pytest.raises(ApiError, match="code: unknown place 'XX'"):
        await asyncio.to_thread(blocking.history, "XX")


async def test_a_time_without_a_zone_is_an_error_before_any_request(mining: AsyncClient) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        await mining.shares(as_of=datetime(2026, 11, 22))  # noqa: DTZ001 - the error of this test


async def test_an_error_of_a_proxy_becomes_a_problem() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=502, text="<html>nobody there", content_type="text/html")

    proxy = web.Application()
    proxy.router.add_get("/map/api/v1/pools", refuse)
    async with TestServer(proxy) as server, AsyncClient(str(server.make_url("/map"))) as mining:
        with pytest.raises(ApiError, match="502 Bad Gateway: <html>nobody there"):
            await mining.pools()


async def test_a_refused_connection_is_a_connect_error(unused_tcp_port: int) -> None:
    async with AsyncClient(f"http://127.0.0.1:{unused_tcp_port}") as mining:
        with pytest.raises(httpx.ConnectError):
            await mining.pools()


# --- the stream ---------------------------------------------------------------------------------


async def next_event(events: AsyncGenerator[Event, None]) -> Event:
    async with asyncio.timeout(30):
        return await anext(events)


async def test_a_stream_has_the_newest_shares_and_all_that_follow(
    mining: AsyncClient, store: Store, snapshots: dict[str, bytes]
) -> None:
    async with aclosing(mining.stream("now")) as events:
        first = await next_event(events)
        assert first.answer == await mining.shares("now")
        later = {**snapshots, "now/country": snapshots["1h/country"]}
        await store.snapshots.write(later)
        second = await next_event(events)
    assert (first.name, second.name) == ("shares", "shares")
    assert second.answer == msgspec.json.decode(snapshots["1h/country"], type=Answer)
    async with aclosing(mining.stream("now", after=first.id)) as events:
        assert await next_event(events) == second


@pytest.mark.usefixtures("snapshots")
async def test_a_gap_in_a_stream_is_an_event(mining: AsyncClient) -> None:
    async with aclosing(mining.stream(after="1-0")) as events:
        gap, newest = await next_event(events), await next_event(events)
    assert (gap.name, gap.answer) == ("gap", None)
    assert newest.answer == await mining.shares()


async def test_a_rejected_stream_is_an_error_with_the_reason(mining: AsyncClient) -> None:
    async with aclosing(mining.stream("2026-11")) as events:
        with pytest.raises(ApiError, match="window: '2026-11' is not allowed"):
            await next_event(events)


# --- pandas ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("snapshots")
async def test_frames_have_the_columns_of_the_csv_twins(
    client: Service, mining: AsyncClient
) -> None:
    answers = {
        "shares": await mining.shares(),
        "shares.csv?level=subdivision&country=CN": await mining.shares(country="CN"),
        "history.csv?code=US": await mining.history("US"),
        "history.csv?code=*": await mining.histories("*"),
        "contributions.csv?code=US": await mining.contributions("US"),
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
    assert frame["kinds_declared"].tolist() == [row.kinds.declared for row in answer.shares]
    ranges = [row.sensitivity for row in answer.shares]
    known = [found[1] for found in ranges if found]
    assert frame["sensitivity_max"].dropna().tolist() == known != []
    assert frame["sensitivity_max"].isna().tolist() == [found is None for found in ranges]
    points = (await mining.history("US", step="day")).to_pandas()
    assert str(points["at"].dt.tz) == "UTC"
    assert points["share"].isna().sum() > 0  # before the first report


@pytest.mark.usefixtures("snapshots")
async def test_frames_say_what_they_are_about(mining: AsyncClient) -> None:
    answer = await mining.shares("24h", country="CN")
    frame = answer.to_pandas()
    assert frame.attrs.keys() == set(answer.__struct_fields__) - {"shares"}
    assert (frame.attrs["window"], frame.attrs["country"]) == ("24h", "CN")
    assert frame["as_of"].iloc[0] == answer.as_of
    assert frame.attrs["as_of"] == rfc3339(answer.as_of)
    assert json.loads(json.dumps(frame.attrs)).keys() == frame.attrs.keys()  # for to_parquet()
    assert frame.attrs["simulated"] is answer.simulated
    history = await mining.history("US", step="month")
    frame = history.to_pandas()
    assert (frame.attrs["code"], frame.attrs["step"]) == ("US", "month")
    assert frame["window"].iloc[-1] == "2026-11"
    assert frame["as_of"].iloc[-1] == history.as_of


async def test_the_documented_options_of_read_csv_keep_namibia(client: Service) -> None:
    import pandas as pd  # noqa: PLC0415 - optional

    async with client.get("/api/v1/places.csv") as answer:
        text = await answer.text()
    frame = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""])
    assert frame.set_index("code")["name"]["NA"] == "Namibia"
    assert frame.set_index("code")["parent"].isna()["NA"]


@pytest.mark.usefixtures("snapshots")
async def test_a_column_of_unknown_figures_is_nan(mining: AsyncClient) -> None:
    frame = (await mining.history("NA", step="day")).to_pandas()
    assert frame["share"].isna().all()
    assert str(frame["share"].dtype) == "float64"
    assert frame["share"].sum() == 0


async def test_an_empty_frame_has_its_columns_with_their_types(mining: AsyncClient) -> None:
    from pandas.api.types import is_numeric_dtype  # noqa: PLC0415 - optional

    frame = (await mining.shares()).to_pandas()
    figures = ["share", "low", "sensitivity_min", "belief_max", "hashrate", "kinds_prior"]
    assert {str(frame[name].dtype) for name in figures} == {"float64"}
    assert not any(is_numeric_dtype(frame[name]) for name in ("code", "name", "window"))
    assert frame.empty
    pools = PoolList(()).to_pandas()
    figures = ["hashrate", "located", "kinds_declared", "gap_mined", "gap_blocks", "gap_ratio"]
    assert {str(pools[name].dtype) for name in figures} == {"float64"}
    assert not is_numeric_dtype(pools["gap_mined_by"])
    assert (
        len(PlaceList(()).to_pandas()) == len(BeliefList(date(2026, 11, 22), ()).to_pandas()) == 0
    )


def test_a_column_without_any_text_stays_no_figure() -> None:
    from pandas.api.types import is_numeric_dtype  # noqa: PLC0415 - optional

    frame = PlaceList((Place("CN", "China", None, ()),)).to_pandas()
    assert frame["parent"].isna().all()
    assert not is_numeric_dtype(frame["parent"])


async def test_without_pandas_the_error_names_the_extra(
    mining: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'miningmap\[pandas\]'"):
        (await mining.shares()).to_pandas()


# --- a busy service -------------------------------------------------------------------------------


class BusyService:
    """A service that refuses the first requests, and then answers with the places."""

    def __init__(self, status: int, reason: str | None, retry_after: str, times: int) -> None:
        self._status = status
        self._reason = reason
        self._retry_after = retry_after
        self._left = times
        self.requests = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.requests += 1
        if not self._left:
            return web.json_response({"places": []})
        self._left -= 1
        document = {"type": "about:blank", "title": "Busy", "detail": "wait"}
        document |= {"reason": self._reason} if self._reason else {}
        return web.json_response(
            document | {"status": self._status},
            status=self._status,
            headers={"Retry-After": self._retry_after},
            content_type="application/problem+json",
        )


@contextlib.asynccontextmanager
async def served(service: BusyService) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/api/v1/places", service.answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


@pytest.mark.parametrize(("status", "reason"), [(503, "busy"), (429, None)])
async def test_a_request_is_sent_again_when_the_service_says_so(
    status: int, reason: str | None
) -> None:
    service = BusyService(status, reason, "0", times=2)
    async with served(service) as url, AsyncClient(url) as mining:
        assert (await mining.places()).places == ()
    assert service.requests == 3
    service = BusyService(status, reason, "0", times=2)
    async with served(service) as url:
        with Client(url) as blocking:
            assert (await asyncio.to_thread(blocking.places)).places == ()
    assert service.requests == 3


@pytest.mark.parametrize(
    ("status", "reason", "retry_after", "told"),
    [
        (503, None, "5", 5),  # Redis is unavailable: that can last
        (503, "rebuilding", "5", 5),
        (503, "busy", "31", 31),  # longer than the patience
        (503, "busy", "Wed, 21 Oct 2026 07:28:00 GMT", None),
        (429, None, "31", 31),
        (502, "busy", "1", 1),
    ],
)
async def test_other_errors_and_long_waits_are_raised_at_once(
    status: int, reason: str | None, retry_after: str, told: int | None
) -> None:
    service = BusyService(status, reason, retry_after, times=9)
    async with served(service) as url, AsyncClient(url, patience_s=30) as mining:
        with pytest.raises(ApiError) as refused:
            await mining.places()
    assert (service.requests, refused.value.retry_after_s) == (1, told)
    assert refused.value.problem.reason == reason


async def test_all_waits_of_a_call_together_are_within_its_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    service = BusyService(503, "busy", "10", times=99)
    async with served(service) as url, AsyncClient(url, patience_s=25) as mining:
        monkeypatch.setattr("miningmap.client.asyncio", SimpleNamespace(sleep=sleep))
        with pytest.raises(ApiError, match="503 Busy: wait"):
            await mining.places()
        monkeypatch.undo()
    assert service.requests == len(waits) + 1
    assert len(waits) in {1, 2}
    assert all(10 <= wait <= 12.5 for wait in waits)
