"""The store: all reads and writes of cells, snapshots and events in Redis.

All durable state of the streams service is here; what its processes keep in memory is a cache. The
keys are described in :mod:`streams.redis.keys`. Claims are written in one round trip per batch.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

import msgspec
from redis.exceptions import NoScriptError

from miningmap.api.models import Refusal
from miningmap.times import DAY_H, HOUR_MIN
from streams.method.cells import cell_keys, series_of
from streams.redis import keys, lease
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
from streams.redis.swing_store import SwingStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from redis.asyncio import Redis

    from miningmap.messages import Message, Published
    from miningmap.settings import Retention
    from streams.method.cells import CellKey, Claim, Series
    from streams.method.windows import Span, Tier
    from streams.redis.encoding import Argument
    from streams.redis.event_log import Event

    Claimed: TypeAlias = tuple[Message, Sequence[Claim]]
    """A message and its claims."""

    Tables: TypeAlias = Mapping[int, tuple[Published, ...]]
    """The tables that one source published, by the first day of their month."""

    _CellHash: TypeAlias = tuple[Tier, int]
    """Identifies a hash of a series:

    ``("minute", HOUR)`` has the minutes of an hour,
    ``("hour", DAY)`` has the hours of a day,
    ``("day", 0)`` has all days.
    """

    _Fields: TypeAlias = dict[_CellHash, dict[bytes, CellKey]]
    """The fields to read by hash, and the key of the cell that each one belongs to."""

    _CellsAndStamp: TypeAlias = tuple[dict[CellKey, bytes], bytes | None]
    """The encoded cells of a series, and its stamp after they had been read."""

_SCRIPT: Final = files(__package__).joinpath("claim.lua").read_text()
# Redis identifies a script by its SHA-1; the digest is not used for security.
_SCRIPT_SHA: Final = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()

_decode_rejection = msgspec.json.Decoder(Refusal).decode


class Written(NamedTuple):
    """What became of the claims of messages.

    Attributes:
        changed: how many cells changed.
        too_late: by the number of a message, the days whose hours are no longer kept and of which
            only a part had a report that this one does not outrank.
    """

    changed: int
    too_late: Mapping[int, Sequence[int]]


class Store:
    """The cells, the snapshots and the log of events in one Redis.

    Attributes:
        swings: the swings in the same Redis.
    """

    def __init__(self, redis: Redis, retention: Retention) -> None:
        self._redis = redis
        self._retention = retention
        self.swings = SwingStore(redis, retention)

    # --- cells: write ---

    async def write(self, claimed: Sequence[Claimed]) -> Written:
        """Write the claims of messages in one round trip.

        Raises:
            redis.RedisError: none or a part of the claims was written; all can be written again.
        """
        if not claimed:
            return Written(0, {})
        try:
            return await self._write(claimed)
        except NoScriptError:  # Redis is new or was restarted
            await self._redis.script_load(_SCRIPT)
            return await self._write(claimed)

    async def _write(self, claimed: Sequence[Claimed]) -> Written:
        by_series: dict[Series, list[int]] = {}
        for number, (message, _) in enumerate(claimed):
            by_series.setdefault(series_of(message), []).append(number)
        # Of each series, the number of the message that makes each claim.
        claimants: list[list[int]] = []
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.sadd(keys.SERIES, *map(encode_series, by_series))
            for series, numbers in by_series.items():
                batch = [claimed[number] for number in numbers]
                last = max((message for message, _ in batch), key=lambda message: message.end)
                touched = claim_keys(series, chain.from_iterable(claims for _, claims in batch))
                encoded = [(n, each) for n in numbers for each in claim_arguments(*claimed[n])]
                claimants.append([n for n, _ in encoded])
                arguments: list[Argument] = [value for _, each in encoded for value in each]
                pipe.evalsha(
                    _SCRIPT_SHA,
                    len(touched),
                    *touched,
                    self._retention.minutes_h,
                    self._retention.hours_d,
                    *report_arguments(last),
                    *arguments,
                )
            _, *replies = await pipe.execute()  # the first reply is SADD's
        too_late: dict[int, list[int]] = {}
        for numbers, (_, late) in zip(claimants, replies, strict=True):
            for claim, day in zip(late[::2], late[1::2], strict=True):
                too_late.setdefault(numbers[claim], []).append(day)
        return Written(sum(changed for changed, _ in replies), too_late)

    # --- cells: read ---

    async def read(self, spans: Iterable[Span], earlier: LoadedCells | None = None) -> LoadedCells:
        """Read, for every series, the cells needed to sum over ``spans``, in three round trips.

        A series whose stamp is still the one in ``earlier`` has not changed since then. Of such a
        series only those cells are read that ``earlier`` does not have.
        """
        needed_spans = frozenset(spans)
        needed_keys = frozenset(key for span in needed_spans for key in cell_keys(span))
        known = earlier or LoadedCells(frozenset(), {})
        # The stamps are read before the cells and again after them: cells that changed in between
        # are used once, and read again the next time.
        metas = await self._metas()
        unchanged = {series for series, meta in metas.items() if known.is_current(series, meta)}
        all_fields, new_fields = _fields(needed_keys), _fields(needed_keys - known.keys)
        found = await self._cells({s: new_fields if s in unchanged else all_fields for s in metas})
        loaded = {}
        for series, meta in metas.items():
            cells, stamp = found[series]
            loaded[series] = SeriesCells(meta=meta, cells=cells, stamp_after=stamp)
            if series in unchanged:
                loaded[series].reuse(known.by_series[series], needed_keys, needed_spans)
        return LoadedCells(needed_keys, loaded)

    async def _all_series(self) -> list[Series]:
        entries = cast("set[bytes]", await self._redis.smembers(keys.SERIES))
        return [decode_series(entry) for entry in sorted(entries)]

    async def _metas(self) -> dict[Series, dict[bytes, bytes]]:
        all_series = await self._all_series()
        async with self._redis.pipeline(transaction=False) as pipe:
            for series in all_series:
                pipe.hgetall(keys.meta(series))
            metas = zip(all_series, await pipe.execute(), strict=True)
        # A series without meta data is listed but has no cell yet: skip it.
        return {series: meta for series, meta in metas if meta}

    async def _cells(self, fields: Mapping[Series, _Fields]) -> dict[Series, _CellsAndStamp]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for series, hashes in fields.items():
                for cell_hash, names in hashes.items():
                    pipe.hmget(_key(series, cell_hash), list(names))
                pipe.hget(keys.meta(series), STAMP)
            replies = await pipe.execute()
        found: dict[Series, _CellsAndStamp] = {}
        start = 0
        for series, hashes in fields.items():
            end = start + len(hashes)
            found[series] = _cells_of(hashes, replies[start:end]), replies[end]
            start = end + 1
        return found

    # --- published tables ---

    async def published(self) -> dict[Series, Tables]:
        """Return the tables that each source published; most sources published none."""
        all_series = await self._all_series()
        async with self._redis.pipeline(transaction=False) as pipe:
            for series in all_series:
                pipe.hgetall(keys.published(series))
            found = zip(all_series, await pipe.execute(), strict=True)
        return {
            series: {int(day): decode_claimed_table(claim) for day, claim in tables.items()}
            for series, tables in found
        }

    async def stamp(self, series: Series) -> bytes | None:
        """Return the stamp of a series, which changes when its cells or tables do."""
        return cast("bytes | None", await self._redis.hget(keys.meta(series), STAMP))

    # --- rejected readings ---

    async def write_rejections(self, newest: Mapping[str, Refusal]) -> None:
        """Write those rejected readings that are newer than the stored one of their pool.

        Not atomic: only one process may call it. Dead letters have one partition, so only one
        process reads them.
        """
        if not newest:
            return
        stored = await self.rejections()
        newer = {
            pool: msgspec.json.encode(rejection)
            for pool, rejection in newest.items()
            if pool not in stored or stored[pool].at < rejection.at
        }
        if newer:
            await self._redis.hset(keys.REJECTED, mapping=cast("Mapping[Any, Any]", newer))

    async def rejections(self) -> dict[str, Refusal]:
        """Return the newest rejected reading of each pool that ever had one."""
        found = cast("dict[bytes, bytes]", await self._redis.hgetall(keys.REJECTED))
        return {pool.decode(): _decode_rejection(raw) for pool, raw in found.items()}

    # --- the snapshot ---

    async def renew_leadership(self, process: str, for_s: float) -> bool:
        """Return whether ``process`` takes the snapshots for the next ``for_s`` seconds.

        Normally only one process does; two at once only repeat work.
        """
        return await lease.renew(self._redis, keys.LEADER, process, for_s)

    async def write_snapshot(self, snapshot: Mapping[str, bytes]) -> None:
        """Replace the snapshot and add the event that announces it, in one transaction."""
        # By the clock of Redis, which the ids of the events come from too.
        now_s, _ = await self._redis.time()
        oldest_ms = (now_s - KEPT_S) * 1000
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(keys.SNAPSHOTS)
            pipe.hset(keys.SNAPSHOTS, mapping=cast("Mapping[Any, Any]", snapshot))
            # Trimmed exactly: approximate trimming keeps a few hundred entries more, and each of
            # them is large.
            pipe.xadd(
                keys.EVENTS,
                cast("Any", shares_fields(snapshot)),
                minid=oldest_ms,
                approximate=False,
            )
            await pipe.execute()

    async def snapshot_part(self, name: str) -> bytes | None:
        """Return one part of the snapshot as it was written, or ``None`` if there is none."""
        return cast("bytes | None", await self._redis.hget(keys.SNAPSHOTS, name))

    async def snapshot(self) -> dict[str, bytes]:
        """Return all parts of the snapshot by name; empty before the first snapshot."""
        parts = cast("dict[bytes, bytes]", await self._redis.hgetall(keys.SNAPSHOTS))
        return {name.decode(): value for name, value in parts.items()}

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


def _fields(cell_keys: Iterable[CellKey]) -> _Fields:
    """Return the fields of each hash in which these cells are.

    A minute has one field. An hour or a day has two, for its direct claim (``c``) and its roll-up
    (``r``), as described in :mod:`streams.redis.keys`.
    """
    fields: _Fields = {}
    for key in sorted(cell_keys):
        tier, number = key
        if tier == "minute":
            hour, minute = divmod(number, HOUR_MIN)
            fields.setdefault((tier, hour), {})[b"%d" % minute] = key
            continue
        day, name = (0, number) if tier == "day" else divmod(number, DAY_H)
        fields.setdefault((tier, day), {}).update({b"c%d" % name: key, b"r%d" % name: key})
    return fields


def _key(series: Series, cell_hash: _CellHash) -> str:
    tier, number = cell_hash
    if tier == "day":
        return keys.days(series)
    return keys.minutes(series, number) if tier == "minute" else keys.hours(series, number)


def _cells_of(fields: _Fields, replies: Sequence[list[bytes | None]]) -> dict[CellKey, bytes]:
    """Return the encoded cells in the values of ``fields``, one reply per hash, without ranks."""
    cells: dict[CellKey, bytes] = {}
    for names, values in zip(fields.values(), replies, strict=True):
        for (name, key), value in zip(names.items(), values, strict=True):
            is_roll_up = name.startswith(b"r")
            if value is None or (is_roll_up and key in cells):
                continue  # a direct claim takes precedence; its field comes before the roll-up's
            cells[key] = value if is_roll_up else value[RANK.size :]
    return cells
