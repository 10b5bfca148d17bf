"""The snapshot, and the log of events that announces each one."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, cast

from miningmap.redis_cluster import server_of
from streams.method.windows import ROLLING
from streams.redis import essential, keys, lease
from streams.redis.damage import remove_wrong_types
from streams.redis.event_log import KEPT_S, EventId, RecentEvents, event_of, shares_fields

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from typing import Any

    from redis.asyncio import Redis

    from streams.redis.essential import Word
    from streams.redis.event_log import Event

_DERIVED: Final = {keys.SNAPSHOTS: "hash", keys.EVENTS: "stream", keys.LEADER: "string"}
"""The keys, and their types, of what is replaced again and again."""


class SnapshotStore:
    """The snapshot and the log of events in one Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._recent = RecentEvents()

    async def renew_leadership(self, process: str, for_s: float) -> bool:
        """Return whether ``process`` takes the snapshots for the next ``for_s`` seconds.

        Normally only one process does; two at once only repeat work.
        """
        return await lease.renew(self._redis, keys.LEADER, process, for_s)

    async def end_leadership(self, process: str) -> None:
        """Let another process take the snapshots at once, if ``process`` takes them."""
        await lease.end(self._redis, keys.LEADER, process)

    async def remove_damaged(self) -> None:
        """Remove what keeps snapshots from being written: keys that have another type."""
        await remove_wrong_types(self._redis, _DERIVED)

    async def write(
        self,
        snapshot: Mapping[str, bytes],
        *,
        told: Collection[str] = ROLLING,
        removed: Iterable[str] | None = None,
    ) -> None:
        """Write a snapshot and the event that announces it, in one step.

        It goes on while Redis is full (:mod:`streams.redis.essential`).

        Args:
            snapshot: its parts.
            told: the windows that the event is about; without one, there is no event.
            removed: the parts that there are no more; all others that are not in ``snapshot`` stay.
                ``None`` if the snapshot is whole.
        """
        event = shares_fields(snapshot, told)
        commands: list[tuple[Word, ...]] = []
        if removed is None:
            commands += [("DEL", keys.SNAPSHOTS), *await self._trim_events()]
        elif gone := list(removed):
            commands.append(("HDEL", keys.SNAPSHOTS, *gone))
        commands += [("HSET", keys.SNAPSHOTS, name, part) for name, part in snapshot.items()]
        if event is not None:
            words = chain.from_iterable(event.items())
            commands.append(("XADD", keys.EVENTS, "*", *words))
        *_, added = await essential.run(self._redis, keys.SNAPSHOTS, commands)
        if event is not None:
            self._recent.add(EventId.parse(cast("bytes", added).decode()), event)

    async def _trim_events(self) -> list[tuple[Word, ...]]:
        """Return the commands that remove the events which are not kept any more."""
        # By the clock of the server that gives the events their ids.
        now_s, _ = await (await server_of(self._redis, keys.EVENTS)).time()
        # Trimmed exactly: approximate trimming keeps a few hundred entries more, and each of them
        # is large.
        commands: list[tuple[Word, ...]] = [
            ("XTRIM", keys.EVENTS, "MINID", "=", (now_s - KEPT_S) * 1000)
        ]
        if gone := self._recent.superseded(now_s * 1000):
            commands.append(("XDEL", keys.EVENTS, *map(str, gone)))
        return commands

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
