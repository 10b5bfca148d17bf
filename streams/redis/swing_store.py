"""The store of swings: what their detector remembers, and the events that it found, in Redis.

One minute is written in one transaction, which is refused if another process has written a minute
meanwhile. So each minute counts once, and what was found in it is written whole or not at all. The
keys are described in :mod:`streams.redis.keys`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

import msgspec
from redis import WatchError

from miningmap.swings import (
    SwingStatus,
    decode_status,
    decode_swing,
    encode_status,
    encode_swing,
    swing_id,
)
from miningmap.times import DAY_S, HOUR_MIN, MINUTE_S, bucket_start
from streams.method.comparison import HourDeltas
from streams.method.swings import Track
from streams.redis import keys, lease
from streams.redis.damage import remove_wrong_types
from streams.redis.event_log import swing_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime
    from typing import TypeAlias

    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

    from miningmap.settings import Retention
    from miningmap.swings import Swing

    History: TypeAlias = tuple[Swing, ...]
    """The events of one swing, the oldest first."""

_MINUTE: Final = "minute"
_TRACKS: Final = "tracks"
_STATUS: Final = "status"

_TYPES: Final = {
    keys.SWINGS: "hash",
    keys.SWING_HOURS: "hash",
    keys.SWING_LIST: "hash",
    keys.SWING_TIMES: "zset",
    keys.SWING_OUTBOX: "list",
    keys.SWING_LEADER: "string",
    keys.EVENTS: "stream",
}

T = TypeVar("T")

_decode_tracks = msgspec.json.Decoder(tuple[Track, ...]).decode
_decode_deltas = msgspec.json.Decoder(HourDeltas).decode
_decode_events = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True)
class Memory:
    """What the detector remembers, as it is stored.

    Attributes:
        minute: the last one that was evaluated; ``None`` if none was.
        tracks: of the subjects that are remembered.
        stored: the minute as it is stored, which tells whether it was replaced meanwhile.
        damage: what could not be read, and counts as missing.
    """

    minute: int | None = None
    tracks: tuple[Track, ...] = ()
    stored: bytes | None = None
    damage: tuple[str, ...] = ()


@dataclass(frozen=True)
class EvaluatedMinute:
    """What is written after the evaluation of a minute.

    Attributes:
        minute: its number.
        tracks: of the subjects that are remembered.
        status: what swings in this minute.
        events: those of this minute, in their order.
        hours: the deltas at the starts of hours that are new.
        first_hour: the first hour that is kept; the deltas of earlier ones are removed.
    """

    minute: int
    tracks: Sequence[Track]
    status: SwingStatus
    events: Sequence[Swing] = ()
    hours: Mapping[int, HourDeltas] = field(default_factory=dict)
    first_hour: int = 0


class Found(NamedTuple):
    """Swings that were found.

    Attributes:
        swings: their events.
        damage: what could not be read, and is left out.
    """

    swings: Sequence[History]
    damage: Sequence[str]


class SwingStore:
    """The swings in one Redis."""

    def __init__(self, redis: Redis, retention: Retention) -> None:
        self._redis = redis
        self._kept_s = retention.swings_d * DAY_S

    # --- one process at a time ---

    async def renew_leadership(self, process: str, for_s: float) -> bool:
        """Return whether ``process`` evaluates swings for the next ``for_s`` seconds.

        Normally only one process does; :meth:`write` is what makes each minute count once.
        """
        return await lease.renew(self._redis, keys.SWING_LEADER, process, for_s)

    async def end_leadership(self, process: str) -> None:
        """Let another process lead at once, if ``process`` does."""
        await lease.end(self._redis, keys.SWING_LEADER, process)

    async def remove_damaged(self) -> None:
        """Remove what can neither be read nor written: keys that have another type."""
        await remove_wrong_types(self._redis, _TYPES)

    # --- the memory of the detector ---

    async def memory(self) -> Memory:
        """Return what the detector remembers."""
        found = await self._redis.hmget(keys.SWINGS, [_MINUTE, _TRACKS])
        stored, tracks = cast("list[bytes | None]", found)
        damage: list[str] = []
        minute = _read(stored, _minute, f"{keys.SWINGS} {_MINUTE}", damage)
        if minute is not None and tracks is None:
            damage.append(f"{keys.SWINGS} {_TRACKS}: missing")
        return Memory(
            minute=minute,
            tracks=_read(tracks, _decode_tracks, f"{keys.SWINGS} {_TRACKS}", damage) or (),
            stored=stored,
            damage=tuple(damage),
        )

    async def hours(self) -> tuple[dict[int, HourDeltas], list[str]]:
        """Return the deltas by hour, and what could not be read and is left out."""
        found = cast("dict[bytes, bytes]", await self._redis.hgetall(keys.SWING_HOURS))
        damage: list[str] = []
        hours: dict[int, HourDeltas] = {}
        for name, encoded in found.items():
            where = f"{keys.SWING_HOURS} {name.decode(errors='replace')}"
            hour = _read(name, int, where, damage)
            deltas = _read(encoded, _decode_deltas, where, damage)
            if hour is not None and deltas is not None:
                hours[hour] = deltas
        return hours, damage

    async def status(self) -> SwingStatus | None:
        """Return what the last evaluated minute found.

        ``None`` before the first one, and if it cannot be read: the next minute replaces it.
        """
        encoded = cast("bytes | None", await self._redis.hget(keys.SWINGS, _STATUS))
        return _read(encoded, decode_status, keys.SWINGS, [])

    # --- write ---

    async def write(self, evaluated: EvaluatedMinute, after: Memory) -> Sequence[str] | None:
        """Write what was found in a minute, in one transaction.

        Args:
            evaluated: the minute.
            after: what was remembered before it.

        Returns:
            What could not be read of the swings that the events belong to, and is replaced.
            ``None`` if nothing was written, because another process has written a minute.

        Raises:
            redis.RedisError: the minute is written, or it is not.
        """
        async with self._redis.pipeline(transaction=True, shard_hint=keys.SWINGS) as pipe:
            await pipe.watch(keys.SWINGS)
            if await pipe.hget(keys.SWINGS, _MINUTE) != after.stored:
                return None
            damage: list[str] = []
            listed = await self._listed(pipe, evaluated.events, damage)
            old_swings = await self._old_swings(pipe, evaluated)
            old_hours = await _old_hours(pipe, evaluated)
            pipe.multi()  # type: ignore[no-untyped-call]
            _replace_memory(pipe, evaluated)
            _remove(pipe, old_swings, old_hours)
            _add_events(pipe, evaluated.events, listed)
            try:
                await pipe.execute()
            except WatchError:
                return None
            return damage

    async def _listed(
        self, pipe: Pipeline, events: Sequence[Swing], damage: list[str]
    ) -> dict[str, list[msgspec.Raw]]:
        """Return the earlier events of the swings that these events belong to."""
        ids = list({swing_id(event): None for event in events})
        if not ids:
            return {}
        found = cast("list[bytes | None]", await pipe.hmget(keys.SWING_LIST, ids))
        return {
            each: _read(encoded, _decode_events, f"{keys.SWING_LIST} {each}", damage) or []
            for each, encoded in zip(ids, found, strict=True)
        }

    async def _old_swings(self, pipe: Pipeline, evaluated: EvaluatedMinute) -> list[bytes]:
        """Return the ids of the swings that are no longer kept, without those that fire."""
        oldest = evaluated.minute * MINUTE_S - self._kept_s
        old = await pipe.zrangebyscore(keys.SWING_TIMES, "-inf", f"({oldest}")
        firing = {swing_id(event).encode() for event in evaluated.status.firing}
        return [each for each in cast("list[bytes]", old) if each not in firing]

    # --- the events ---

    async def since(self, at: datetime) -> Found:
        """Return the swings with an event at or after a time, that with the newest one first."""
        ids = await self._redis.zrevrangebyscore(keys.SWING_TIMES, "+inf", at.timestamp())
        return await self.swings([_text(each) for each in cast("list[bytes]", ids)])

    async def swings(self, ids: Sequence[str]) -> Found:
        """Return the swings with these ids; those that are not kept are left out."""
        if not ids:
            return Found([], [])
        found = cast("list[bytes | None]", await self._redis.hmget(keys.SWING_LIST, list(ids)))
        # In a thread: to decode those of a year would block the event loop.
        return await asyncio.to_thread(_found, ids, found)

    async def firing(self) -> Found:
        """Return the swings whose newest event says that they fire, of all that are kept."""
        listed = cast("dict[bytes, bytes]", await self._redis.hgetall(keys.SWING_LIST))
        ids = sorted(listed)
        encoded = [listed[each] for each in ids]
        found = await asyncio.to_thread(_found, list(map(_text, ids)), encoded)
        firing = [history for history in found.swings if history[-1].state == "firing"]
        return Found(firing, found.damage)

    # --- events for Kafka ---

    async def outbox(self, limit: int) -> list[bytes]:
        """Return the oldest events that are not in Kafka yet, as they were encoded."""
        found = await self._redis.lrange(keys.SWING_OUTBOX, 0, limit - 1)
        return cast("list[bytes]", found)

    async def remove_from_outbox(self, published: Iterable[bytes]) -> None:
        """Remove events that are in Kafka.

        Each is removed by its text, because another process may have removed it already.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            for encoded in published:
                pipe.lrem(keys.SWING_OUTBOX, 1, cast("Any", encoded))
            await pipe.execute()


def _read(
    encoded: bytes | None, decode: Callable[[bytes], T], where: str, damage: list[str]
) -> T | None:
    """Decode a value, or return ``None`` and add to ``damage`` what is wrong with it."""
    if encoded is None:
        return None
    try:
        return decode(encoded)
    except (ValueError, RecursionError) as error:  # msgspec's errors are a ValueError
        damage.append(f"{where}: {error}")
        return None


def _minute(encoded: bytes) -> int:
    minute = int(encoded)
    try:
        bucket_start(minute, MINUTE_S)
    except OverflowError as error:
        raise ValueError(f"{minute} is no minute: {error}") from None
    return minute


def _found(ids: Sequence[str], encoded: Sequence[bytes | None]) -> Found:
    damage: list[str] = []
    read = (
        _read(each, _history, f"{keys.SWING_LIST} {swing}", damage)
        for swing, each in zip(ids, encoded, strict=True)
    )
    return Found([history for history in read if history], damage)


def _text(swing: bytes) -> str:
    """Return an id; a damaged one is then that of no swing."""
    return swing.decode(errors="replace")


def _history(encoded: bytes) -> History:
    return tuple(map(decode_swing, _decode_events(encoded)))


async def _old_hours(pipe: Pipeline, evaluated: EvaluatedMinute) -> list[bytes]:
    """Return the hours that are not kept; they are looked for once an hour.

    Those of the future are from a clock that was wrong.
    """
    if not evaluated.hours:
        return []
    found = cast("list[bytes]", await pipe.hkeys(keys.SWING_HOURS))
    present = evaluated.minute // HOUR_MIN
    kept = {b"%d" % hour for hour in range(evaluated.first_hour, present + 1)}
    return [hour for hour in found if hour not in kept]


def _replace_memory(pipe: Pipeline, evaluated: EvaluatedMinute) -> None:
    pipe.hset(
        keys.SWINGS,
        mapping={
            _MINUTE: evaluated.minute,
            _TRACKS: msgspec.json.encode(evaluated.tracks),
            _STATUS: encode_status(evaluated.status),
        },
    )
    if evaluated.hours:
        encoded = {str(h): msgspec.json.encode(deltas) for h, deltas in evaluated.hours.items()}
        pipe.hset(keys.SWING_HOURS, mapping=cast("Mapping[Any, Any]", encoded))


def _remove(pipe: Pipeline, swings: Collection[bytes], hours: Collection[bytes]) -> None:
    if swings:
        pipe.hdel(keys.SWING_LIST, *cast("Collection[Any]", swings))
        pipe.zrem(keys.SWING_TIMES, *swings)
    if hours:
        pipe.hdel(keys.SWING_HOURS, *cast("Collection[Any]", hours))


def _add_events(
    pipe: Pipeline, events: Sequence[Swing], listed: Mapping[str, list[msgspec.Raw]]
) -> None:
    """Add events to the swings that they belong to, to the log and to what Kafka is to get."""
    for event in events:
        encoded = encode_swing(event)
        listed[swing_id(event)].append(msgspec.Raw(encoded))
        pipe.zadd(keys.SWING_TIMES, {swing_id(event): event.at.timestamp()})
        pipe.rpush(keys.SWING_OUTBOX, cast("Any", encoded))
        pipe.xadd(keys.EVENTS, cast("Any", swing_fields(encoded)))
    for each, history in listed.items():
        pipe.hset(keys.SWING_LIST, each, cast("Any", msgspec.json.encode(history)))
