"""The streams service: consumer, snapshots, swings, metrics and stall watchdog in one process."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import structlog

from miningmap.dependencies import Dependency, reasons_of, show
from miningmap.http.server import monitoring_app, serving
from miningmap.kafka.producer import Publisher
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS, SHARES, SWINGS
from miningmap.metrics import new_registry
from miningmap.places import is_locatable
from miningmap.pool_names import is_known_pool, named_pools, unknown_pool
from miningmap.redis_access import STREAMS
from miningmap.redis_client import connect
from miningmap.redis_client import watch as watch_redis
from miningmap.settings import MB, SettingsError
from miningmap.tasks import run_until_first_ends
from miningmap.times import utc_now
from streams.beliefs import BeliefsError, unknown_annotations, unknown_pools
from streams.beliefs import load as load_beliefs
from streams.method.annotations import annotated
from streams.metrics import Metrics
from streams.queries.swings import swing_settings
from streams.redis.store import Store
from streams.worker.attempts import Attempts
from streams.worker.consumer import consume
from streams.worker.processor import Processor
from streams.worker.published_swings import published_swings
from streams.worker.rewinder import Rewinder
from streams.worker.snapshot_writer import write_snapshots
from streams.worker.stall_watchdog import Watchdog
from streams.worker.swing_evaluator import Evaluator
from streams.worker.swing_watcher import SwingWatcher

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from miningmap.settings import Method, Settings
    from miningmap.swings import Swing
    from streams.method.beliefs import Beliefs

_log = structlog.get_logger(__name__)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run until ``stop`` is set.

    Raises:
        SettingsError: a file of beliefs is invalid, Redis refuses the password, or Kafka
            lacks a topic.
        Exception: a part failed permanently; the process should be started again.
    """
    beliefs = configured_beliefs(settings.method)
    metrics = Metrics(new_registry())
    redis = connect(settings.redis, durations=metrics.redis_durations)
    store = Store(redis, settings.retention, settings.streams.pool_mb * MB)
    topics = frozenset({REPORTS, NETWORK, SHARES, SWINGS, DEAD_LETTERS})
    listen = settings.streams
    kafka, redis_state, consumer, cells, snapshots = needed = [
        Dependency(name) for name in ("kafka", "redis", "consumer", "cells", "snapshots")
    ]
    # Without swings the snapshots are as good as ever, so the service is ready.
    swings = Dependency("swings")
    swings.reason = "no swings were evaluated yet"
    show([kafka, redis_state], metrics.registry)
    try:
        async with (
            serving(
                monitoring_app(
                    metrics.registry,
                    metrics.http,
                    lambda: reasons_of(needed),
                    lambda: reasons_of([swings]),
                ),
                listen.metrics_host,
                listen.metrics_port,
                "STREAMS__METRICS_PORT",
                metrics=metrics.http.connections,
            ),
            Publisher(
                settings.kafka, topics, state=kafka, durations=metrics.kafka_durations
            ) as publisher,
        ):
            attempts = Attempts()
            rewinder = Rewinder(settings, store.writer, metrics, utc_now, state=cells)
            processor = Processor(
                store.writer,
                publisher.deliver,
                settings.retention,
                metrics,
                utc_now,
                redis=redis_state,
                rewinder=rewinder,
                attempts=attempts,
                precedence=store.writer.precedence,
            )
            watchdog = Watchdog(
                settings,
                metrics,
                consumer,
                servers=[kafka, redis_state],
                attempts=attempts,
                replayed=lambda: rewinder.replayed,
                own=lambda: rewinder.assigned,
            )
            evaluator = _evaluator(settings, store, beliefs, metrics)
            watcher = SwingWatcher(
                settings.kafka,
                evaluator,
                store.swings,
                publisher,
                swings,
                generations=store.generations,
            )
            await run_until_first_ends(
                stop.wait(),
                consume(settings, publisher, processor, rewinder),
                write_snapshots(
                    settings.streams, store, beliefs, publisher, metrics, state=snapshots
                ),
                watcher.run(),
                watchdog.run(),
                watch_redis(settings.redis, redis_state, metrics.show_memory, access=STREAMS),
            )
    finally:
        await redis.aclose()


def _evaluator(settings: Settings, store: Store, beliefs: Beliefs, metrics: Metrics) -> Evaluator:
    muted = frozenset(settings.swings.muted)
    if errors := unknown_annotations(beliefs, muted):
        _log.warning("muted_annotations_unknown", errors=errors)
    if errors := _unknown_in(settings.swings.overrides):
        _log.warning("swings_name_unknown_pools", errors=errors)
    return Evaluator(
        store,
        beliefs,
        settings=swing_settings(settings.swings),
        retention=settings.retention,
        metrics=metrics,
        annotate=partial(_annotated, beliefs, muted),
        published=partial(published_swings, settings.kafka),
    )


def _unknown_in(overrides: Iterable[str]) -> list[str]:
    """Return an error for each name that is neither a place nor a pool that is known by name.

    A partner may bring such a pool, so it is no error of the settings.
    """
    names = (name for name in overrides if not is_locatable(name) and not is_known_pool(name))
    return [unknown_pool(name, named_pools()) for name in sorted(names)]


def _annotated(
    beliefs: Beliefs, muted: frozenset[str], event: Swing, previous: Swing | None
) -> Swing:
    return annotated(event, beliefs.annotations, muted, previous)


def configured_beliefs(method: Method) -> Beliefs:
    """Return the beliefs that are set, and log a warning if they name pools that nobody knows.

    Raises:
        SettingsError: a file of beliefs is invalid.
    """
    try:
        beliefs = load_beliefs(method)
    except BeliefsError as error:
        raise SettingsError(str(error)) from None
    if errors := unknown_pools(beliefs):
        _log.warning("beliefs_name_unknown_pools", errors=errors)
    return beliefs
