from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from collector.http.circuit_breaker import FAILURES, OPEN_S
from collector.http.fetcher import MAX_RETRY_AFTER_S
from collector.network.mempool import SOURCE as NETWORK
from collector.polling.plausibility import Plausibility
from collector.polling.poller import MAX_BACKOFF_S, Poller, backoff_s, start_spread_s
from collector.sources.base import CredentialsError, PermanentError, TransientError
from miningmap.kafka.dead_letters import DeadLetter
from miningmap.messages import Message, Report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from collector.outbox import Outgoing
    from collector.sources.base import Source
    from tests.collector.conftest import Pools

DEADLINE_S = 5


class Polled:
    """A poller, and what it put."""

    def __init__(self) -> None:
        self.poller: Poller
        self.messages: list[Message] = []
        self.refused: list[DeadLetter] = []

    def put(self, outgoing: Sequence[Outgoing]) -> None:
        assert outgoing
        for item in outgoing:
            if isinstance(item, DeadLetter):
                self.refused.append(item)
            else:
                self.messages.append(item)


@asynccontextmanager
async def polling(
    pools: Pools, source: Source | None = None, **settings: object
) -> AsyncIterator[Polled]:
    polled = Polled()
    async with pools.fetcher() as fetcher:
        polled.poller = Poller(
            source or pools.source(),
            fetcher=fetcher,
            put=polled.put,
            plausibility=Plausibility(),
            metrics=pools.metrics,
            settings=pools.settings(**settings),
            now=lambda: pools.now,
        )
        yield polled


def up(pools: Pools, pool: str = "toy", source: str = "toy") -> float | None:
    return pools.metric("miningmap_pool_up", pool=pool, source=source)


def failures(pools: Pools, reason: str) -> float | None:
    name = "miningmap_source_request_failures_total"
    return pools.metric(name, source="toy", reason=reason)


async def test_what_a_source_says_becomes_a_report(pools: Pools) -> None:
    pools.answer(b'{"toy": "3 PH/s"}')
    async with polling(pools, simulated=True) as polled:
        pause_s = await polled.poller.poll()
    assert polled.messages == [
        Report(
            pool="toy",
            source="toy",
            start=pools.now - timedelta(seconds=60),
            end=pools.now,
            hold_s=300,
            hashrate=3e15,
            places=(),
            fetched_at=pools.now,
            simulated=True,
        )
    ]
    assert 55 < pause_s <= 60
    assert up(pools) == 1


async def test_the_settings_interval_wins(pools: Pools) -> None:
    pools.answer(b'{"toy": "3 PH/s"}')
    async with polling(pools, poll_s=7) as polled:
        pause_s = await polled.poller.poll()
    assert 2 < pause_s <= 7
    assert polled.messages[0].length_s == 7


async def test_what_may_not_be_believed_is_put_as_a_dead_letter_and_stops_no_other(
    pools: Pools,
) -> None:
    pools.answer(b'{"good": "3 PH/s", "bad": "3000 ZH/s"}')
    async with polling(pools, pools.source(pool=None)) as polled:
        with capture_logs() as logs:
            await polled.poller.poll()
    assert [message.hashrate for message in polled.messages] == [3e15]
    (letter,) = polled.refused
    assert (letter.key, letter.reason, letter.source) == (b"bad", "implausible", "toy")
    assert failures(pools, "implausible") == 1
    assert (up(pools, "good"), up(pools, "bad")) == (1, 0)
    assert [log["event"] for log in logs] == ["reading refused"]


async def test_a_jump_is_asked_about_at_the_usual_interval_until_it_is_confirmed(
    pools: Pools,
) -> None:
    async with polling(pools) as polled:
        pools.answer(b'{"toy": "3 PH/s"}')
        await polled.poller.poll()
        pools.answer(b'{"toy": "3 EH/s"}')
        pauses = [await polled.poller.poll() for _ in range(3)]
    assert all(55 < pause_s <= 60 for pause_s in pauses)
    assert [message.hashrate for message in polled.messages] == [3e15, 3e18]
    assert len(polled.refused) == 2
    assert up(pools) == 1


async def test_a_source_of_which_nothing_is_believed_is_lost_once_and_back_once(
    pools: Pools,
) -> None:
    async with polling(pools) as polled:
        with capture_logs() as logs:
            for figure in ("3 PH/s", "9 EH/s", "9 EH/s", "3 PH/s"):
                pools.answer(f'{{"toy": "{figure}"}}'.encode())
                await polled.poller.poll()
    told = [log["event"] for log in logs if log["log_level"] != "debug"]
    assert told == ["reading refused", "source lost", "reading refused", "source back"]


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"", 503, "server_error"),
        (b"", 429, "rate_limited"),
        (b"", 401, "unauthorized"),
        (b"", 404, "client_error"),
        (b"<html>", 200, "not_json"),
        (b"[]", 200, "shape"),
        (b'{"toy": "3 m/s"}', 200, "unit"),
        (b'{"toy": "9e99 H/s"}', 200, "implausible"),
        (b'{"toy": "?"}', 200, "unknown_value"),
        (b"{}", 200, "unknown_value"),
    ],
)
async def test_a_source_that_fails_says_nothing_and_never_zero(
    pools: Pools, content: bytes, status: int, reason: str
) -> None:
    pools.answer(content, status)
    async with polling(pools) as polled:
        await polled.poller.poll()
    assert polled.messages == []
    assert up(pools) == 0
    assert failures(pools, reason) == 1


async def test_a_source_is_told_of_once_when_lost_and_once_when_back(pools: Pools) -> None:
    async with polling(pools) as polled:
        with capture_logs() as logs:
            for status in (200, 503, 404, 503, 200, 200, 503, 200):
                pools.answer(b'{"toy": "3 PH/s"}', status)
                await polled.poller.poll()
                assert up(pools) == (status == 200)
    told = [(log["event"], log["source"]) for log in logs if log["log_level"] != "debug"]
    lost, back = ("source lost", "pools/toy"), ("source back", "pools/toy")
    assert told == [lost, back, lost, back]
    assert len(polled.messages) == 4


async def test_a_source_that_was_never_reached_is_told_of_with_its_reason(pools: Pools) -> None:
    pools.answer(status=401)
    async with polling(pools) as polled:
        assert up(pools) == 0
        with capture_logs() as logs:
            await polled.poller.poll()
    assert logs == [
        {
            "event": "source lost",
            "log_level": "warning",
            "source": "pools/toy",
            "reason": "unauthorized",
            "error": "pool.example: HTTP 401: the key is missing or wrong",
        }
    ]


async def test_no_log_line_carries_the_key_in_a_url(pools: Pools) -> None:
    with capture_logs() as logs:
        async with polling(pools) as polled:
            for status in (404, 401, 503, 200):
                pools.answer(b'{"toy": "3 PH/s"}', status)
                await polled.poller.poll()
    assert "SECRET" not in repr(logs)


async def test_pauses_grow_while_a_source_fails_and_end_with_it(pools: Pools) -> None:
    pauses: list[float] = []
    async with polling(pools) as polled:
        pools.answer(status=503)
        for _ in range(7):
            pauses.append(await polled.poller.poll())
            pools.clock += pauses[-1]
        assert pauses == [60, 120, 240, 480, 900, 900, 900]
        pools.answer(b'{"toy": "3 PH/s"}')
        assert await polled.poller.poll() <= 60
        pools.answer(status=503)
        assert await polled.poller.poll() == 60


async def test_a_source_comes_back_as_soon_as_its_host_may_be_asked(pools: Pools) -> None:
    async with polling(pools) as polled:
        pools.answer(status=503)
        with capture_logs() as logs:
            for _ in range(FAILURES):
                await polled.poller.poll()
            pools.clock += 10
            assert await polled.poller.poll() == OPEN_S - 10
            assert await polled.poller.poll() == OPEN_S - 10
        assert len(pools.requests) == FAILURES
        assert failures(pools, "breaker") == 2
        lost = [log for log in logs if log["event"] == "source lost"]
        assert [log["log_level"] for log in lost] == ["warning", *["debug"] * (FAILURES + 1)]

        pools.clock += OPEN_S
        assert await polled.poller.poll() == backoff_s(60, FAILURES + 1, TRANSIENT)
        pools.clock += 2 * OPEN_S
        pools.answer(b'{"toy": "3 PH/s"}')
        assert await polled.poller.poll() <= 60
    assert up(pools) == 1


async def test_a_source_whose_host_others_found_failing_is_lost_but_has_not_failed(
    pools: Pools,
) -> None:
    pools.answer(status=503)
    async with polling(pools) as polled:
        for _ in range(FAILURES):
            with pytest.raises(TransientError):
                await polled.poller._fetcher.fetch(pools.source())
        with capture_logs() as logs:
            assert await polled.poller.poll() == OPEN_S
            pools.clock += OPEN_S
            assert await polled.poller.poll() == 60
            pools.clock += 2 * OPEN_S
            pools.answer(b'{"toy": "3 PH/s"}')
            await polled.poller.poll()
    told = [(log["event"], log["log_level"]) for log in logs if log["log_level"] != "debug"]
    assert told == [("source lost", "warning"), ("host back", "info"), ("source back", "info")]


@pytest.mark.parametrize(("sources", "spread_s"), [(1, 3), (35, 3), (5000, 50)])
def test_many_sources_do_not_start_all_at_once(sources: int, spread_s: float) -> None:
    assert start_spread_s(sources) == spread_s


async def test_retry_after_is_honoured(pools: Pools) -> None:
    pools.answer(status=429, headers={"Retry-After": "3000"})
    async with polling(pools) as polled:
        assert await polled.poller.poll() == 3000


async def test_a_source_of_many_pools_shows_each_that_it_lists(pools: Pools) -> None:
    async with polling(pools, pools.source(pool=None)) as polled:
        assert up(pools, "") == 0

        pools.answer(b'{"big": "3 PH/s", "small": "1 TH/s"}')
        await polled.poller.poll()
        assert [up(pools, pool) for pool in ("", "big", "small")] == [None, 1, 1]

        pools.answer(b'{"big": "3 PH/s"}')
        await polled.poller.poll()
        assert [up(pools, pool) for pool in ("", "big", "small")] == [None, 1, None]

        pools.answer(status=503)
        await polled.poller.poll()
        assert [up(pools, pool) for pool in ("", "big", "small")] == [None, 0, None]

        pools.answer(b"{}")
        await polled.poller.poll()
        assert up(pools, "big") == 0


async def test_a_network_source_shows_as_bitcoin(pools: Pools) -> None:
    pools.answer(b'{"currentHashrate": 9e20}')
    async with polling(pools, NETWORK) as polled:
        assert up(pools, "bitcoin", "mempool") == 0
        await polled.poller.poll()
        assert up(pools, "bitcoin", "mempool") == 1
    assert [message.hashrate for message in polled.messages] == [9e20]


async def test_it_polls_again_and_again_until_cancelled(pools: Pools) -> None:
    pools.answer(b'{"toy": "3 PH/s"}')
    async with polling(pools, poll_s=0.01) as polled:
        task = asyncio.create_task(polled.poller.run())
        async with asyncio.timeout(DEADLINE_S):
            while len(pools.requests) < 3:  # noqa: ASYNC110 - the server is no place for events
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(polled.messages) >= 2


async def test_a_source_that_gets_slower_is_not_asked_twice_at_a_time(pools: Pools) -> None:
    arrived, go_on = asyncio.Semaphore(0), asyncio.Semaphore(0)
    in_flight = most = 0

    async def slow(_request: web.Request) -> web.StreamResponse:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        arrived.release()
        await go_on.acquire()
        in_flight -= 1
        return web.json_response({"toy": "3 PH/s"})

    pools.handler = slow
    async with polling(pools, poll_s=0.001) as polled:
        task = asyncio.create_task(polled.poller.run())
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(3):
                await arrived.acquire()
                go_on.release()
        task.cancel()
        go_on.release()
        await asyncio.wait({task})
    assert most == 1


TRANSIENT = TransientError("", reason="timeout")


@pytest.mark.parametrize(
    ("poll_s", "failed", "pause_s"),
    [
        (60, 1, 60),
        (60, 2, 120),
        (60, 5, MAX_BACKOFF_S),
        (60, 10_000, MAX_BACKOFF_S),
        (1200, 9, 1200),
    ],
)
def test_transient_failures_double_the_pause_up_to_a_cap(
    poll_s: float, failed: int, pause_s: float
) -> None:
    assert backoff_s(poll_s, failed, TRANSIENT) == pause_s


@pytest.mark.parametrize(
    "error",
    [CredentialsError("", reason="unauthorized"), PermanentError("", reason="shape")],
)
def test_failures_that_somebody_must_mend_are_retried_seldom(
    error: CredentialsError | PermanentError,
) -> None:
    assert backoff_s(60, 1, error) == MAX_BACKOFF_S


@given(st.floats(0.001, 3600), st.integers(1, 1000), st.none() | st.floats(0, MAX_RETRY_AFTER_S))
def test_a_pause_is_never_shorter_than_the_interval_nor_than_asked_for(
    poll_s: float, failed: int, retry_after_s: float | None
) -> None:
    error = TransientError("", reason="rate_limited", retry_after_s=retry_after_s)
    pause_s = backoff_s(poll_s, failed, error)
    assert pause_s >= poll_s
    assert pause_s >= (retry_after_s or 0)
    assert pause_s <= MAX_RETRY_AFTER_S
