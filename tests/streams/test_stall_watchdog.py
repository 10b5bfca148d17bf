"""The stall watchdog: a backlog without commits ends the service; slow progress does not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from miningmap import settings as config
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.lag import Progress
from streams.metrics import Metrics
from streams.worker import stall_watchdog
from streams.worker.stall_watchdog import StallDetector, StalledError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from miningmap.kafka.lag import Lag

DEADLINE_S = 30.0

WHERE = ("miningmap.reports", 0)


def test_a_backlog_without_commits_is_a_stall() -> None:
    detector = StallDetector(limit_s=60)
    for at in (0, 30, 60):
        detector.check({WHERE: Progress(committed=5, lag=2)}, at)
    with pytest.raises(StalledError, match=r"2 messages are waiting in miningmap\.reports/0"):
        detector.check({WHERE: Progress(committed=5, lag=2)}, 61)


def test_slow_progress_is_not_a_stall() -> None:
    detector = StallDetector(limit_s=60)
    for at in range(0, 600, 50):
        detector.check({WHERE: Progress(committed=at, lag=1000)}, at)


def test_an_idle_consumer_is_not_stalled() -> None:
    detector = StallDetector(limit_s=60)
    for at in (0, 100, 200):
        detector.check({WHERE: Progress(committed=5, lag=0)}, at)
    detector.check({WHERE: Progress(committed=5, lag=1)}, 250)
    with pytest.raises(StalledError):
        detector.check({WHERE: Progress(committed=5, lag=1)}, 261)


def test_messages_that_are_processed_again_are_progress() -> None:
    """While Redis is filled again, nothing is committed."""
    detector = StallDetector(limit_s=60)
    for at in range(0, 600, 50):
        detector.check({WHERE: Progress(committed=5, lag=2)}, at, replayed=at)
    with pytest.raises(StalledError):
        detector.check({WHERE: Progress(committed=5, lag=2)}, 611, replayed=550)


OTHER = ("miningmap.reports", 1)


def backlog(committed: int) -> Lag:
    """One partition stands still while another one is worked through."""
    return {WHERE: Progress(committed=5, lag=2), OTHER: Progress(committed, lag=10_000 - committed)}


def test_a_worker_that_works_through_another_partition_is_not_stalled() -> None:
    """It is only slow, for want of CPU perhaps: a restart would mend nothing."""
    detector = StallDetector(limit_s=60)
    late = [detector.check(backlog(at), at, processed=at) for at in range(0, 600, 50)]
    assert (
        late[-1] == "2 messages are waiting in miningmap.reports/0 and none was committed for 550 s"
    )
    with pytest.raises(StalledError):
        detector.check(backlog(550), 611, processed=550)


def test_a_worker_that_does_nothing_while_another_one_works_is_stalled() -> None:
    detector = StallDetector(limit_s=60)
    for at in range(0, 60, 20):
        detector.check(backlog(at), at, processed=7)
    with pytest.raises(StalledError, match=r"miningmap\.reports/0"):
        detector.check(backlog(61), 61, processed=7)


def test_a_worker_of_which_nothing_is_committed_is_stalled() -> None:
    detector = StallDetector(limit_s=60)
    for at in range(0, 60, 20):
        detector.check(backlog(9), at, processed=at)
    with pytest.raises(StalledError):
        detector.check(backlog(9), 61, processed=61)


def test_a_worker_does_not_end_because_another_one_is_stuck() -> None:
    detector = StallDetector(limit_s=60)
    late = [detector.check(backlog(9), at, processed=7, own={(WHERE[0], 2)}) for at in (0, 50, 99)]
    assert late[-1], "it is told all the same"
    with pytest.raises(StalledError):
        detector.check(backlog(9), 100, processed=7, own={WHERE})


def test_a_partition_without_a_backlog_is_no_excuse() -> None:
    """If the worker gets to all that arrives there, it gets to the others too."""
    detector = StallDetector(limit_s=60)
    for at in range(0, 60, 20):
        detector.check(backlog(10_000 + at), at, processed=at)
    with pytest.raises(StalledError):
        detector.check(backlog(10_061), 61, processed=61)


async def test_the_watchdog_updates_the_metric_and_logs_outages_and_the_stall(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connections = iter([BrokerError("no broker"), BrokerError("still none"), None])

    @asynccontextmanager
    async def lag_of(*_: object) -> AsyncIterator[Callable[[], Awaitable[Lag]]]:
        if error := next(connections):
            raise error

        async def ask() -> Lag:
            return {WHERE: Progress(committed=5, lag=2)}

        yield ask

    monkeypatch.setattr(stall_watchdog, "lag_of", lag_of)
    monkeypatch.setattr(stall_watchdog, "PERIOD_S", 0.001)
    settings = config.Settings(streams=config.Streams(stalled_s=0.2))
    metrics = Metrics(CollectorRegistry())
    with capture_logs() as logs, pytest.raises(StalledError):
        async with asyncio.timeout(DEADLINE_S):
            await stall_watchdog.Watchdog(settings, metrics).run()
    assert [log["event"] for log in logs] == [
        "consumer_lag_unavailable",
        "consumer_lag_available",
        "stall_detected",
    ]
    labels = {"topic": "miningmap.reports", "partition": "0"}
    assert metrics.registry.get_sample_value("miningmap_consumer_lag", labels) == 2
    asked = metrics.registry.get_sample_value(
        "miningmap_kafka_request_duration_seconds_count", {"operation": "lag"}
    )
    assert asked is not None
    assert asked > 0


async def test_a_lag_that_kafka_no_longer_reports_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics = Metrics(CollectorRegistry())
    lost = asyncio.Event()

    def lag() -> float | None:
        labels = {"topic": "miningmap.reports", "partition": "0"}
        return metrics.registry.get_sample_value("miningmap_consumer_lag", labels)

    @asynccontextmanager
    async def lag_of(*_: object) -> AsyncIterator[Callable[[], Awaitable[Lag]]]:
        if lost.is_set():
            await asyncio.Event().wait()

        async def ask() -> Lag:
            if lag() is not None:
                lost.set()
                raise BrokerError("no broker")
            return {WHERE: Progress(committed=5, lag=2)}

        yield ask

    monkeypatch.setattr(stall_watchdog, "lag_of", lag_of)
    monkeypatch.setattr(stall_watchdog, "PERIOD_S", 0.001)
    watching = asyncio.create_task(stall_watchdog.Watchdog(config.Settings(), metrics).run())
    async with asyncio.timeout(DEADLINE_S):
        await lost.wait()
        while lag() is not None:  # noqa: ASYNC110 - another task makes it false
            await asyncio.sleep(0.001)
    watching.cancel()
