r"""Cells in Redis: claims written in one round trip a batch, sums read in one.

All state is here; a worker has none. The layout, for one series (``{p:POOL}:SOURCE``, or
``{n}:SOURCE`` for the network; the braces keep a pool's keys in one cluster slot):

=============================  ====================================================================
``mm:series``                  set of all series
``mm:SERIES:m:HOUR``           hash: minute of the hour -> claim; expires
``mm:SERIES:h:DAY``            hash: ``c``\ hour -> claim, ``r``\ hour -> roll-up; expires
``mm:SERIES:d``                hash: ``c``\ day -> claim, ``r``\ day -> roll-up; kept for ever
``mm:SERIES:meta``             hash: the first bucket of each tier, and the last report
``mm:snapshots``               hash: ``WINDOW/LEVEL[/COUNTRY]`` -> answer, ``pools``, ``at``
``mm:snapshots:leader``        who makes the snapshots; expires
=============================  ====================================================================

Numbers are counted from the epoch. A value is a sum over minutes, as in :mod:`streams.cells`.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from miningmap.messages import KINDS, Kind
from miningmap.settings import SettingsError
from miningmap.times import DAY_H, DAY_S, HOUR_MIN, HOUR_S, bucket
from streams.cells import Cell, Horizon, Series, series_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from miningmap.messages import Message
    from miningmap.settings import Redis as RedisSettings
    from miningmap.settings import Retention
    from streams.cells import Claim
    from streams.windows import Span, Tier

_SERIES: Final = "mm:series"
_SNAPSHOTS: Final = "mm:snapshots"
_LEADER: Final = "mm:snapshots:leader"
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


def connect(settings: RedisSettings) -> Redis:
    """A client by the settings. Nothing is sent until it is used.

    Raises:
        SettingsError: the URL is none of a Redis.
    """
    try:
        redis = Redis.from_url(
            settings.url.get_secret_value(), socket_timeout=10, socket_connect_timeout=5
        )
    except ValueError:  # its text can quote what was meant to be the password
        text = "MININGMAP_REDIS__URL: a URL such as redis://127.0.0.1:6379/0 is wanted"
        raise SettingsError(text) from None
    if settings.password:
        redis.connection_pool.connection_kwargs["password"] = settings.password.get_secret_value()
    return redis


def horizon(retention: Retention, now: datetime) -> Horizon:
    """What is still kept at ``now``."""
    return Horizon(
        bucket(now - timedelta(hours=retention.minutes_h), HOUR_S),
        bucket(now - timedelta(days=retention.hours_d), DAY_S),
    )


@dataclass(frozen=True)
class LastReport:
    """What a series said last."""

    end: datetime
    fetched_at: datetime
    simulated: bool


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
            pipe.sadd(_SERIES, *{_series_id(series_of(m)) for m, _ in claimed})
            for message, claims in claimed:
                args = (*self._head(message), *_claim_args(claims))
                pipe.evalsha(_LUA_SHA, 1, _key(series_of(message)), *args)
            return sum((await pipe.execute())[1:])

    def _head(self, message: Message) -> list[float]:
        kept = self._retention
        end, fetched_at = message.end.timestamp(), message.fetched_at.timestamp()
        return [kept.minutes_h, kept.hours_d, end, fetched_at, int(message.simulated)]

    # --- cells: read ---

    async def read(self, spans: Iterable[Span]) -> Sheet:
        """The cells of every series that sums over ``spans`` need. Two round trips."""
        ids = sorted(cast("set[bytes]", await self._redis.smembers(_SERIES)))
        every = [_series_from(raw.decode()) for raw in ids]
        wanted = _wanted(spans)
        async with self._redis.pipeline(transaction=False) as pipe:
            for series in every:
                pipe.hgetall(_key(series) + ":meta")
                for suffix, fields in wanted.items():
                    pipe.hmget(_key(series) + suffix, list(fields))
            replies = iter(await pipe.execute())
        return Sheet({s: _Lines.of(next(replies), wanted, replies) for s in every})

    # --- snapshots ---

    async def lead(self, who: str, for_s: float) -> bool:
        """Whether ``who`` makes the snapshots for the next seconds: one process at a time does."""
        await self._redis.set(_LEADER, who, nx=True, px=int(for_s * 1000))
        if await self._redis.get(_LEADER) != who.encode():
            return False
        await self._redis.pexpire(_LEADER, int(for_s * 1000))
        return True

    async def write_snapshots(self, snapshots: Mapping[str, bytes]) -> None:
        """Replace all snapshots by these, at once."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(_SNAPSHOTS)
            pipe.hset(_SNAPSHOTS, mapping=cast("Mapping[Any, Any]", snapshots))
            await pipe.execute()

    async def snapshot(self, name: str) -> bytes | None:
        """One snapshot as it was written."""
        return cast("bytes | None", await self._redis.hget(_SNAPSHOTS, name))

    async def snapshots(self) -> dict[str, bytes]:
        """All snapshots."""
        found = cast("dict[bytes, bytes]", await self._redis.hgetall(_SNAPSHOTS))
        return {name.decode(): value for name, value in found.items()}


class Sheet:
    """Cells that were read, of every series; what :class:`streams.cells.Cells` is offline."""

    def __init__(self, lines: Mapping[Series, _Lines]) -> None:
        self._lines = lines

    def series(self) -> Iterable[Series]:
        """Every (pool, source) that was ever heard of."""
        return self._lines.keys()

    def sum(self, series: Series, span: Span) -> Cell:
        """The sum of a series' cells over a span that was read."""
        result, cells = Cell(), self._lines[series].cells
        for tier, number in _buckets(span):
            if cell := cells.get((tier, number)):
                result.add(cell)
        return result

    def first(self, series: Series, tier: Tier) -> int | None:
        """The first bucket of a tier in which the series ever had a value."""
        value = self._lines[series].meta.get(f"first:{tier}".encode())
        return None if value is None else int(value)

    def last_report(self, series: Series) -> LastReport:
        """What the series said last."""
        meta = self._lines[series].meta
        return LastReport(
            datetime.fromtimestamp(float(meta[b"end"]), UTC),
            datetime.fromtimestamp(float(meta[b"fetched_at"]), UTC),
            meta[b"simulated"] == b"1",
        )


@dataclass(frozen=True)
class _Lines:
    meta: dict[bytes, bytes]
    cells: dict[tuple[Tier, int], Cell]

    @classmethod
    def of(
        cls,
        meta: dict[bytes, bytes],
        wanted: Mapping[str, Mapping[str, tuple[Tier, int]]],
        replies: Iterable[list[bytes | None]],
    ) -> _Lines:
        cells: dict[tuple[Tier, int], Cell] = {}
        for fields, values in zip(wanted.values(), replies, strict=False):
            for (field, where), value in zip(fields.items(), values, strict=True):
                if value is None or (field.startswith("r") and where in cells):
                    continue  # a direct claim, asked for first, wins over the roll-up
                cells[where] = _cell(value if field.startswith("r") else value[_RANK.size :])
        return cls(meta, cells)


def _buckets(span: Span) -> Iterable[tuple[Tier, int]]:
    """The cells that add up to a span; of hours, whole days are taken from the days' roll-ups."""
    numbers = span.buckets
    if span.tier != "hour":
        return [(span.tier, n) for n in numbers]
    days = range(-(-numbers.start // DAY_H), numbers.stop // DAY_H)
    if not days:
        return [("hour", n) for n in numbers]
    head = range(numbers.start, days.start * DAY_H)
    tail = range(days.stop * DAY_H, numbers.stop)
    return [
        *(("hour", n) for n in head),
        *(("day", n) for n in days),
        *(("hour", n) for n in tail),
    ]


def _wanted(spans: Iterable[Span]) -> dict[str, dict[str, tuple[Tier, int]]]:
    """By the suffix of a key: the hash's fields to read, and whose value each is."""
    wanted: dict[str, dict[str, tuple[Tier, int]]] = {}
    for where in sorted({where for span in spans for where in _buckets(span)}):
        tier, number = where
        if tier == "minute":
            hour, minute = divmod(number, HOUR_MIN)
            wanted.setdefault(f":m:{hour}", {})[str(minute)] = where
            continue
        suffix, field = (
            (":d", number) if tier == "day" else (f":h:{number // DAY_H}", number % DAY_H)
        )
        wanted.setdefault(suffix, {}).update({f"c{field}": where, f"r{field}": where})
    return wanted


def _key(series: Series) -> str:
    subject = "n" if series.pool is None else f"p:{series.pool}"
    return f"mm:{{{subject}}}:{series.source}"


def _series_id(series: Series) -> str:
    return f"{series.pool or ''}/{series.source}"


def _series_from(text: str) -> Series:
    pool, _, source = text.partition("/")
    return Series(pool or None, source)


def _claim_args(claims: Sequence[Claim]) -> Iterable[str | int | bytes]:
    for claim in claims:
        value = _RANK.pack(*claim.rank) + _pack(_packed(claim.cell))
        yield from (_TIER_LETTER[claim.tier], claim.buckets[0], claim.buckets[-1], value)


def _packed(cell: Cell) -> _Packed:
    places = {f"{code}/{_KIND_LETTER[kind]}": h for (code, kind), h in cell.places.items()}
    return _Packed(cell.minutes, cell.total, cell.simulated, places)


def _cell(raw: bytes) -> Cell:
    packed = _unpack(raw)
    places = {_place(name): h for name, h in packed.p.items()}
    return Cell(packed.n, packed.t, places, packed.s)


@cache
def _place(name: str) -> tuple[str, Kind]:
    code, _, letter = name.partition("/")
    return code, next(kind for kind in KINDS if kind[0] == letter)
