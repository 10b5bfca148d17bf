"""The network's past, which a collector reads once when it starts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from miningmap.kafka.errors import BrokerError
from miningmap.kafka.network_history import add_network_history
from miningmap.plausibility import KnownFigures

if TYPE_CHECKING:
    from miningmap.settings import Kafka

# The pause before Kafka is asked again.
RETRY_S: Final = 5.0

_log = structlog.get_logger(__name__)


class NetworkHistory:
    """What is known of the network and of mined blocks: first from Kafka, then from polls too."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._read = asyncio.Event()
        self.known = KnownFigures()

    async def run(self) -> None:
        """Read what is in Kafka, as soon as it can be reached."""
        failed = False
        while True:
            try:
                messages = await add_network_history(self._kafka, self.known)
            except BrokerError as error:
                if not failed:
                    failed = True
                    _log.warning("network_history_unavailable", error=str(error))
                await asyncio.sleep(RETRY_S)
            else:
                break
        _log.info("network_history_read", messages=messages)
        self._read.set()

    async def known_past(self) -> KnownFigures:
        """Return what is known, once the past is: partners' rows are about the past."""
        await self._read.wait()
        return self.known
