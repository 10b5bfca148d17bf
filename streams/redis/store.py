"""The store: all reads and writes of cells, snapshots and events in Redis.

All state of the streams service is here; its processes keep none. The keys are described in
:mod:`streams.redis.keys`. Claims are written in one round trip a batch.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from importlib.resources import files
from itertools import chain, starmap
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import msgspec
from redis.exceptions import NoScriptError

from miningmap.api.models import Refusal
from miningmap.times import DAY_H, DAY_S, HOUR_MIN, HOUR_S, bucket
from streams.method.cells import Horizon, cell_keys, series_of
from streams.redis import keys
from streams.redis.encoding import (
    RANK,
    claim_arguments,
    claim_keys,
    decode_claimed_table,
    decode_series,
    encode_series,
    report_arguments,
)
from streams.redis.event_log import KEPT_S, EventId, event_of, shares_fields
from streams.redis.loaded_cells import STAMP, LoadedCells, SeriesCells

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from redis.asyncio import Redis

    from miningmap.messages import Message, Published
    from miningmap.settings import Retention
    from streams.method.cells import CellKey, Claim, Series
    from streams.method.windows import Span, Tier
    from streams.redis.event_log import Event

    Claimed: TypeAlias = tuple[Message, Sequence[Claim]]
    """A message and its claims."""

    Tables: TypeAlias = Mapping[int, tuple[Published, ...]]
    """The tables that one source published, by the first days of their months."""

    _HashId: TypeAlias = tuple[Tier, int]
    """Which hash of a series: of the minutes of an hour, the hours of a day, or (0) of all days."""

    _Fields: TypeAlias = dict[_HashId, dict[bytes, CellKey]]
    """By hash: the fields to read, and the cell that each belongs to."""

    _Found: TypeAlias = tuple[dict[CellKey, bytes], bytes | None]
    """What was read of a series: its cells, and its stamp after they had been read."""

_SCRIPT: Final = files(__package__).joinpath("claim.lua").read_text()
# Redis identifies a script by this digest; it protects nothing.
_SCRIPT_SHA: Final = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()

_decode_rejection = msgspec.json.Decoder(Refusal).decode


def horizon(retention: Retention, now: datetime) -> Horizon:
    """Return the oldest cells that are still kept at ``now``.

    Minutes are never kept longer than hours, whatever the settings say: a day is rolled up from
    all of its hours, so no claim may touch a part of a day whose hours are gone.
    """
    minutes_from = bucket(now - timedelta(hours=retention.minutes_h), HOUR_S)
    hours_from = bucket(now - timedelta(days=retention.hours_d), DAY_S)
    return Horizon(max(minutes_from, hours_from * DAY_H), hours_from)


class Store:
    """The cells, the snapshots and the log of events in one Redis."""

    def __init__(self, redis: Redis, retention: Retention) -> None:
        self._redis = redis
        self._retention = retention

    # --- cells: write ---

    async def write(self, claimed: Sequence[Claimed]) -> int:
        """Let messages claim their buckets, in one round trip; return how many cells changed.

        Raises:
            redis.RedisError: nothing or a part was written; writing it again is harmless.
        """
        if not claimed:
            return 0
        try:
            return await self._write(claimed)
        except NoScriptError:  # Redis is new, or was restarted
            await self._redis.script_load(_SCRIPT)
            return await self._write(claimed)

    async def _write(self, claimed: Sequence[Claimed]) -> int:
        by_series: dict[Series, list[Claimed]] = {}
        for message, claims in claimed:
            by_series.setdefault(series_of(message), []).append((message, claims))
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.sadd(keys.SERIES, *map(encode_series, by_series))
            for series, batch in by_series.items():
                last = max((message for message, _ in batch), key=lambda message: message.end)
                touched = claim_keys(series, chain.from_iterable(claims for _, claims in batch))
                arguments = chain.from_iterable(starmap(claim_arguments, batch))
                pipe.evalsha(
                    _SCRIPT_SHA,
                    len(touched),
                    *touched,
                    self._retention.minutes_h,
                    self._retention.hours_d,
                    *report_arguments(last),
                    *arguments,
                )
            return sum((await pipe.execute())[1:])

    # --- cells: read ---

    async def read(self, spans: Iterable[Span], earlier: LoadedCells | None = None) -> LoadedCells:
        """Return the cells of every series that sums over ``spans`` need. Three round trips.

        A series whose stamp is still the one in ``earlier`` has not changed since; only those of
        its cells that ``earlier`` lacks are read.
        """
        sums = frozenset(spans)
        wanted = frozenset(key for span in sums for key in cell_keys(span))
        before = earlier or LoadedCells(frozenset(), {})
        # The stamps are read before the cells and again after them: cells that changed in between
        # are used once, and read again the next time.
        metas = await self._metas()
        unchanged = {s for s, meta in metas.items() if before.is_current(s, meta)}
        every, missing = _fields(wanted), _fields(wanted - before.keys)
        found = await self._cells({s: missing if s in unchanged else every for s in metas})
        loaded = {s: SeriesCells(meta, *found[s]) for s, meta in metas.items()}
        for series in unchanged:
            loaded[series].reuse(before.by_series[series], wanted, sums)
        return LoadedCells(wanted, loaded)

    async def _series(self) -> list[Series]:
        found = cast("set[bytes]", await self._redis.smembers(keys.SERIES))
        return [decode_series(encoded) for encoded in sorted(found)]

    async def _metas(self) -> dict[Series, dict[bytes, bytes]]:
        every = await self._series()
        async with self._redis.pipeline(transaction=False) as pipe:
            for series in every:
                pipe.hgetall(keys.meta(series))
            metas = zip(every, await pipe.execute(), strict=True)
        # A series is listed before its first cell is written.
        return {series: meta for series, meta in metas if meta}

    async def _cells(self, fields: Mapping[Series, _Fields]) -> dict[Series, _Found]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for series, hashes in fields.items():
                for hash_id, names in hashes.items():
                    pipe.hmget(_hash_key(series, hash_id), list(names))
                pipe.hget(keys.meta(series), STAMP)
            replies = iter(await pipe.execute())
        return {s: (_found_cells(hashes, replies), next(replies)) for s, hashes in fields.items()}

    # --- published tables ---

    async def published(self) -> dict[Series, Tables]:
        """Return the tables that each source published; most sources published none."""
        every = await self._series()
        async with self._redis.pipeline(transaction=False) as pipe:
            for series in every:
                pipe.hgetall(keys.published(series))
            found = zip(every, await pipe.execute(), strict=True)
        return {
            series: {int(day): decode_claimed_table(claim) for day, claim in tables.items()}
            for series, tables in found
        }

    async def stamp(self, series: Series) -> bytes | None:
        """Return a series' stamp, which changes with every change of its cells and tables."""
        return cast("bytes | None", await self._redis.hget(keys.meta(series), STAMP))

    # --- rejected readings ---

    async def write_rejections(self, newest: Mapping[str, Refusal]) -> None:
        """Keep the newest rejected reading of each pool; older ones change nothing.

        For one caller at a time, such as the reader of the one partition of dead letters.
        """
        if not newest:
            return
        known = await self.rejections()
        newer = {
            pool: msgspec.json.encode(rejection)
            for pool, rejection in newest.items()
            if pool not in known or known[pool].at < rejection.at
        }
        if newer:
            await self._redis.hset(keys.REJECTED, mapping=cast("Mapping[Any, Any]", newer))

    async def rejections(self) -> dict[str, Refusal]:
        """Return the newest rejected reading of each pool that ever had one."""
        found = cast("dict[bytes, bytes]", await self._redis.hgetall(keys.REJECTED))
        return {pool.decode(): _decode_rejection(raw) for pool, raw in found.items()}

    # --- snapshots ---

    async def lead(self, process: str, for_s: float) -> bool:
        """Whether a process takes the snapshots for the next seconds: only one at a time does."""
        await self._redis.set(keys.LEADER, process, nx=True, px=int(for_s * 1000))
        if await self._redis.get(keys.LEADER) != process.encode():
            return False
        await self._redis.pexpire(keys.LEADER, int(for_s * 1000))
        return True

    async def write_snapshots(self, snapshots: Mapping[str, bytes]) -> None:
        """Replace all snapshots and add the event for it, in one transaction."""
        # By the clock of Redis, which the ids of the events come from too.
        now_s, _ = await self._redis.time()
        oldest_ms = (now_s - KEPT_S) * 1000
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(keys.SNAPSHOTS)
            pipe.hset(keys.SNAPSHOTS, mapping=cast("Mapping[Any, Any]", snapshots))
            # Trimmed exactly: approximate trimming keeps some hundred entries more than asked for,
            # and these are large.
            pipe.xadd(
                keys.EVENTS,
                cast("Any", shares_fields(snapshots)),
                minid=oldest_ms,
                approximate=False,
            )
            await pipe.execute()

    async def snapshot(self, name: str) -> bytes | None:
        """Return one snapshot as it was written."""
        return cast("bytes | None", await self._redis.hget(keys.SNAPSHOTS, name))

    async def snapshots(self) -> dict[str, bytes]:
        """Return all snapshots by name."""
        found = cast("dict[bytes, bytes]", await self._redis.hgetall(keys.SNAPSHOTS))
        return {name.decode(): value for name, value in found.items()}

    # --- events ---

    async def events(self, after: EventId, *, most: int, wait_s: float) -> list[Event]:
        """Return the next events in the log, in order; wait for one if there is none yet."""
        block = max(1, round(wait_s * 1000))
        found = await self._redis.xread({keys.EVENTS: str(after)}, count=most, block=block)
        streams = cast("Sequence[tuple[bytes, Sequence[tuple[bytes, Any]]]]", found)
        return [event_of(*entry) for _, entries in streams for entry in entries]

    async def last_event(self) -> EventId | None:
        """Return the id of the newest event in the log, ``None`` if there is none."""
        newest = await self._redis.xrevrange(keys.EVENTS, count=1)
        found = cast("Sequence[tuple[bytes, Any]]", newest)
        return EventId.parse(found[0][0].decode()) if found else None


def _fields(wanted: Iterable[CellKey]) -> _Fields:
    fields: _Fields = {}
    for key in sorted(wanted):
        tier, number = key
        if tier == "minute":
            hour, minute = divmod(number, HOUR_MIN)
            fields.setdefault((tier, hour), {})[b"%d" % minute] = key
            continue
        day, name = (0, number) if tier == "day" else divmod(number, DAY_H)
        fields.setdefault((tier, day), {}).update({b"c%d" % name: key, b"r%d" % name: key})
    return fields


def _hash_key(series: Series, hash_id: _HashId) -> str:
    tier, number = hash_id
    if tier == "day":
        return keys.days(series)
    return keys.minutes(series, number) if tier == "minute" else keys.hours(series, number)


def _found_cells(fields: _Fields, replies: Iterator[list[bytes | None]]) -> dict[CellKey, bytes]:
    cells: dict[CellKey, bytes] = {}
    for names, values in zip(fields.values(), replies, strict=False):
        for (name, key), value in zip(names.items(), values, strict=True):
            rolled_up = name.startswith(b"r")
            if value is None or (rolled_up and key in cells):
                continue  # a direct claim, read before the roll-up, wins over it
            cells[key] = value if rolled_up else value[RANK.size :]
    return cells
