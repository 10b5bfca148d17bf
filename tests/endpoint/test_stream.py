"""``/api/v1/stream`` over real HTTP and a real Redis: events, resuming, limits and the end."""

from __future__ import annotations

import asyncio
import random
import socket
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from endpoint.routes.stream import Stream
from miningmap.swings import SwingStatus, encode_swing
from miningmap.times import MINUTE_S, bucket
from streams.method.windows import ROLLING
from streams.redis import keys
from streams.redis.event_log import EventId
from streams.redis.swing_store import EvaluatedMinute, Memory
from tests.endpoint.sse_client import DEADLINE_S, STREAM, Block, open_stream
from tests.streams.fixtures import NOON, place_swing, pool_swing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web
    from aiohttp.test_utils import TestClient

    from miningmap.swings import Swing
    from streams.redis.store import Store
    from tests.servers import RedisServer

    Client = TestClient[web.Request, web.Application]
    Serve = Callable[..., Awaitable[Client]]

pytestmark = pytest.mark.integration


def answers(number: int) -> dict[str, bytes]:
    """Return snapshots of every window that are marked with a number."""
    return {
        f"{window}/country": b'{"n":%d,"of":"%s"}' % (number, window.encode()) for window in ROLLING
    }


def numbers(received: list[Block]) -> list[int]:
    return [msgspec.json.decode(one.data)["n"] for one in received]


async def figure(client: Client, name: str, **labels: str) -> float:
    async with client.get("/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
    (found,) = (
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    )
    return found


async def log(store: Store, entry: str = "*", **fields: bytes) -> None:
    """Append another event to the log, as the detection of swings does."""
    await store.generations.redis.xadd(keys.EVENTS, cast("Any", fields), id=entry)


async def until_known(client: Client, number: int) -> str:
    """Wait until a process streams a snapshot, and return the event's id."""
    async with open_stream(client) as listener:
        while numbers([received := await listener.next()]) != [number]:
            pass
    return received.id


async def until(met: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await met():  # noqa: ASYNC110 - polled over HTTP
            await asyncio.sleep(0.01)


# --- events ---------------------------------------------------------------------------------------


async def test_the_newest_shares_are_sent_at_once_and_equal_the_api(
    client: Client, snapshots: dict[str, bytes]
) -> None:
    for window in ROLLING:
        async with open_stream(client, window=window) as listener:
            first = await listener.next()
        assert first.event == "shares"
        assert first.data == snapshots[f"{window}/country"], window
        async with client.get("/api/v1/shares", params={"window": window}) as answer:
            assert await answer.read() == first.data, window


async def test_the_default_window_is_one_hour(client: Client, snapshots: dict[str, bytes]) -> None:
    async with open_stream(client) as listener:
        assert (await listener.next()).data == snapshots["1h/country"]


async def test_every_snapshot_is_streamed_in_order_with_growing_ids(
    client: Client, store: Store
) -> None:
    await store.snapshots.write(answers(0))
    await until_known(client, 0)
    async with open_stream(client) as one, open_stream(client, window="7d") as other:
        for number in range(1, 6):
            await store.snapshots.write(answers(number))
        received, received_other = await one.take(6), await other.take(6)
    assert numbers(received) == numbers(received_other) == list(range(6))
    assert {msgspec.json.decode(event.data)["of"] for event in received_other} == {"7d"}
    assert [event.id for event in received] == [event.id for event in received_other]
    assert sorted({event.position for event in received}) == [event.position for event in received]


async def test_a_new_client_gets_the_newest_shares_of_its_window_and_what_came_after_them(
    client: Client, store: Store
) -> None:
    await store.snapshots.write(answers(0))
    await until_known(client, 0)
    await store.snapshots.write(answers(1), told=["now"], removed=[])
    async with open_stream(client, window="now") as listener:
        while numbers([await listener.next()]) != [1]:
            pass
    async with open_stream(client, window="7d") as listener, open_stream(client) as other:
        assert numbers([await listener.next()]) == numbers([await other.next()]) == [0]
        await store.snapshots.write(answers(2), told=["7d"], removed=[])
        assert numbers([await listener.next()]) == [2]


async def test_one_of_many_clients_gets_the_newest_shares_after_a_pause(
    client: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endpoint.routes.stream.UNPACED", 0)
    monkeypatch.setattr("endpoint.routes.stream.PAUSE_S", 1.0)
    await store.snapshots.write(answers(0))
    await until_known(client, 0)
    async with open_stream(client) as listener:
        assert numbers([await listener.next()]) == [0]
        for number in range(1, 4):
            await store.snapshots.write(answers(number))
        await log(store, event=b"other", all=zlib.compress(b'{"n":9}'))
        received = numbers(await listener.take(2))
    assert received == [3, 9]


async def test_a_stream_before_the_first_snapshot_receives_it_later(
    client: Client, store: Store
) -> None:
    async with open_stream(client) as listener:
        assert int((await listener.block()).retry) >= 1000
        await store.snapshots.write(answers(1))
        assert numbers([await listener.next()]) == [1]


async def test_other_events_are_streamed_to_all_clients_in_order(
    client: Client, store: Store
) -> None:
    await store.snapshots.write(answers(0))
    await until_known(client, 0)
    async with open_stream(client) as one, open_stream(client, window="now") as other:
        await log(store, event=b"swing", all=zlib.compress(b'{"place":"US"}'))
        await store.snapshots.write(answers(1))
        for listener in (one, other):
            received = await listener.take(3)
            assert [event.event for event in received] == ["shares", "swing", "shares"]
            assert received[1].data == b'{"place":"US"}'


async def test_swings_are_streamed_as_they_are_written(client: Client, store: Store) -> None:
    await store.snapshots.write(answers(0))
    await until_known(client, 0)
    events: list[Swing] = [place_swing(), pool_swing()]
    minute = EvaluatedMinute(bucket(NOON, MINUTE_S), (), SwingStatus(NOON), events)
    async with open_stream(client) as listener:
        await listener.next()
        assert await store.swings.write(minute, Memory()) == []
        received = await listener.take(2)
    assert [(each.event, each.data) for each in received] == [
        ("swing", encode_swing(event)) for event in events
    ]


async def test_a_new_client_gets_the_newest_shares_and_the_events_after_them(
    client: Client, store: Store
) -> None:
    await store.snapshots.write(answers(0))
    await store.snapshots.write(answers(1))
    await until_known(client, 1)
    await log(store, event=b"swing", all=zlib.compress(b"{}"))
    async with open_stream(client) as listener:
        received = await listener.take(2)
    assert [event.event for event in received] == ["shares", "swing"]
    assert numbers(received[:1]) == [1]


@pytest.mark.usefixtures("snapshots")
async def test_the_stream_is_not_cached_compressed_or_buffered(client: Client) -> None:
    headers = {"Accept-Encoding": "gzip", "Origin": "https://example.org"}
    async with client.get(STREAM, headers=headers) as answer:
        assert answer.content_type == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Server"] == "miningmap"
        assert "Content-Encoding" not in answer.headers


async def test_a_client_of_http_1_0_gets_events_without_chunks(
    client: Client, snapshots: dict[str, bytes]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(f"GET {STREAM} HTTP/1.0\r\nHost: here\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE_S):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Transfer-Encoding" not in head
        retry = await reader.readuntil(b"\n\n")
        event = await reader.readuntil(b"\n\n")
    writer.close()
    assert retry.startswith(b"retry: ")
    assert event.partition(b"\n")[0].startswith(b"id: ")
    assert event.endswith(b"\nevent: shares\ndata: " + snapshots["1h/country"] + b"\n\n")


async def test_head_has_the_headers_and_no_stream(client: Client) -> None:
    async with client.head(STREAM) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        assert await answer.read() == b""


async def test_an_invalid_parameter_is_a_400_with_the_allowed_values(client: Client) -> None:
    for query, parameter, allowed in (
        ("window=2h", "window", "30d"),
        ("window=2026-11", "window", "24h"),
        ("level=country", "level", "window"),
        ("window=1h&window=now", "window", "once"),
    ):
        async with client.get(f"{STREAM}?{query}") as answer:
            assert answer.status == 400, query
            document = await answer.json(content_type=None)
        assert document["parameter"] == parameter, query
        assert allowed in document["detail"], query


# --- resuming -------------------------------------------------------------------------------------


async def test_any_process_streams_all_events_after_the_last_event_id(
    serve: Serve, store: Store
) -> None:
    first, second = await serve(store), await serve(store)
    for number in range(3):
        await store.snapshots.write(answers(number))
    last = await until_known(first, 2)
    for number in range(3, 7):
        await store.snapshots.write(answers(number))
    received = []
    for client in (first, second, await serve(store)):
        async with open_stream(client, last=last, window="30d") as listener:
            received.append(await listener.take(4))
    assert received[0] == received[1] == received[2]
    assert numbers(received[0]) == [3, 4, 5, 6]


async def test_the_last_id_may_be_a_parameter_and_the_header_is_newer(
    client: Client, store: Store
) -> None:
    ids = []
    for number in range(3):
        await store.snapshots.write(answers(number))
        ids.append(await until_known(client, number))
    for last, query, expected in (
        (None, ids[0], [1, 2]),
        (ids[1], ids[0], [2]),
        ("", ids[0], [1, 2]),
        (None, "", [2]),
    ):
        async with open_stream(client, last=last, lastEventId=query) as listener:
            received = await listener.take(len(expected))
        assert numbers(received) == expected, (last, query)
    async with open_stream(client, lastEventId="nonsense") as listener:
        assert (await listener.next()).event == "gap"


async def test_a_client_that_is_up_to_date_gets_only_new_events(
    client: Client, store: Store
) -> None:
    await store.snapshots.write(answers(0))
    last = await until_known(client, 0)
    async with open_stream(client, last=last) as listener:
        await store.snapshots.write(answers(1))
        assert numbers([await listener.next()]) == [1]


async def test_an_unknown_id_gets_a_gap_and_the_newest_shares(client: Client, store: Store) -> None:
    for number in range(3):
        await store.snapshots.write(answers(number))
    await until_known(client, 2)
    for last in ("nonsense", "1-1", "1795633815906-99999999999999999999999", "5"):
        async with open_stream(client, last=last) as listener:
            gap, newest = await listener.take(2)
        assert (gap.event, gap.id) == ("gap", ""), last
        assert "no longer stored" in msgspec.json.decode(gap.data)["detail"]
        assert numbers([newest]) == [2], last


async def test_an_id_of_the_future_gets_a_gap_after_a_wait(
    client: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endpoint.routes.stream.LAG_S", 0.05)
    await store.snapshots.write(answers(0))
    async with open_stream(client, last=f"{10**15}-0") as listener:
        assert [received.event for received in await listener.take(2)] == ["gap", "shares"]


async def test_a_process_waits_for_an_id_that_it_has_not_read_yet(
    client: Client, store: Store
) -> None:
    await store.snapshots.write(answers(0))
    async with open_stream(client) as listener:
        at = (await listener.next()).position
    soon = EventId(at.at_ms + 3_600_000, 0)
    async with open_stream(client, last=str(soon)) as listener:
        assert (await listener.block()).retry
        for number in range(2):
            body = zlib.compress(b'{"n":%d}' % number)
            await log(store, str(soon._replace(number=number)), event=b"swing", all=body)
        assert numbers([await listener.next()]) == [1]


async def test_events_that_the_log_has_lost_are_a_gap(serve: Serve, store: Store) -> None:
    client = await serve(store)
    await store.snapshots.write(answers(0))
    last = await until_known(client, 0)
    for number in range(1, 4):
        await store.snapshots.write(answers(number))
    await store.generations.redis.xtrim(keys.EVENTS, maxlen=2, approximate=False)
    async with open_stream(await serve(store), last=last) as listener:
        received = await listener.take(2)
    assert [event.event for event in received] == ["gap", "shares"]
    assert numbers(received[1:]) == [3]


async def test_a_restart_of_redis_that_loses_the_log_disconnects_no_client(
    redis: RedisServer, client: Client, store: Store
) -> None:
    await store.snapshots.write(answers(0))
    async with open_stream(client) as listener:
        assert numbers([await listener.next()]) == [0]
        redis.stop()
        redis.start()
        await store.snapshots.write(answers(1))
        received = await listener.next()
        if received.event == "gap":  # the empty log was read before its first event
            received = await listener.next()
        assert numbers([received]) == [1]


# --- heartbeats, and the end ----------------------------------------------------------------------


async def test_a_stream_without_events_has_heartbeats(
    serve: Serve, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endpoint.service.Stream", partial(Stream, heartbeat_s=0.05))
    async with open_stream(await serve(store)) as listener:
        assert (await listener.block()).retry
        for _ in range(3):
            assert (await listener.block()).comment == "ping"


async def test_streams_end_at_once_and_completely_with_the_service(
    serve: Serve, store: Store
) -> None:
    await store.snapshots.write(answers(0))
    client = await serve(store)
    async with open_stream(client) as idle:
        await idle.next()
        async with asyncio.timeout(1):
            await client.app.shutdown()
            with pytest.raises(EOFError):
                await idle.next()


async def test_clients_are_counted(client: Client) -> None:
    async def count(expected: float) -> bool:
        return await figure(client, "miningmap_stream_clients") == expected

    async with open_stream(client) as listener:
        await listener.block()
        assert await count(1)
        async with open_stream(client) as other:
            await other.block()
            assert await count(2)


# --- limits ---------------------------------------------------------------------------------------


async def test_more_clients_than_allowed_are_refused_until_one_disconnects(
    serve: Serve, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endpoint.service.Stream", partial(Stream, heartbeat_s=0.05))
    client = await serve(store, stream_clients=2)
    async with open_stream(client) as first:
        await first.block()
        async with open_stream(client) as second:
            await second.block()
            async with client.get(STREAM) as refused:
                assert refused.status == 503
                assert refused.content_type == "application/problem+json"
                assert int(refused.headers["Retry-After"]) > 0
                detail = (await refused.json(content_type=None))["detail"]
        assert "limit of 2 stream clients" in detail
        assert await figure(client, "miningmap_stream_dropped_total", reason="full") == 1

        async def is_free() -> bool:
            async with client.get(STREAM) as answer:
                return answer.status == 200

        await until(is_free)


async def test_one_address_cannot_have_all_places(
    serve: Serve, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endpoint.service.Stream", partial(Stream, heartbeat_s=0.05))
    client = await serve(
        store, stream_clients=3, streams_per_address=2, trusted_proxies=["127.0.0.1"]
    )
    one, same_network, other = (
        {"X-Forwarded-For": address}
        for address in ("2001:db8:1:2::1", "2001:db8:1:2::9", "192.0.2.1")
    )
    async with open_stream(client, headers=one) as first:
        await first.block()
        async with open_stream(client, headers=same_network) as second:
            await second.block()
            async with client.get(STREAM, headers=one) as refused:
                assert refused.status == 429
                assert refused.content_type == "application/problem+json"
                assert int(refused.headers["Retry-After"]) > 0
                document = await refused.json(content_type=None)
            assert (document["limit"], document["client"]) == (2, "2001:db8:1:2::/64")
            assert document["type"].endswith("#quota-exceeded")
            assert await figure(client, "miningmap_stream_dropped_total", reason="address") == 1
            # Another address has the last place; for a third one there is none.
            async with open_stream(client, headers=other) as third:
                await third.block()
                async with client.get(STREAM, headers={"X-Forwarded-For": "192.0.2.2"}) as full:
                    assert full.status == 503

        async def is_free() -> bool:
            async with client.get(STREAM, headers=one) as answer:
                return answer.status == 200

        await until(is_free)


async def test_clients_on_this_machine_have_no_limit_of_their_own(
    serve: Serve, store: Store
) -> None:
    client = await serve(store, streams_per_address=1)
    async with open_stream(client) as first, open_stream(client) as second:
        await first.block()
        await second.block()
    limited = await serve(store, streams_per_address=1, limit_loopback=True)
    async with open_stream(limited) as first:
        await first.block()
        async with limited.get(STREAM) as refused:
            assert refused.status == 429
    unlimited = await serve(store, streams_per_address=0, limit_loopback=True)
    async with open_stream(unlimited) as first, open_stream(unlimited) as second:
        await first.block()
        await second.block()


async def test_a_client_that_reads_nothing_is_disconnected_without_loss_for_others(
    serve: Serve, store: Store, snapshots: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endpoint.service.Stream", partial(Stream, send_s=0.3))
    client = await serve(store)
    padding = random.Random(1).randbytes(200_000).hex().encode()  # noqa: S311 - no secret
    answer = b'{"padding":"%s",' % padding + snapshots["1h/country"][1:]
    large = {"1h/country": answer}
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect(("127.0.0.1", client.port))
        lazy.sendall(f"GET {STREAM} HTTP/1.1\r\nHost: here\r\n\r\n".encode())

        async def listens() -> bool:
            return await figure(client, "miningmap_stream_clients") == 1

        await until(listens)
        async with open_stream(client) as reading:
            await reading.next()
            for _ in range(10):
                await store.snapshots.write(large)
                assert (await reading.next()).data == large["1h/country"]

            async def is_dropped() -> bool:
                return await figure(client, "miningmap_stream_dropped_total", reason="slow") == 1

            await until(is_dropped)
            assert await figure(client, "miningmap_stream_clients") == 1


async def test_without_redis_there_is_no_stream(
    serve: Serve,
    store_at: Callable[[str], Store],
    unused_tcp_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("endpoint.routes.stream.CATCH_UP_S", 0.1)
    client = await serve(store_at(f"redis://127.0.0.1:{unused_tcp_port}/0"))
    async with client.get(STREAM) as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "Redis" in (await answer.json(content_type=None))["detail"]


async def test_damaged_entries_of_the_log_are_passed_over(client: Client, store: Store) -> None:
    await store.snapshots.write(answers(0))
    async with open_stream(client) as listener:
        assert numbers([await listener.next()]) == [0]
        await log(store, event=b"swing", all=b"not compressed")
        await log(store, event=b"swing", all=zlib.compress(b'{"place":"US"}')[:-3])
        await log(store, all=zlib.compress(b"{}"))
        await log(store, event=b"\xff", all=zlib.compress(b"{}"))
        await store.snapshots.write(answers(1))
        assert numbers([await listener.next()]) == [1]
