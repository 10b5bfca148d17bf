"""The store: all that Redis keeps, by what it is.

All durable state of the streams service is here; what its processes keep in memory is a cache. The
keys are described in :mod:`streams.redis.keys`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.redis.cell_writer import CellWriter
from streams.redis.generations import Generations
from streams.redis.snapshot_store import SnapshotStore
from streams.redis.stored_cells import StoredCells
from streams.redis.swing_store import SwingStore

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from miningmap.settings import Retention


class Store:
    """All that one Redis keeps.

    Attributes:
        writer: writes the cells.
        cells: the cells, to be read.
        snapshots: the snapshot, and the log of events.
        swings: the swings.
        generations: the generations of cells.
    """

    def __init__(self, redis: Redis, retention: Retention, pool_bytes: int = 0) -> None:
        """Keep all in one Redis.

        Args:
            redis: where all is.
            retention: how long cells are kept.
            pool_bytes: how many bytes the cells of one pool may take; 0 for no limit.
        """
        self.writer = CellWriter(redis, retention, pool_bytes)
        self.cells = StoredCells(redis)
        self.snapshots = SnapshotStore(redis)
        self.swings = SwingStore(redis, retention)
        self.generations = Generations(redis)
