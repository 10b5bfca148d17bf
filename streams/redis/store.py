r"""Cells in Redis: claims written in one round trip a batch, sums read in one.

All state is here; a worker has none. The layout, for one series (``{p:POOL}:SOURCE``, or
``{n}:SOURCE`` for the network; the braces keep a pool's keys in one cluster slot):

=============================  ====================================================================
``mm:series``                  set of all series
``mm:SERIES:m:HOUR``           hash: minute of the hour -> claim; expires
``mm:SERIES:h:DAY``            hash: ``c``\ hour -> claim, ``r``\ hour -> roll-up; expires
``mm:SERIES:d``                hash: ``c``\ day -> claim, ``r``\ day -> roll-up; kept for ever
``mm:SERIES:published``        hash: a month's first day -> claim, whose value is the table that was
                               published of it, line by line; kept for ever
``mm:SERIES:meta``             hash: the first bucket of each tier, the last report, and a stamp,
                               which is another one whenever a cell is
``mm:refused``                 hash: pool -> the newest :class:`Refusal` of it
``mm:snapshots``               hash: ``WINDOW/LEVEL[/COUNTRY]`` -> answer, ``pools``, ``at``
``mm:snapshots:leader``        who makes the snapshots; expires
``mm:events``                  stream of an hour: an entry for each event, as in
                               :mod:`streams.redis.event_log`
=============================  ====================================================================

Numbers count from the epoch. A value is a sum over minutes, as in :mod:`streams.method.cells`.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from itertools import chain, starmap
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import msgspec
from redis.exceptions import NoScriptError

from miningmap.api.models import Refusal
from miningmap.messages import KINDS, Kind, Published, Report
from miningmap.times import DAY_H, DAY_S, HOUR_MIN, HOUR_S, bucket, utc_now
from streams.method.cells import Cell, Horizon, Part, Series, parts_of, series_of
from streams.redis.event_log import KEPT_S, EventId, event_of, shares_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from redis.asyncio import Redis

    from miningmap.messages import Message
    from miningmap.settings import Retention
    from streams.method.cells import Claim
    from streams.method.windows import Span, Tier
    from streams.redis.event_log import Event

_SERIES: Final = "mm:series"
_REFUSED: Final = "mm:refused"
_SNAPSHOTS: Final = "mm:snapshots"
_LEADER: Final = "mm:snapshots:leader"
_EVENTS: Final = "mm:events"
_STAMP: Final = b"stamp"
_RANK: Final = struct.Struct(">ddddd")
_TIER_LETTER: Final[dict[Tier, str]] = {"minute": "m", "hour": "h", "day": "d"}
_KIND_LETTER: Final[dict[Kind, str]] = {kind: kind[0] for kind in KINDS}
_LUA: Final = files(__package__).joinpath("claim.lua").read_text()
# The name by which Redis knows a script; no secret hangs on it.
_LUA_SHA: Final = hashlib.sha1(_LUA.encode(), usedforsecurity=False).hexdigest()


class _Packed(msgspec.Struct):
    """A cell as Redis has it; the Lua script reads and writes the same."""

    n: int
    t: float
    s: bool
    p: dict[str, float] = {}


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Packed).decode
_unpack_published = msgspec.msgpack.Decoder(tuple[Published, ...]).decode


def horizon(retention: Retention, now: datetime) -> Horizon:
    """What is still kept at ``now``.

    Minutes for no longer than hours, whatever the settings say: a day is rolled up from all of its
    hours, so nothing may claim a part of one whose hours are gone.
    """
    minutes_from = bucket(now - timedelta(hours=retention.minutes_h), HOUR_S)
    hours_from = bucket(now - timedelta(days=retention.hours_d), DAY_S)
    return Horizon(max(minutes_from, hours_from * DAY_H), hours_from)


@dataclass(frozen=True)
class LastReport:
    """What a series said last.

    ``blocks`` is how many blocks its hashrate follows from, ``None`` where a pool reports it.
    """

    end: datetime
    fetched_at: datetime
    simulated: bool
    blocks: int | None


_refusal = msgspec.json.Decoder(Refusal)


class Store:
    """The cells and the snapshots in one Redis."""

    def __init__(self, redis: Redis, retention: Retention) -> None:
        self._redis = redis
        self._retention = retention

    # --- cells: write ---

    async def write(self, claimed: Sequence[tuple[Message, Sequence[Claim]]]) -> int:
        """Let messages claim their buckets; how many cells changed. One round trip.

        Raises:
            redis.RedisError: not written, or not known whether; writing again is harmless.
        """
        if not claimed:
            return 0
        try:
            return await self._write(claimed)
        except NoScriptError:  # a Redis that is new, or was started anew
            await self._redis.script_load(_LUA)
            return await self._write(claimed)

    async def _write(self, claimed: Sequence[tuple[Message, Sequence[Claim]]]) -> int:
        async with self._redis.pipeline(transaction=False) as pipe:
            by_series: dict[Series, list[tuple[Message, Sequence[Claim]]]] = {}
            for message, claims in claimed:
                by_series.setdefault(series_of(message), []).append((message, claims))
            pipe.sadd(_SERIES, *map(_series_id, by_series))
            for series, said in by_series.items():
                last = max((message for message, _ in said), key=lambda message: message.end)
                args = chain.from_iterable(starmap(_claim_args, said))
                pipe.evalsha(_LUA_SHA, 1, _key(series), *self._head(last), *args)
            return sum((await pipe.execute())[1:])

    def _head(self, message: Message) -> list[float | str]:
        kept = self._retention
        end, fetched_at = message.end.timestamp(), message.fetched_at.timestamp()
        blocks = message.blocks if isinstance(message, Report) else None
        said = "" if blocks is None else blocks
        return [kept.minutes_h, kept.hours_d, end, fetched_at, int(message.simulated), said]

    # --- cells: read ---

    async def read(self, spans: Iterable[Span], earlier: Sheet | None = None) -> Sheet:
        """The cells of every series that sums over ``spans`` need. Three round trips.

        A series whose stamp is still the one of an ``earlier`` sheet has not changed since: only
        the cells that the earlier sheet lacks are read of it.
        """
        sums = frozenset(spans)
        parts = frozenset(part for span in sums for part in parts_of(span))
        before = earlier or Sheet(frozenset(), {})
        # The stamps are read before the cells and after them: what changed in between is used once,
        # and not remembered.
        metas = await self._metas()
        unchanged = {s for s, meta in metas.items() if before.is_still(s, meta)}
        every, lacking = _fields(parts), _fields(parts - before.parts)
        found = await self._cells({s: lacking if s in unchanged else every for s in metas})
        lines = {s: _Line(meta, *found[s]) for s, meta in metas.items()}
        for series in unchanged:
            lines[series].take(before.lines[series], parts, sums)
        return Sheet(parts, lines)

    async def _series(self) -> list[Series]:
        ids = sorted(cast("set[bytes]", await self._redis.smembers(_SERIES)))
        return [_series_from(raw.decode()) for raw in ids]

    async def _metas(self) -> dict[Series, dict[bytes, bytes]]:
        every = await self._series()
        async with self._redis.pipeline(transaction=False) as pipe:
            for series in every:
                pipe.hgetall(_key(series) + ":meta")
            metas = zip(every, await pipe.execute(), strict=True)
        # A series whose first cell is being written is listed, and has nothing yet.
        return {series: meta for series, meta in metas if meta}

    async def _cells(self, fields: Mapping[Series, _Fields]) -> dict[Series, _Read]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for series, keys in fields.items():
                for suffix, parts in keys.items():
                    pipe.hmget(_key(series) + suffix, list(parts))
                pipe.hget(_key(series) + ":meta", _STAMP.decode())
            replies = iter(await pipe.execute())
        return {s: (_packed_cells(keys, replies), next(replies)) for s, keys in fields.items()}

    # --- tables that were published ---

    async def published(self) -> dict[Series, Tables]:
        """Of every pool's source the tables that it published; of most none."""
        every = await self._series()
        async with self._redis.pipeline(transaction=False) as pipe:
            for series in every:
                pipe.hgetall(_key(series) + ":published")
            found = zip(every, await pipe.execute(), strict=True)
        return {
            series: {int(day): _unpack_published(raw[_RANK.size :]) for day, raw in tables.items()}
            for series, tables in found
        }

    async def stamp(self, series: Series) -> bytes | None:
        """The stamp of a series: another one whenever a cell or a table of it is."""
        return cast("bytes | None", await self._redis.hget(_key(series) + ":meta", _STAMP.decode()))

    # --- what was refused ---

    async def note_refused(self, newest: Mapping[str, Refusal]) -> None:
        """Keep the newest refusal of each pool; older ones than are known change nothing.

        For one caller at a time, such as the reader of the one partition of dead letters.
        """
        if not newest:
            return
        known = await self.refused()
        fresh = {
            pool: msgspec.json.encode(refusal)
            for pool, refusal in newest.items()
            if pool not in known or known[pool].at < refusal.at
        }
        if fresh:
            await self._redis.hset(_REFUSED, mapping=cast("Mapping[Any, Any]", fresh))

    async def refused(self) -> dict[str, Refusal]:
        """The newest refusal of each pool that ever had one."""
        found = cast("dict[bytes, bytes]", await self._redis.hgetall(_REFUSED))
        return {pool.decode(): _refusal.decode(raw) for pool, raw in found.items()}

    # --- snapshots ---

    async def lead(self, who: str, for_s: float) -> bool:
        """Whether ``who`` makes the snapshots for the next seconds: one process at a time does."""
        await self._redis.set(_LEADER, who, nx=True, px=int(for_s * 1000))
        if await self._redis.get(_LEADER) != who.encode():
            return False
        await self._redis.pexpire(_LEADER, int(for_s * 1000))
        return True

    async def write_snapshots(self, snapshots: Mapping[str, bytes]) -> None:
        """Replace all snapshots by these and tell of it in the log of events, at once."""
        oldest = int((utc_now().timestamp() - KEPT_S) * 1000)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(_SNAPSHOTS)
            pipe.hset(_SNAPSHOTS, mapping=cast("Mapping[Any, Any]", snapshots))
            # Trimmed exactly: entries are large, and few to Redis, which would keep some hundred.
            pipe.xadd(
                _EVENTS,
                cast("Any", shares_fields(snapshots)),
                minid=oldest,
                approximate=False,
            )
            await pipe.execute()

    async def snapshot(self, name: str) -> bytes | None:
        """One snapshot as it was written."""
        return cast("bytes | None", await self._redis.hget(_SNAPSHOTS, name))

    async def snapshots(self) -> dict[str, bytes]:
        """All snapshots."""
        found = cast("dict[bytes, bytes]", await self._redis.hgetall(_SNAPSHOTS))
        return {name.decode(): value for name, value in found.items()}

    # --- events ---

    async def events(self, after: EventId, *, most: int, wait_s: float) -> list[Event]:
        """The next events in the log, in order; waits for one if there is none yet."""
        block = max(1, round(wait_s * 1000))
        found = await self._redis.xread({_EVENTS: str(after)}, count=most, block=block)
        streams = cast("Sequence[tuple[bytes, Sequence[tuple[bytes, Any]]]]", found)
        return [event_of(*entry) for _, entries in streams for entry in entries]

    async def last_event(self) -> EventId | None:
        """The id of the newest event in the log."""
        found = cast("Sequence[tuple[bytes, Any]]", await self._redis.xrevrange(_EVENTS, count=1))
        return EventId.parse(found[0][0].decode()) if found else None


class Sheet:
    """The cells of every series that were read; offline, ``Cells`` takes its place."""

    def __init__(self, parts: frozenset[Part], lines: Mapping[Series, _Line]) -> None:
        self.parts = parts
        self.lines = lines

    def is_still(self, series: Series, meta: Mapping[bytes, bytes]) -> bool:
        """Whether what was read of a series is what Redis has."""
        line = self.lines.get(series)
        return line is not None and line.meta.get(_STAMP) == meta.get(_STAMP) == line.stamp_after

    def series(self) -> Iterable[Series]:
        """Every (pool, source) that was ever heard of."""
        return self.lines.keys()

    def sum(self, series: Series, span: Span) -> Cell:
        """The sum of a series' cells over a span that was read."""
        line = self.lines[series]
        if span not in line.sums:
            line.sums[span] = _add_up(map(line.cells.get, parts_of(span)))
        return line.sums[span]

    def first(self, series: Series, tier: Tier) -> int | None:
        """The first bucket of a tier in which the series ever had a value."""
        value = self.lines[series].meta.get(f"first:{tier}".encode())
        return None if value is None else int(value)

    def last_report(self, series: Series) -> LastReport:
        """What the series said last."""
        meta = self.lines[series].meta
        return LastReport(
            datetime.fromtimestamp(float(meta[b"end"]), UTC),
            datetime.fromtimestamp(float(meta[b"fetched_at"]), UTC),
            meta[b"simulated"] == b"1",
            int(meta[b"blocks"]) if meta.get(b"blocks") else None,
        )


@dataclass(frozen=True)
class _Line:
    """What was read of one series: cells as Redis has them, and their sums once asked for."""

    meta: Mapping[bytes, bytes]
    cells: dict[Part, bytes]
    stamp_after: bytes | None
    """The stamp once the cells had been read: another one than in ``meta`` if they changed."""
    sums: dict[Span, Cell] = field(default_factory=dict)

    def take(self, earlier: _Line, parts: frozenset[Part], sums: frozenset[Span]) -> None:
        """Take over what is still wanted; the rest is let go."""
        self.cells.update((part, raw) for part, raw in earlier.cells.items() if part in parts)
        self.sums.update((span, cell) for span, cell in earlier.sums.items() if span in sums)


Tables: TypeAlias = "Mapping[int, tuple[Published, ...]]"
"""What one source published of months, by their first days."""

_Read: TypeAlias = "tuple[dict[Part, bytes], bytes | None]"
"""What was read of a series: its cells, and the stamp that stood after them."""

_Fields: TypeAlias = "dict[str, dict[bytes, Part]]"
"""By the suffix of a key: the hash's fields to read, and whose value each is."""


def _fields(parts: Iterable[Part]) -> _Fields:
    fields: _Fields = {}
    for part in sorted(parts):
        tier, number = part
        if tier == "minute":
            hour, minute = divmod(number, HOUR_MIN)
            fields.setdefault(f":m:{hour}", {})[b"%d" % minute] = part
            continue
        suffix, name = (
            (":d", number) if tier == "day" else (f":h:{number // DAY_H}", number % DAY_H)
        )
        fields.setdefault(suffix, {}).update({b"c%d" % name: part, b"r%d" % name: part})
    return fields


def _packed_cells(fields: _Fields, replies: Iterator[list[bytes | None]]) -> dict[Part, bytes]:
    cells: dict[Part, bytes] = {}
    for parts, values in zip(fields.values(), replies, strict=False):
        for (name, part), value in zip(parts.items(), values, strict=True):
            rolled = name.startswith(b"r")
            if value is None or (rolled and part in cells):
                continue  # a direct claim, asked for first, wins over the roll-up
            cells[part] = value if rolled else value[_RANK.size :]
    return cells


def _add_up(cells: Iterable[bytes | None]) -> Cell:
    """As :func:`streams.method.cells.add_up`; a place's name is understood once, behind the sum."""
    minutes, total, simulated = 0, 0.0, False
    places: dict[str, float] = {}
    for cell in map(_unpack, filter(None, cells)):
        minutes += cell.n
        total += cell.t
        simulated |= cell.s
        for name, value in cell.p.items():
            places[name] = places.get(name, 0.0) + value
    named = sorted((_place(name), value) for name, value in places.items())
    return Cell(minutes, total, dict(named), simulated)


def _key(series: Series) -> str:
    subject = "n" if series.pool is None else f"p:{series.pool}"
    return f"mm:{{{subject}}}:{series.source}"


def _series_id(series: Series) -> str:
    return f"{series.pool or ''}/{series.source}"


def _series_from(text: str) -> Series:
    pool, _, source = text.partition("/")
    return Series(pool or None, source)


def _claim_args(message: Message, claims: Sequence[Claim]) -> Iterable[str | int | bytes]:
    for claim in claims:
        value = _RANK.pack(*claim.rank) + _pack(_packed(claim.cell))
        yield from (_TIER_LETTER[claim.tier], claim.buckets[0], claim.buckets[-1], value)
    if isinstance(message, Report) and message.published:
        # Of the rank that the cells have: the table and they go together.
        value = _RANK.pack(*claims[0].rank) + _pack(message.published)
        first = bucket(message.start, DAY_S)
        yield from ("p", first, first, value)


def _packed(cell: Cell) -> _Packed:
    places = {f"{code}/{_KIND_LETTER[kind]}": h for (code, kind), h in cell.places.items()}
    return _Packed(cell.minutes, cell.total, cell.simulated, places)


@cache
def _place(name: str) -> tuple[str, Kind]:
    code, _, letter = name.partition("/")
    return code, next(kind for kind in KINDS if kind[0] == letter)
