"""The Faust app: its life is that of the consumer, which is its only task.

Faust's own consumer makes several tasks and events for each message, which takes more time than all
that becomes of the message (docs/adr/0012-whole-fetches.md). So Faust starts no client of Kafka.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import faust
from faust.app.base import BootStrategy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from miningmap.settings import Kafka


class _Boot(BootStrategy):
    enable_kafka = False


class _App(faust.App):
    BootStrategy = _Boot


def build_app(kafka: Kafka, consumer: Callable[[], Awaitable[None]]) -> faust.App:
    """Return an app that runs the consumer. An error of the consumer ends the app."""
    servers = kafka.bootstrap_servers.replace(",", ";")
    app = _App(
        kafka.group,
        broker=f"aiokafka://{servers}",
        store="memory://",
        # Faust stores nothing there, but creates the folder, by default in the working directory.
        datadir=str(Path(tempfile.gettempdir()) / "miningmap-faust"),
        # Topics are created by `miningmap topics`, never by a service.
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )
    app.task(consumer)
    return app
