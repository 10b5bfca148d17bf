from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Never

import pytest
from aiohttp import web
from pydantic import SecretStr
from structlog.testing import capture_logs

from collector.http.backoff import LONGEST_S
from collector.http.hosts import FIRST_OPEN_S, MAX_FAILURES
from collector.network.mempool import SOURCE as NETWORK
from collector.outbox import record_of
from collector.polling.plausibility import Plausibility
from collector.polling.poller import Poller, start_spread_s
from collector.sources.base import TransientError
from collector.sources.credentials import Credentials
from miningmap.kafka.dead_letters import DeadLetter
from miningmap.messages import Message, Report
from miningmap.metrics import MOST_POOLS, OTHER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from collector.outbox import Outgoing
    from collector.sources.base import Source
    from tests.collector.conftest import Pools

DEADLINE_S = 5


class Polled:
    """A poller, and the messages and dead letters that it put into the outbox."""

    def __init__(self) -> None:
        self.poller: Poller
        self.messages: list[Message] = []
        self.rejected: list[DeadLetter] = []

    @property
    def pools(self) -> list[str]:
        """The pools of the reports, in their order."""
        return [message.pool for message in self.messages if isinstance(message, Report)]

    def put(self, outgoing: Sequence[Outgoing]) -> None:
        assert outgoing
        for item in outgoing:
            if isinstance(item, DeadLetter):
                self.rejected.append(item)
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
            clock=lambda: pools.clock,
        )
        yield polled


def up(pools: Pools, pool: str = "toy", source: str = "toy") -> float | None:
    return pools.metric("miningmap_pool_up", pool=pool, source=source)


def failures(pools: Pools, reason: str) -> float | None:
    name = "miningmap_source_request_failures_total"
    return pools.metric(name, source="toy", reason=reason)


async def test_a_reading_becomes_a_report(pools: Pools) -> None:
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
    assert pause_s == 60
    assert up(pools) == 1


async def test_the_interval_of_the_settings_replaces_the_sources_own(pools: Pools) -> None:
    pools.answer(b'{"toy": "3 PH/s"}')
    async with polling(pools, poll_s=7) as polled:
        pause_s = await polled.poller.poll()
    assert pause_s == 7
    assert polled.messages[0].length_s == 7


async def test_a_rejected_reading_is_put_as_a_dead_letter_beside_the_accepted_ones(
    pools: Pools,
) -> None:
    pools.answer(b'{"good": "3 PH/s", "bad": "3000 ZH/s"}')
    async with polling(pools, pools.source(pool=None)) as polled:
        with capture_logs() as logs:
            await polled.poller.poll()
    assert [message.hashrate for message in polled.messages] == [3e15]
    (letter,) = polled.rejected
    assert (letter.key, letter.reason, letter.source) == (b"bad", "implausible", "toy")
    assert failures(pools, "implausible") == 1
    assert (up(pools, "good"), up(pools, "bad")) == (1, 0)
    assert [log["event"] for log in logs] == ["reading_rejected"]


async def test_an_unconfirmed_jump_does_not_change_the_interval(pools: Pools) -> None:
    async with polling(pools) as polled:
        pools.answer(b'{"toy": "3 PH/s"}')
        await polled.poller.poll()
        pools.answer(b'{"toy": "3 EH/s"}')
        pauses = [await polled.poller.poll() for _ in range(3)]
    assert pauses == [60, 60, 60]
    assert [message.hashrate for message in polled.messages] == [3e15, 3e18]
    assert len(polled.rejected) == 2
    assert up(pools) == 1


async def test_a_source_without_an_accepted_reading_is_lost_until_it_has_one(pools: Pools) -> None:
    async with polling(pools) as polled:
        with capture_logs() as logs:
            for figure in ("3 PH/s", "9 EH/s", "9 EH/s", "3 PH/s"):
                pools.answer(f'{{"toy": "{figure}"}}'.encode())
                await polled.poller.poll()
    events = [log["event"] for log in logs if log["log_level"] != "debug"]
    assert events == ["reading_rejected", "source_lost", "reading_rejected", "source_recovered"]


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
async def test_a_source_that_fails_publishes_nothing_and_never_zero(
    pools: Pools, content: bytes, status: int, reason: str
) -> None:
    pools.answer(content, status)
    async with polling(pools) as polled:
        await polled.poller.poll()
    assert polled.messages == []
    assert up(pools) == 0
    assert failures(pools, reason) == 1


async def test_a_source_is_logged_once_when_lost_and_once_when_recovered(pools: Pools) -> None:
    async with polling(pools) as polled:
        with capture_logs() as logs:
            for status in (200, 503, 404, 503, 200, 200, 503, 200):
                pools.answer(b'{"toy": "3 PH/s"}', status)
                await polled.poller.poll()
                assert up(pools) == (status == 200)
    events = [(log["event"], log["source"]) for log in logs if log["log_level"] != "debug"]
    lost, recovered = ("source_lost", "pools/toy"), ("source_recovered", "pools/toy")
    assert events == [lost, recovered, lost, recovered]
    assert len(polled.messages) == 4


async def test_a_source_that_was_never_reached_is_logged_with_the_reason(pools: Pools) -> None:
    pools.answer(status=401)
    async with polling(pools) as polled:
        assert up(pools) == 0
        with capture_logs() as logs:
            await polled.poller.poll()
    assert logs == [
        {
            "event": "source_lost",
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


async def test_pauses_double_while_a_source_fails(pools: Pools) -> None:
    pauses: list[float] = []
    async with polling(pools) as polled:
        pools.answer(status=503)
        for _ in range(7):
            pauses.append(await polled.poller.poll())
            pools.clock += pauses[-1]
        assert pauses == [60, 120, 240, 480, 900, 900, 900]
        pools.answer(b'{"toy": "3 PH/s"}')
        assert await polled.poller.poll() == 60
        pools.answer(status=503)
        assert await polled.poller.poll() == 60


async def test_a_poll_that_the_hosts_circuit_prevents_waits_for_the_host_alone(
    pools: Pools,
) -> None:
    pools.answer(status=503)
    async with polling(pools) as polled:
        with capture_logs() as logs:
            assert await polled.poller.poll() == 60
            pools.clock += 30
            for _ in range(MAX_FAILURES - 1):
                with pytest.raises(TransientError):
                    await polled.poller._fetcher.fetch(pools.source())
            pools.clock += 30
            pools.requests.clear()
            assert await polled.poller.poll() == FIRST_OPEN_S - 30
            pools.clock += 10
            assert await polled.poller.poll() == FIRST_OPEN_S - 40
            assert pools.requests == []
            assert failures(pools, "breaker") == 2

            pools.clock += FIRST_OPEN_S - 40
            assert await polled.poller.poll() == 120  # its second failure
            pools.clock += 120
            pools.answer(b'{"toy": "3 PH/s"}')
            assert await polled.poller.poll() == 60
    assert [(log["event"], log["log_level"]) for log in logs] == [
        ("source_lost", "warning"),
        ("host_circuit_open", "warning"),
        ("source_still_lost", "debug"),
        ("source_still_lost", "debug"),
        ("source_still_lost", "debug"),
        ("host_circuit_closed", "info"),
        ("source_recovered", "info"),
    ]
    assert logs[-1]["seconds"] == 60 + 30 + 120
    assert up(pools) == 1


async def test_a_source_whose_host_failed_for_others_is_lost_without_a_failure(
    pools: Pools,
) -> None:
    pools.answer(status=503)
    async with polling(pools) as polled:
        for _ in range(MAX_FAILURES):
            with pytest.raises(TransientError):
                await polled.poller._fetcher.fetch(pools.source())
        with capture_logs() as logs:
            assert await polled.poller.poll() == FIRST_OPEN_S
            pools.clock += FIRST_OPEN_S
            assert await polled.poller.poll() == 60
            pools.clock += 2 * FIRST_OPEN_S
            pools.answer(b'{"toy": "3 PH/s"}')
            await polled.poller.poll()
    events = [log["event"] for log in logs if log["log_level"] != "debug"]
    assert events == ["source_lost", "host_circuit_closed", "source_recovered"]


async def test_a_source_with_a_permanent_error_is_retried_rarely(pools: Pools) -> None:
    async with polling(pools) as polled:
        for status in (401, 404):
            pools.answer(status=status)
            assert await polled.poller.poll() == LONGEST_S


@pytest.mark.parametrize("fails", ["parse", "put", "now"])
async def test_an_unexpected_exception_is_an_error_of_the_source_alone(
    pools: Pools, fails: str
) -> None:
    """Wherever it happens; it is logged with its traceback, counted, and polled again later."""

    def fail(*_args: object) -> Never:
        raise ZeroDivisionError("a bug at https://pool.example/?key=SECRET" + "x" * 1_000_000)

    secrets = Credentials({"toy": {"key": SecretStr("SECRET")}})
    parts: dict[str, Any] = {
        "parse": pools.source().parse,
        "put": Polled().put,
        "now": lambda: pools.now,
    }
    parts[fails] = fail
    async with pools.fetcher(credentials=secrets) as fetcher:
        poller = Poller(
            replace(pools.source(), parse=parts["parse"]),
            fetcher=fetcher,
            put=parts["put"],
            plausibility=Plausibility(),
            metrics=pools.metrics,
            settings=pools.settings(),
            now=parts["now"],
            clock=lambda: pools.clock,
        )
        pools.answer(b'{"toy": "3 PH/s"}')
        with capture_logs() as logs:
            for pause_s in (60, 120, 240):
                assert await poller.poll() == pause_s
                pools.clock += pause_s
    assert up(pools) == 0
    assert failures(pools, "unexpected") == 3
    events = [log["event"] for log in logs if log["log_level"] != "debug"]
    assert events == ["poll_failed", "source_lost", "poll_failed", "poll_failed"]
    assert logs[0]["exception"].startswith("Traceback ")
    assert "ZeroDivisionError: a bug at https://pool.example/?key=***xxx" in logs[0]["exception"]
    assert len(repr(logs)) < 100_000
    assert "SECRET" not in repr(logs)


async def test_a_poll_that_takes_long_shortens_the_pause(pools: Pools) -> None:
    async def slow(_request: web.Request) -> web.StreamResponse:
        pools.clock += 45
        return web.json_response({"toy": "3 PH/s"})

    pools.handler = slow
    async with polling(pools) as polled:
        assert await polled.poller.poll() == 15
        pools.clock += 15
    async with polling(pools, poll_s=30) as polled:
        assert await polled.poller.poll() == 0


@pytest.mark.parametrize(("sources", "spread_s"), [(1, 3), (35, 3), (5000, 50)])
def test_the_starts_of_many_sources_are_spread(sources: int, spread_s: float) -> None:
    assert start_spread_s(sources) == spread_s


async def test_retry_after_is_honoured(pools: Pools) -> None:
    pools.answer(status=429, headers={"Retry-After": "3000"})
    async with polling(pools) as polled:
        assert await polled.poller.poll() == 3000


async def test_a_source_of_many_pools_has_metrics_for_each_listed_pool(pools: Pools) -> None:
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


async def test_new_pools_of_a_source_are_limited_by_day(pools: Pools) -> None:
    def answer(*names: str) -> None:
        pools.answer(json.dumps(dict.fromkeys(names, "3 PH/s")).encode())

    made_up = [f"unknown{number}" for number in range(5000)]
    async with polling(pools, pools.source(pool=None), new_pools=3) as polled:
        with capture_logs() as logs:
            for _ in range(2):
                answer("f2pool", *made_up)
                await polled.poller.poll()
        assert polled.pools == ["f2pool", *made_up[:3]] * 2
        assert not polled.rejected  # a dead letter each would fill Kafka in their place
        assert failures(pools, "new_pool") == 2 * 4997
        (line,) = [line for line in logs if line["event"] == "new_pools_refused"]
        assert (line["log_level"], line["refused"]) == ("warning", 4997)
        assert line["pools"] == ", ".join(made_up[3:8])
        assert up(pools, "f2pool") == 1
        assert up(pools, made_up[0]) == 1
        assert up(pools, made_up[3]) is None

        # On the next day others are new; those that were admitted stay so.
        pools.now += timedelta(days=1)
        polled.messages.clear()
        answer(*made_up[:2], *made_up[-4:])
        with capture_logs() as logs:
            await polled.poller.poll()
        assert polled.pools == [*made_up[:2], *made_up[-4:-1]]
        assert "new_pools_refused" in [line["event"] for line in logs]

        # A pool that was not listed for longer than it takes to be off is new again.
        pools.now += timedelta(days=31)
        polled.messages.clear()
        answer(*made_up[10:13], made_up[0])
        await polled.poller.poll()
        assert polled.pools == made_up[10:13]


async def test_a_source_of_nothing_but_too_many_new_pools_is_lost(pools: Pools) -> None:
    async with polling(pools, pools.source(pool=None), new_pools=0) as polled:
        pools.answer(b'{"unknown": "3 PH/s"}')
        with capture_logs() as logs:
            await polled.poller.poll()
        (line,) = [line for line in logs if line["event"] == "source_lost"]
        assert line["reason"] == "new_pool"
        assert not polled.messages
        pools.clock += LONGEST_S
        pools.answer(b'{"f2pool": "3 PH/s"}')
        await polled.poller.poll()
        assert polled.pools == ["f2pool"]


async def test_the_pool_of_a_source_of_one_is_never_new(pools: Pools) -> None:
    pools.answer(b'{"toy": "3 PH/s"}')
    async with polling(pools, new_pools=0) as polled:
        await polled.poller.poll()
    assert polled.pools == ["toy"]


async def test_a_source_cannot_make_series_without_end(pools: Pools) -> None:
    many = 3 * MOST_POOLS
    async with polling(pools, pools.source(pool=None), new_pools=many) as polled:
        for first in range(0, 3 * MOST_POOLS, 100):
            listed = {f"unknown{number}": "3 PH/s" for number in range(first, first + 100)}
            pools.answer(json.dumps({"f2pool": "3 PH/s", **listed}).encode())
            await polled.poller.poll()
            pools.metrics.count(list(map(record_of, polled.messages)))
    (counted,) = pools.metrics.reports.collect()
    assert len(counted.samples) == 1 + MOST_POOLS + 1
    assert pools.metric("miningmap_reports_total", pool=OTHER)
    (shown,) = pools.metrics.pool_up.collect()
    assert {sample.labels["pool"]: sample.value for sample in shown.samples} == {
        "f2pool": 1,
        OTHER: 1,
    }


async def test_the_pool_of_a_source_has_a_series_whatever_others_list(pools: Pools) -> None:
    for number in range(2 * MOST_POOLS):
        pools.metrics.pools.label(f"unknown{number}")
    async with polling(pools):
        assert up(pools) == 0


async def test_a_network_source_has_metrics_for_bitcoin(pools: Pools) -> None:
    pools.answer(b'{"currentHashrate": 9e20}')
    async with polling(pools, NETWORK) as polled:
        assert up(pools, "bitcoin", "mempool") == 0
        await polled.poller.poll()
        assert up(pools, "bitcoin", "mempool") == 1
    assert [message.hashrate for message in polled.messages] == [9e20]


async def test_it_polls_until_cancelled(pools: Pools) -> None:
    pools.answer(b'{"toy": "3 PH/s"}')
    async with (
        asyncio.timeout(DEADLINE_S),
        polling(pools, poll_s=0.01) as polled,
        asyncio.TaskGroup() as tasks,
    ):
        task = tasks.create_task(polled.poller.run())
        while len(pools.requests) < 3:  # noqa: ASYNC110 - a list has no event to wait for
            await asyncio.sleep(0.01)
        task.cancel()
    assert task.cancelled()
    assert len(polled.messages) >= 2


async def test_a_source_has_one_request_in_flight_at_most(pools: Pools) -> None:
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
    async with (
        asyncio.timeout(DEADLINE_S),
        polling(pools, poll_s=0.001) as polled,
        asyncio.TaskGroup() as tasks,
    ):
        task = tasks.create_task(polled.poller.run())
        for _ in range(3):
            await arrived.acquire()
            go_on.release()
        task.cancel()
        go_on.release()
    assert most == 1
