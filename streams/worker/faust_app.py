"""The Faust app: one agent that hands batches of raw messages to a processor.

What Faust is trusted with is the consumer group and the batches, no more: bytes are decoded in the
agent, nothing is kept in tables, and a message is acknowledged only after its batch is done.
``take`` would acknowledge a batch also when it was cancelled half-way, so ``noack_take`` it is.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faust

from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS
from streams.worker.processor import RawMessage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from faust.types import EventT, StreamT

    from miningmap.settings import Settings


def build_app(
    settings: Settings, process: Callable[[Sequence[RawMessage]], Awaitable[None]]
) -> faust.App:
    """An app that calls ``process`` with each batch, and commits after it has returned."""
    servers = settings.kafka.bootstrap_servers.replace(",", ";")
    app = faust.App(
        settings.kafka.group,
        broker=f"aiokafka://{servers}",
        store="memory://",
        # Nothing is kept there, but Faust makes the folder; better not where it was started from.
        datadir=str(Path(tempfile.gettempdir()) / "miningmap-faust"),
        value_serializer="raw",
        key_serializer="raw",
        # Topics are made by `miningmap topics`, never by a service on the side.
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        web_enabled=False,
        broker_commit_interval=1.0,
        broker_session_timeout=settings.kafka.session_timeout_s,
        # Three chances to be heard within the session.
        broker_heartbeat_interval=settings.kafka.session_timeout_s / 3,
        # From the beginning of what Kafka has: cells are rebuilt from it.
        consumer_auto_offset_reset="earliest",
        # An interrupted batch is not acknowledged and comes again: nothing to wait for at the end.
        stream_wait_empty=False,
    )
    # Dead letters too: what was refused of a pool is told beside it.
    topic = app.topic(REPORTS, NETWORK, DEAD_LETTERS, key_type=bytes, value_type=bytes)

    async def cells(stream: StreamT[Any]) -> None:
        # A Faust Stream, which has more than its abstract type tells.
        batches = stream.noack_take(  # type: ignore[attr-defined]
            settings.streams.batch, within=settings.streams.batch_within_s
        )
        async for events in batches:
            await process([_raw(event) for event in events])
            for event in events:
                await stream.ack(event)

    app.agent(topic, concurrency=1, name="cells")(cells)
    return app


def _raw(event: EventT[Any]) -> RawMessage:
    message = event.message
    return RawMessage(
        message.topic,
        message.partition,
        message.offset,
        message.key,
        message.value,
        tuple(dict(message.headers or ()).items()),
    )
