"""``/api/v1/swings``, its CSV twin, the client and the stream, over HTTP and a real Redis."""

from __future__ import annotations

import asyncio
import csv
import io
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from miningmap.client import ApiError, AsyncClient, Client
from miningmap.licences import CC_BY, CC_BY_NC_SA
from miningmap.swing_list import ListedPlaceSwing, ListedPoolSwing, SwingList
from miningmap.swings import PoolDelta, encode_swing, swing_id
from miningmap.times import rfc3339
from streams.redis import keys
from tests.endpoint.sse_client import open_stream
from tests.endpoint.swings import ago, lost, over, place_swing, pool_swing, write_events

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.test_utils import TestClient

    from miningmap.swings import Swing
    from streams.redis.store import Store

    Service = TestClient[web.Request, web.Application]

pytestmark = pytest.mark.integration

PATH = "/api/v1/swings"

FELL = place_swing()
FELL_MORE = place_swing(at=ago(hours=1), delta=-0.08, short=0.28)
POOL = pool_swing()
OLD = place_swing("KZ", started=ago(days=3))
OLD_RESOLVED = over(OLD, ago(days=2))
LOST_POOL = pool_swing("beta", started=ago(days=5))
BETA_LOST = lost(LOST_POOL, ago(days=4))
ANCIENT = pool_swing("gamma", started=ago(days=200))
ANCIENT_RESOLVED = over(ANCIENT, ago(days=199))
STILL = place_swing("CN", started=ago(days=100), delta=0.07, driver="others")
EVENTS = (
    FELL,
    FELL_MORE,
    POOL,
    OLD,
    OLD_RESOLVED,
    LOST_POOL,
    BETA_LOST,
    ANCIENT,
    ANCIENT_RESOLVED,
    STILL,
)


@pytest.fixture
async def swings(store: Store) -> None:
    await write_events(store.swings, *EVENTS)


async def answer_of(client: Service, query: str = "") -> Any:
    async with client.get(f"{PATH}{query}") as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "application/json"
        return await response.json()


async def rows_of(client: Service, query: str = "") -> list[dict[str, str]]:
    async with client.get(f"{PATH}.csv{query}") as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/csv"
        text = await response.text()
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def names(answer: Any) -> list[str]:
    return [swing.get("place") or swing["pool"] for swing in answer["swings"]]


def as_json(event: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(event))


# --- what is listed -------------------------------------------------------------------------------


@pytest.mark.usefixtures("swings")
async def test_each_swing_is_its_newest_event_with_the_earlier_ones(client: Service) -> None:
    answer = await answer_of(client)
    assert names(answer) == ["US", "alpha", "KZ", "beta", "CN"]
    us, alpha, _, beta, _ = answer["swings"]
    assert us == as_json(FELL_MORE) | {"current_delta": -0.06, "earlier": [as_json(FELL)]}
    # Its pair is not compared in the newest minute.
    assert alpha == as_json(POOL) | {"current_delta": None, "earlier": []}
    assert beta == as_json(BETA_LOST) | {"current_delta": None, "earlier": [as_json(LOST_POOL)]}
    assert answer["as_of"] == rfc3339(ago())


@pytest.mark.usefixtures("swings")
async def test_swings_are_chosen_by_state_subject_and_time(client: Service) -> None:
    since = ago(days=365)
    for query, expected in (
        ("state=firing", ["US", "alpha", "CN"]),
        ("state=resolved", ["KZ"]),
        ("state=lost", ["beta"]),
        ("state=", ["US", "alpha", "KZ", "beta", "CN"]),
        ("subject=place", ["US", "KZ", "CN"]),
        ("subject=pool", ["alpha", "beta"]),
        ("subject=pool&state=firing", ["alpha"]),
        (f"since={rfc3339(ago(hours=1))}", ["US"]),
        (f"since={rfc3339(ago(hours=1) + timedelta(seconds=1))}", []),
        (f"since={rfc3339(since)}", ["US", "alpha", "KZ", "beta", "CN", "gamma"]),
        (f"since={rfc3339(since)}&state=resolved&subject=pool", ["gamma"]),
        ("since=9999-12-31T23:59:59Z", []),
        ("since=0001-01-01T00:00:00Z&state=lost", ["beta"]),
    ):
        assert names(await answer_of(client, f"?{query}")) == expected, query


async def test_before_the_first_evaluation_the_list_is_empty(client: Service) -> None:
    assert await answer_of(client) == {"as_of": None, "swings": []}
    async with client.get(f"{PATH}.csv") as response:
        (header,) = (await response.text()).splitlines()
    assert header.startswith("subject,place,pool,source,pair,state,severity,started,at,")


async def test_swings_with_events_at_one_minute_are_ordered_as_these(
    client: Service, store: Store
) -> None:
    at = ago(hours=3)
    swings: list[Swing] = [
        place_swing("CN", started=at),
        place_swing("US", started=at),
        pool_swing("alpha", started=at, pair="1h/24h", source="a"),
        pool_swing("alpha", started=at, pair="1h/24h", source="b"),
        pool_swing("beta", started=at, pair="1h/24h"),
        place_swing("BR", started=at, pair="24h/7d"),
    ]
    await write_events(store.swings, *reversed(swings))
    assert names(await answer_of(client)) == ["CN", "US", "alpha", "alpha", "beta", "BR"]


# --- parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "parameter", "allowed"),
    [
        ("state=maybe", "state", "expected one of: firing, resolved, lost"),
        ("subject=country", "subject", "expected one of: place, pool"),
        ("since=2026-11-22T00:00:00", "since", "time zone (RFC 3339)"),
        ("since=yesterday", "since", "expected a value such as 2026-11-22T15:00:00Z"),
        ("state=firing&state=lost", "state", "give it once"),
        ("place=US", "place", "expected one of: state, since, subject"),
    ],
)
async def test_an_invalid_parameter_is_a_400_with_what_is_allowed(
    client: Service, query: str, parameter: str, allowed: str
) -> None:
    for path in (PATH, f"{PATH}.csv"):
        async with client.get(f"{path}?{query}") as response:
            assert response.status == 400
            assert response.content_type == "application/problem+json"
            problem = await response.json()
        assert problem["parameter"] == parameter
        assert allowed in problem["detail"]


# --- HTTP -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("swings")
async def test_an_unchanged_list_is_a_304_and_head_has_no_body(client: Service) -> None:
    for path in (PATH, f"{PATH}.csv?state=firing"):
        async with client.get(path) as response:
            tag = response.headers["ETag"]
            assert response.headers["Cache-Control"].startswith("public, max-age=")
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            assert CC_BY.url in response.headers["Link"]
        async with client.get(path, headers={"If-None-Match": tag}) as response:
            assert response.status == 304
            assert CC_BY.url in response.headers["Link"]
        async with client.head(path) as response:
            assert (response.status, await response.read()) == (200, b"")
            assert response.headers["ETag"] == tag


async def test_figures_of_imported_tables_keep_their_licence(client: Service, store: Store) -> None:
    pools = (PoolDelta("cbeci-sample", -0.06),)
    await write_events(store.swings, place_swing(pools=pools), pool_swing())
    for query, licence in (("", CC_BY_NC_SA), ("?subject=pool", CC_BY)):
        for path in (PATH, f"{PATH}.csv"):
            async with client.head(f"{path}{query}") as response:
                assert licence.url in response.headers["Link"], path + query


@pytest.mark.usefixtures("swings")
async def test_damaged_swings_are_left_out(client: Service, store: Store) -> None:
    redis = store.generations.redis
    mixed = b"[%s,%s]" % (encode_swing(POOL), encode_swing(FELL))
    for number, damage in enumerate((b"", b"[]", b"[{}]", b"\xff", b"[" * 100_000, b"7", mixed)):
        name = f"damaged {number}"
        await redis.hset(keys.SWING_LIST, name, damage)
        await redis.zadd(keys.SWING_TIMES, {name: ago(hours=1).timestamp()})
    await redis.zadd(
        keys.SWING_TIMES, dict.fromkeys((b"no list", b"\xff"), ago(hours=1).timestamp())
    )
    await redis.hset(keys.SWING_LIST, swing_id(POOL), b"[{")
    assert [name for name in names(await answer_of(client)) if name != "US"] == ["KZ", "beta", "CN"]
    await rows_of(client)
    for status in (b"", b"{}", b"\xff", b"[" * 100_000):
        await redis.hset(keys.SWINGS, "status", status)
        answer = await answer_of(client)
        assert answer["as_of"] is None
        assert "KZ" in names(answer)


# --- CSV ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("swings")
async def test_a_row_has_the_figures_of_the_newest_event_without_its_lists(
    client: Service,
) -> None:
    answer, rows = await answer_of(client), await rows_of(client)
    assert len(rows) == len(answer["swings"]) == 5
    for row, swing in zip(rows, answer["swings"], strict=True):
        subject = "pool" if "pool" in swing else "place"
        assert row["subject"] == subject
        assert row[subject] == swing[subject]
        assert row["as_of"] == answer["as_of"]
        assert row["simulated"] == str(swing["simulated"]).lower()
        for name in ("pair", "state", "started", "at"):
            assert row[name] == swing[name]
        for name in ("severity", "short", "long", "delta", "current_delta", "threshold"):
            assert row[name] == ("" if swing[name] is None else str(swing[name])), name
    fell, pool, *_ = rows
    assert (fell["own"], fell["driver"], fell["kinds_measured"]) == ("-0.055", "own", "6e+19")
    assert (pool["place"], pool["own"], pool["driver"], pool["kinds_measured"]) == ("",) * 4
    assert (pool["source"], fell["source"]) == ("alpha-api", "")
    assert not {"pools", "places", "earlier", "schema"} & fell.keys()
    assert list(fell)[-2:] == ["simulated", "as_of"]


async def test_a_row_tells_the_size_and_direction_of_a_swing_that_is_over(
    client: Service, store: Store
) -> None:
    fell = place_swing()
    more = place_swing(at=ago(minutes=90), delta=-0.09)
    # It resolves because the share has risen meanwhile.
    other_sign = over(fell, ago(minutes=30), delta=0.12)
    gone = pool_swing("beta")
    await write_events(store.swings, fell, more, other_sign, gone, lost(gone, ago(minutes=20)))
    pool, place = await rows_of(client)
    assert (place["state"], place["delta"], place["largest_delta"]) == ("resolved", "0.12", "-0.09")
    assert (pool["state"], pool["delta"], pool["largest_delta"]) == ("lost", "", "-0.4")


async def test_annotations_are_listed_and_left_out_where_there_are_none(
    client: Service, store: Store
) -> None:
    noted = place_swing("US-TX", annotations=("annotations/ercot-4cp", "annotations/b"), muted=True)
    await write_events(store.swings, noted, pool_swing(started=ago(hours=3)))
    texas, pool = (await answer_of(client))["swings"]
    assert texas["annotations"] == ["annotations/ercot-4cp", "annotations/b"]
    assert texas["muted"] is True
    assert not {"annotations", "muted"} & pool.keys()
    texas, pool = await rows_of(client)
    assert (texas["annotations"], texas["muted"]) == ("annotations/ercot-4cp annotations/b", "true")
    assert (pool["annotations"], pool["muted"]) == ("", "false")
    async with AsyncClient(str(client.make_url("/"))) as mining:
        frame = (await mining.swings()).to_pandas()
    assert frame["muted"].tolist() == [True, False]
    assert frame["annotations"].tolist() == [noted.annotations, ()]


# --- clients --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("swings")
async def test_the_clients_have_the_swings_with_their_types(client: Service) -> None:
    url = str(client.make_url("/"))
    async with AsyncClient(url) as mining:
        found = await mining.swings()
        us, alpha, *_ = found.swings
        assert isinstance(us, ListedPlaceSwing)
        assert us.earlier == (FELL,)
        assert (us.place, us.delta, us.pools) == ("US", -0.08, FELL.pools)
        assert isinstance(alpha, ListedPoolSwing)
        assert (alpha.pool, alpha.places) == ("alpha", POOL.places)
        assert found.as_of == ago()
        chosen = await mining.swings(state="resolved", since=ago(days=365), subject="pool")
        assert [swing.at for swing in chosen.swings] == [ANCIENT_RESOLVED.at]
        assert chosen == await mining.swings(
            state="resolved", since=rfc3339(ago(days=365)), subject="pool"
        )
        with pytest.raises(ApiError, match="since: 'soon' is not a time"):
            await mining.swings(since="soon")
        with pytest.raises(ValueError, match="no time zone"):
            await mining.swings(since=ago().replace(tzinfo=None))

    def blocking() -> SwingList:
        with Client(url) as mining:
            return mining.swings()

    assert await asyncio.to_thread(blocking) == found


@pytest.mark.usefixtures("swings")
async def test_a_frame_has_the_columns_of_the_csv(client: Service) -> None:
    rows = await rows_of(client)
    async with AsyncClient(str(client.make_url("/"))) as mining:
        found = await mining.swings()
    frame = found.to_pandas()
    assert list(frame.columns) == list(rows[0])
    assert frame["delta"].isna().tolist() == [False, False, False, True, False]
    assert frame["largest_delta"].tolist() == [-0.08, -0.4, -0.06, -0.4, 0.07]
    assert frame["at"].tolist() == [swing.at for swing in found.swings]
    assert frame.attrs == {"as_of": rfc3339(ago())}
    empty = SwingList(as_of=None, swings=()).to_pandas()
    assert list(empty.columns) == list(frame.columns)
    assert str(empty["delta"].dtype) == "float64"


# --- the stream -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("snapshots")
async def test_a_change_is_streamed_to_the_clients_of_every_window(
    client: Service, store: Store
) -> None:
    async with open_stream(client) as one, open_stream(client, window="30d") as other:
        await one.next()
        await other.next()
        await write_events(store.swings, FELL, over(FELL, ago(hours=1)), POOL)
        received, received_other = await one.take(3), await other.take(3)
    assert received == received_other
    assert {event.event for event in received} == {"swing"}
    answer = await answer_of(client, "?subject=place")
    (listed,) = answer["swings"]
    fell, pool, resolved = (msgspec.json.decode(event.data) for event in received)
    # A swing that is over has no current delta, though its place is compared.
    assert listed == resolved | {"current_delta": None, "earlier": [fell]}
    assert pool == as_json(POOL)


async def test_a_client_resumes_before_at_and_after_a_change(
    client: Service, store: Store, snapshots: dict[str, bytes]
) -> None:
    async with open_stream(client) as listener:
        first = await listener.next()
        await write_events(store.swings, FELL, FELL_MORE)
        await store.snapshots.write(snapshots)
        events = [first, *await listener.take(3)]
    assert [event.event for event in events] == ["shares", "swing", "swing", "shares"]
    for number, event in enumerate(events[:-1]):
        async with open_stream(client, last=event.id, window="7d") as listener:
            resumed = await listener.take(len(events) - number - 1)
        assert [event.id for event in resumed] == [event.id for event in events[number + 1 :]]


@pytest.mark.usefixtures("snapshots")
async def test_the_client_streams_changes_with_their_types(client: Service, store: Store) -> None:
    async with (
        AsyncClient(str(client.make_url("/"))) as mining,
        aclosing(mining.stream("now")) as events,
        asyncio.timeout(30),
    ):
        first = await anext(events)
        assert (first.name, first.swing) == ("shares", None)
        await write_events(store.swings, FELL, POOL)
        received = [await anext(events), await anext(events)]
    assert [(event.name, event.answer) for event in received] == [("swing", None)] * 2
    assert [event.swing for event in received] == [FELL, POOL]
