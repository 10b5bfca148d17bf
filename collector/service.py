"""The collector service: pollers and the partners' intake, which publish to Kafka, and metrics."""

from __future__ import annotations

import asyncio
import gc
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from collector.disk import Disk
from collector.http.fetcher import Fetcher
from collector.intake.app import intake_app
from collector.intake.budget import Budget
from collector.intake.follower import Follower
from collector.intake.ledger import Ledger
from collector.intake.partners import SETTING, Partners, PartnersError, PartnersFile
from collector.intake.rate_limit import Rate, RateLimiter
from collector.metrics import Metrics
from collector.outbox import MessagePublisher, Outbox
from collector.polling.network_history import NetworkHistory
from collector.polling.plausibility import Plausibility
from collector.polling.poller import Poller, idle_reasons, start_spread_s
from collector.registry import choose, discover
from collector.sources.credentials import Credentials
from miningmap.dependencies import Dependency, reasons_of, show
from miningmap.http.clients import Clients
from miningmap.http.connections import Limits
from miningmap.http.server import monitoring_app, serving
from miningmap.kafka.access import Access, require_access
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS
from miningmap.metrics import new_registry
from miningmap.redis_access import COLLECTOR
from miningmap.redis_client import connect, watch
from miningmap.settings import SettingsError
from miningmap.tasks import run_until_first_ends

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from miningmap.settings import Collector, Kafka, Settings

# How long a stopping collector waits for Kafka to acknowledge what was polled.
DRAIN_S: Final = 2.0

_log = structlog.get_logger(__name__)


class LostMessagesError(Exception):
    """Messages were polled and are neither in Kafka nor on the disk; the text says how many."""


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Collect until ``stop`` is set, then publish what was polled and return within seconds.

    What Kafka does not take in this time stays in the spool for the next start.

    Raises:
        LostMessagesError: there is no spool, or it cannot be written, and Kafka is unavailable.
        SettingsError: a setting is wrong, an address is in use, Redis refuses the password, or
            Kafka lacks a topic.
        ExceptionGroup: the unexpected errors of all tasks that failed.
    """
    credentials = Credentials(settings.credentials)
    sources = choose(discover(), settings.collector, credentials)
    partners = _partners(settings.intake.partners_file)
    metrics = Metrics(new_registry())
    history = NetworkHistory(settings.kafka)
    kafka, store = Dependency("kafka"), Dependency("redis")
    show([kafka, store], metrics.registry)
    pollers: list[Poller] = []
    disk = _disk(settings.collector, metrics)
    # A partner waits for a response: an immediate 503 is better than waiting for Redis.
    redis = connect(settings.redis, patient=False, durations=metrics.redis_durations)
    ledger = Ledger(redis)
    hours_d = settings.retention.hours_d
    follower = Follower(settings.kafka, ledger, partners.pools, hours_d)
    metrics.ledger_complete.set_function(follower.complete_ratio)
    clients = Clients(settings.intake.trusted_proxies)

    def reasons() -> list[str]:
        return reasons_of([kafka, store]) + idle_reasons(pollers)

    def notes() -> list[str]:
        of_disk = [disk.error] if disk is not None and disk.error is not None else []
        return of_disk + follower.notes()

    async with (
        redis,
        MessagePublisher(
            settings.kafka,
            acknowledged=metrics.count,
            state=kafka,
            durations=metrics.kafka_durations,
        ) as publisher,
        Fetcher(settings.collector, metrics, credentials=credentials) as fetcher,
        serving(
            monitoring_app(metrics.registry, metrics.http, reasons, notes, metrics.series),
            settings.collector.metrics_host,
            settings.collector.metrics_port,
            "COLLECTOR__METRICS_PORT",
            metrics=metrics.http.connections,
        ),
        serving(
            intake_app(
                partners.authenticate,
                publisher.publish,
                ledger,
                RateLimiter(Rate(*rate) for rate in settings.intake.rates),
                follows=follower,
                known=history.known_past,
                retention=settings.retention,
                metrics=metrics,
                simulated=settings.collector.simulated,
                budget=Budget(settings.intake.daily_values),
                clients=clients,
            ),
            settings.intake.host,
            settings.intake.port,
            "INTAKE__PORT",
            limits=Limits(
                connections=settings.intake.connections,
                per_client=settings.intake.client_connections,
                clients=clients,
            ),
            metrics=metrics.http.connections,
        ),
    ):
        outbox = Outbox(publisher.deliver, disk, lost=metrics.lost)
        metrics.show_outbox(outbox, disk)
        plausibility = Plausibility(history.known)
        pollers += [
            Poller(
                source,
                fetcher=fetcher,
                put=outbox.put,
                plausibility=plausibility,
                metrics=metrics,
                settings=settings.collector,
            )
            for source in sources
        ]
        _log.info("service_started", sources=[source.path for source in sources])
        with long_lived():
            await run_until_first_ends(
                _collect(pollers, outbox, history, stop),
                _require_kafka(publisher, settings.kafka),
                watch(settings.redis, store, access=COLLECTOR),
                follower.run(),
            )


@contextmanager
def long_lived() -> Iterator[None]:
    """Leave what exists now out of garbage collections while the block runs.

    The pollers live as long as the process. A full collection looked at all that they have: with
    5,000 sources for 0.17 s, in which none was polled.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def _require_kafka(publisher: MessagePublisher, kafka: Kafka) -> None:
    """Wait for ever, unless the broker lacks a topic at the start or does not allow its use.

    Raises:
        SettingsError: it does.
    """
    writes = frozenset({REPORTS, NETWORK, DEAD_LETTERS})
    await require_access(kafka, Access(frozenset({NETWORK, REPORTS}), writes))
    await publisher.connected()
    await asyncio.Event().wait()


def _partners(path: Path | None) -> PartnersFile | Partners:
    if path is None:
        return Partners()
    try:
        return PartnersFile(path)
    except PartnersError as error:
        raise SettingsError(f"{SETTING}: {error}") from None


async def _collect(
    pollers: Sequence[Poller], outbox: Outbox, history: NetworkHistory, stop: asyncio.Event
) -> None:
    """Poll and deliver until ``stop`` is set; the outbox is drained after the last poll has ended.

    Raises:
        LostMessagesError: messages could neither be delivered nor saved.
        ExceptionGroup: the unexpected errors of all tasks that failed.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            delivering = tasks.create_task(outbox.run())
            reading = tasks.create_task(history.run())
            await _poll(pollers, stop)
            try:
                async with asyncio.timeout(DRAIN_S):
                    await outbox.join()
            except TimeoutError:
                _log.warning("messages_not_acknowledged", seconds=DRAIN_S)
            delivering.cancel()
            reading.cancel()
    finally:
        lost = await outbox.close()
        if lost:
            _log.error("messages_lost", messages=lost)
    if lost:
        raise LostMessagesError(
            f"{lost} messages that were polled are lost: Kafka did not acknowledge them within "
            f"{DRAIN_S:g} s, and they are not on the disk (MININGMAP_COLLECTOR__SPOOL)"
        )


def _disk(settings: Collector, metrics: Metrics) -> Disk | None:
    if settings.spool is None:
        return None
    return Disk(settings.spool, settings.spool_mb * 10**6, partial(metrics.lost, "full"))


async def _poll(pollers: Sequence[Poller], stop: asyncio.Event) -> None:
    spread_s = start_spread_s(len(pollers))
    async with asyncio.TaskGroup() as tasks:
        polling = [tasks.create_task(poller.run(spread_s)) for poller in pollers]
        await stop.wait()
        for task in polling:
            task.cancel()
