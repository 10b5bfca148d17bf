"""The Faust app: one agent that passes batches of raw messages to a processor.

Faust only manages the consumer group and the batches: the processor decodes the bytes, and Faust's
tables are not used. Messages are acknowledged after their batch was processed. Faust's ``take``
would acknowledge a batch even if it was cancelled half-way, so ``noack_take`` is used.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import faust
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from mode.threads import WorkerThread

from miningmap.kafka.header_names import tolerate_header_names
from miningmap.kafka.security import password_of, tls
from streams.worker.messages import TOPICS, RawMessage, headers_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from faust.types import EventT, StreamT
    from faust.types.auth import CredentialsT

    from miningmap.settings import Kafka, Settings

COMMIT_S: Final = 1.0
"""How often the messages that were processed are committed, in seconds."""
MAX_BATCH_S: Final = 86_400.0
"""How long a batch may take before Kafka gives its partitions to another process, in seconds."""


class _DaemonThread(WorkerThread):
    """A consumer's thread that does not keep the process alive.

    While Kafka is frozen, the thread waits for minutes to leave the consumer group. The broker
    notices the absence anyway, when the session expires.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - mode's signature
        super().__init__(*args, **kwargs)
        self.daemon = True


def build_app(
    settings: Settings, process: Callable[[Sequence[RawMessage]], Awaitable[None]]
) -> faust.App:
    """Return an app that calls ``process`` with each batch, and commits the batch afterwards."""
    AIOKafkaConsumerThread.Worker = _DaemonThread
    tolerate_header_names()
    servers = settings.kafka.bootstrap_servers.replace(",", ";")
    app = faust.App(
        settings.kafka.group,
        broker=f"aiokafka://{servers}",
        broker_credentials=_credentials(settings.kafka),
        store="memory://",
        # Faust stores nothing there, but creates the folder, by default in the working directory.
        datadir=str(Path(tempfile.gettempdir()) / "miningmap-faust"),
        value_serializer="raw",
        key_serializer="raw",
        # Topics are created by `miningmap topics`, never by a service.
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        web_enabled=False,
        broker_commit_interval=COMMIT_S,
        broker_session_timeout=settings.kafka.session_timeout_s,
        # Two heartbeats may be lost before the session expires.
        broker_heartbeat_interval=settings.kafka.session_timeout_s / 3,
        # A batch waits while Redis is unavailable or is being filled again, which can take hours,
        # and the consumer stays in its group. The stall watchdog is what ends a process.
        broker_max_poll_interval=MAX_BATCH_S,
        # A new group reads all messages in Kafka, so that an empty Redis is filled again.
        consumer_auto_offset_reset="earliest",
        # An interrupted batch is not acknowledged and is read again, so stopping need not wait.
        stream_wait_empty=False,
    )
    # Dead letters are consumed because /api/v1/pools shows the newest rejected reading of a pool.
    topic = app.topic(*TOPICS, key_type=bytes, value_type=bytes)

    async def cells(stream: StreamT[Any]) -> None:
        # The abstract type does not declare this method of Faust's streams.
        batches = stream.noack_take(  # type: ignore[attr-defined]
            settings.streams.batch, within=settings.streams.batch_within_s
        )
        async for events in batches:
            await process([_raw(event) for event in events])
            for event in events:
                await stream.ack(event)

    app.agent(topic, concurrency=1, name="cells")(cells)
    return app


def _credentials(kafka: Kafka) -> CredentialsT | None:
    """Return in Faust's form what :func:`miningmap.kafka.security.client_options` is in aiokafka's.

    Raises:
        SettingsError: a file of a certificate or key cannot be used.
    """
    context = tls(kafka)
    if kafka.security_protocol == "SASL_SSL":
        return faust.SASLCredentials(
            username=kafka.username,
            password=password_of(kafka),
            ssl_context=context,
            mechanism=kafka.sasl_mechanism,
        )
    return faust.SSLCredentials(context) if context else None


def _raw(event: EventT[Any]) -> RawMessage:
    message = event.message
    return RawMessage(
        message.topic,
        message.partition,
        message.offset,
        message.key,
        message.value,
        headers_of(message.headers),
        message.timestamp,
    )
