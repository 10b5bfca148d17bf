"""What every rival does with a batch: this project's modules decode it and write it to Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miningmap import settings as config
from miningmap.redis_client import connect
from miningmap.times import utc_now
from streams.redis.store import Store
from streams.worker.messages import decode_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.worker.messages import RawMessage

SETTINGS = config.load()


class Cells:
    """The cells in the Redis of the settings."""

    def __init__(self) -> None:
        self._store = Store(connect(SETTINGS.redis), SETTINGS.retention)

    async def write(self, batch: Sequence[RawMessage]) -> None:
        """Write a batch; return when Redis has acknowledged it."""
        decoded = decode_batch(batch, SETTINGS.retention, utc_now())
        await self._store.writer.write(decoded.claimed)
