"""The snapshot, and the log of events that announces each one."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, cast

from streams.redis import essential, keys, lease
from streams.redis.damage import remove_wrong_types
from streams.redis.event_log import KEPT_S, EventId, event_of, shares_fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from redis.asyncio import Redis

    from streams.redis.event_log import Event

_DERIVED: Final = {keys.SNAPSHOTS: "hash", keys.EVENTS: "stream", keys.LEADER: "string"}
"""The keys, and their types, of what is replaced again and again."""


class SnapshotStore:
    """The snapshot and the log of events in one Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def renew_leadership(self, process: str, for_s: float) -> bool:
        """Return whether ``process`` takes the snapshots for the next ``for_s`` seconds.

        Normally only one process does; two at once only repeat work.
        """
        return await lease.renew(self._redis, keys.LEADER, process, for_s)

    async def remove_damaged(self) -> None:
        """Remove what keeps snapshots from being written: keys that have another type."""
        await remove_wrong_types(self._redis, _DERIVED)

    async def write(self, snapshot: Mapping[str, bytes]) -> None:
        """Replace the snapshot and add the event that announces it, in one step.

        It goes on while Redis is full (:mod:`streams.redis.essential`).
        """
        # By the clock of Redis, which the ids of the events come from too.
        now_s, _ = await self._redis.time()
        oldest_ms = (now_s - KEPT_S) * 1000
        event = chain.from_iterable(shares_fields(snapshot).items())
        await essential.run(
            self._redis,
            keys.SNAPSHOTS,
            [
                ("DEL", keys.SNAPSHOTS),
                *(("HSET", keys.SNAPSHOTS, name, part) for name, part in snapshot.items()),
                # Trimmed exactly: approximate trimming keeps a few hundred entries more, and each
                # of them is large.
                ("XADD", keys.EVENTS, "MINID", "=", oldest_ms, "*", *event),
            ],
        )

    async def part(self, name: str) -> bytes | None:
        """Return one part of the snapshot as it was written, or ``None`` if there is none."""
        return cast("bytes | None", await self._redis.hget(keys.SNAPSHOTS, name))

    async def read(self) -> dict[str, bytes]:
        """Return all parts of the snapshot by name; empty before the first snapshot."""
        parts = cast("dict[bytes, bytes]", await self._redis.hgetall(keys.SNAPSHOTS))
        return {name.decode(errors="replace"): value for name, value in parts.items()}

    # --- events ---

    async def events(self, after: EventId, *, limit: int, wait_s: float) -> list[Event]:
        """Return up to ``limit`` events after a position, in order.

        If there are none yet, wait up to ``wait_s`` for one; the result may be empty.
        """
        block_ms = max(1, round(wait_s * 1000))  # BLOCK 0 would wait for ever
        found = await self._redis.xread({keys.EVENTS: str(after)}, count=limit, block=block_ms)
        streams = cast("Sequence[tuple[bytes, Sequence[tuple[bytes, Any]]]]", found)
        return [event_of(*entry) for _, entries in streams for entry in entries]

    async def last_event(self) -> EventId | None:
        """Return the id of the newest event in the log, or ``None`` if there is none."""
        newest = await self._redis.xrevrange(keys.EVENTS, count=1)
        found = cast("Sequence[tuple[bytes, Any]]", newest)
        return EventId.parse(found[0][0].decode()) if found else None
