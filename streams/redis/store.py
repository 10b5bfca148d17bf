"""The store: all reads and writes of cells, snapshots and events in Redis.

All durable state of the streams service is here; what its processes keep in memory is a cache. The
keys are described in :mod:`streams.redis.keys`.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

import msgspec
from redis.exceptions import NoScriptError, ResponseError

from miningmap.api.models import Refusal
from miningmap.messages import SLUG
from miningmap.redis_errors import cause_of
from miningmap.times import DAY_H, HOUR_MIN
from streams.method.cells import cell_keys
from streams.redis import essential, keys, lease
from streams.redis.damage import (
    described,
    is_damage,
    raise_other_errors,
    remove_wrong_types,
    replace_index,
    say_damaged,
)
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
from streams.redis.expiry import OLDEST_HOURS, OLDEST_MINUTES, Oldest, expired, first_kept
from streams.redis.generations import (
    ADVANCED,
    CURRENT,
    NEXT,
    Generations,
    NotAdvanced,
    RebuildingError,
)
from streams.redis.keys import Generation
from streams.redis.loaded_cells import STAMP, LoadedCells, SeriesCells
from streams.redis.pieces import Piece, numbers_by_series, pieces
from streams.redis.pool_quota import PoolQuota
from streams.redis.pool_sizes import PoolSizes
from streams.redis.scripts import script_of
from streams.redis.swing_store import SwingStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

    from miningmap.messages import Message, Published
    from miningmap.settings import Retention
    from streams.method.cells import CellKey, Claim, Series
    from streams.method.windows import Span, Tier
    from streams.redis.encoding import Argument
    from streams.redis.event_log import Event
    from streams.redis.generations import Partition, Range

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

_SCRIPT: Final = script_of("claim.lua")

_FIELDS_AT_ONCE: Final = 2000

_decode_rejection = msgspec.json.Decoder(Refusal).decode

_DERIVED: Final = {keys.SNAPSHOTS: "hash", keys.EVENTS: "stream", keys.LEADER: "string"}
"""The keys, and their types, of what is replaced again and again."""
_LONGEST_QUOTE: Final = 64
_NUMBER: Final = re.compile(rb"-?[0-9]{1,9}")
_CHECKED_AT_ONCE: Final = 2000
"""The number of cells that are checked without a thread: in some milliseconds."""


class Written(NamedTuple):
    """What became of the claims of messages.

    Attributes:
        changed: how many cells changed.
        too_late: by the number of a message, the days whose hours are no longer kept and of which
            only a part had a report that this one does not outrank.
        not_advanced: why the messages do not count as applied, if they do not.
        too_large: by the number of a message, why Redis refused it for its size.
        over_quota: by the number of a message that was left out, why its pool may not have more.
        damaged: the numbers of the messages whose series is damaged, so that they changed nothing.
    """

    changed: int
    too_late: Mapping[int, Sequence[int]]
    not_advanced: NotAdvanced = ADVANCED
    too_large: Mapping[int, str] = MappingProxyType({})
    over_quota: Mapping[int, str] = MappingProxyType({})
    damaged: Sequence[int] = ()


@dataclass
class _Outcome:
    """What became of a batch so far, by the numbers of its messages."""

    changed: int = 0
    too_late: dict[int, list[int]] = field(default_factory=dict)
    not_advanced: NotAdvanced = ADVANCED
    too_large: dict[int, str] = field(default_factory=dict)
    over_quota: dict[int, str] = field(default_factory=dict)
    damaged: set[int] = field(default_factory=set)
    begun: int | None = None
    """The message of which a part was written last."""

    def add(self, numbers: Sequence[int], written: Written) -> None:
        """Add what became of a piece, whose messages have these numbers."""
        self.changed += written.changed
        self.not_advanced = written.not_advanced
        for position, days in written.too_late.items():
            known = self.too_late.setdefault(numbers[position], [])
            known += [day for day in days if day not in known]
        self.damaged.update(numbers[position] for position in written.damaged)
        if numbers:
            self.begun = numbers[-1]

    @property
    def written(self) -> Written:
        """The outcome of the whole batch."""
        return Written(
            self.changed,
            self.too_late,
            self.not_advanced,
            self.too_large,
            self.over_quota,
            tuple(sorted(self.damaged)),
        )


@dataclass(frozen=True)
class Applied:
    """The messages of a batch, all of which are applied when its claims are written.

    Attributes:
        ranges: by partition, their offsets.
        at: the time of the oldest of them, UTC: no later message can change what was too old then.
        generation: the generation that they are applied to; ``None`` for the current one.
        repeatable: whether the caller reads them again if writing them fails half-way. Without, the
            positions are written only when all cells are, which takes a second round trip.
    """

    ranges: Mapping[Partition, Range]
    at: datetime
    generation: int | None = None
    repeatable: bool = True


class Store:
    """The cells, the snapshots and the log of events in one Redis.

    Reads of cells raise :class:`streams.redis.generations.RebuildingError` while Redis is empty or
    being filled, and are of one generation.

    Attributes:
        swings: the swings in the same Redis.
        generations: the generations of cells in the same Redis.
    """

    def __init__(self, redis: Redis, retention: Retention, pool_bytes: int = 0) -> None:
        """Read and write one Redis.

        Args:
            redis: where all is.
            retention: how long cells are kept.
            pool_bytes: how many bytes the cells of one pool may take; 0 for no limit.
        """
        self._quota = PoolQuota(PoolSizes(redis).bytes_of, pool_bytes)
        self._redis = redis
        self._retention = retention
        self._known = 0  # the number of the generation that was current when it was last read
        self.swings = SwingStore(redis, retention)
        self.generations = Generations(redis)

    async def reconnect(self) -> None:
        """Close all connections, so that the next command looks the server's address up again.

        After a failover the connections are to a replica, and they never end by themselves.
        """
        await self._redis.connection_pool.disconnect()

    # --- cells: write ---

    async def write(
        self,
        claimed: Sequence[Claimed],
        applied: Applied | None = None,
        *,
        rejected: Mapping[str, Refusal] | None = None,
    ) -> Written:
        """Write the claims of messages, after rejected readings if there are any.

        They are written in pieces of about equal work (:mod:`streams.redis.pieces`), so that no
        script keeps other clients waiting for long, and the positions with the last piece.

        Args:
            claimed: the messages, with their claims.
            rejected: of pools, rejected readings. Each is kept if it is newer than the stored one.
                Only one process may write them at a time: dead letters have one partition.
            applied: which messages of Kafka are applied with that. Without, they are of no
                partition, and a generation is begun if there is none.

        Raises:
            redis.RedisError: none or a part of the claims was written; all can be written again.
        """
        if applied is None and not claimed and not rejected:
            return Written(0, {})
        number = await self._number_to_write(applied)
        if number is None:
            return Written(0, {}, NotAdvanced(replaced=True, behind={}))
        if rejected:
            await self._write_rejections(Generation(number), rejected)
        try:
            return await self._write(Generation(number), claimed, applied)
        except NoScriptError:  # Redis is new or was restarted
            await self._redis.script_load(_SCRIPT.text)
            await self.generations.load_script()
            return await self._write(Generation(number), claimed, applied)

    async def _number_to_write(self, applied: Applied | None) -> int | None:
        """Return the generation to write to; ``None`` if there is none."""
        if applied is not None and applied.generation is not None:
            return applied.generation
        if applied is not None and self._known:
            return self._known
        current = await self.generations.current()
        if current is None and applied is None:
            await self.generations.begin({})
            current = await self.generations.current()
        self._known = current.number if current else 0
        return self._known or None

    async def _write(
        self, generation: Generation, claimed: Sequence[Claimed], applied: Applied | None
    ) -> Written:
        outcome = _Outcome()
        divided = list(pieces(claimed)) or [Piece()]
        for piece in divided:
            allowed = await self._allowed(generation, piece, outcome)
            is_last = piece is divided[-1]
            await self._write_allowed(generation, allowed, applied, outcome, is_last=is_last)
        return outcome.written

    async def _allowed(self, generation: Generation, piece: Piece, outcome: _Outcome) -> Piece:
        """Return the part of a piece whose pools may take more of Redis.

        A message of which an earlier piece was written is written to its end.
        """
        allowed = Piece()
        for number, (message, claims) in zip(piece.numbers, piece.claimed, strict=True):
            if number != outcome.begun and number not in outcome.over_quota:
                refusal = await self._quota.refusal(generation, message)
                if refusal is not None:
                    outcome.over_quota[number] = refusal
            if number not in outcome.over_quota:
                allowed.numbers.append(number)
                allowed.claimed.append((message, claims))
        return allowed

    async def _write_allowed(
        self,
        generation: Generation,
        piece: Piece,
        applied: Applied | None,
        outcome: _Outcome,
        *,
        is_last: bool,
    ) -> None:
        """Write a piece without the messages that Redis refuses for their size."""
        try:
            written = await self._write_at_once(generation, piece.claimed, applied, is_last=is_last)
        except ResponseError as error:
            if cause_of(error) != "too_large" or not piece.numbers:
                raise
            if len(piece.numbers) == 1:
                outcome.too_large[piece.numbers[0]] = f"Redis refuses it: {error}"
                parts = []
            else:  # the others are not to be lost with it
                whole = zip(piece.numbers, piece.claimed, strict=True)
                parts = [Piece([claimed], [number]) for number, claimed in whole]
            for part in parts:
                await self._write_allowed(generation, part, applied, outcome, is_last=False)
            if is_last:
                await self._write_allowed(generation, Piece(), applied, outcome, is_last=True)
        else:
            outcome.add(piece.numbers, written)

    async def _write_at_once(
        self,
        generation: Generation,
        claimed: Sequence[Claimed],
        applied: Applied | None,
        *,
        is_last: bool,
    ) -> Written:
        """Write claims in one round trip, and the positions if they are the last of a batch."""
        by_series = numbers_by_series(claimed)
        # Of each series, the number of the message that makes each claim.
        claimants: list[list[int]] = []
        async with self._redis.pipeline(transaction=False) as pipe:
            for series, numbers in by_series.items():
                claimants.append(_add_claims(pipe, generation, series, claimed, numbers))
            if by_series:
                pipe.sadd(generation.series, *map(encode_series, by_series))
            if applied and applied.repeatable and is_last:
                self._add_advance(pipe, generation, applied)
            replies = await pipe.execute(raise_on_error=False)
        damaged = await self._damaged(generation, by_series, replies)
        of_series = {s: r for s, r in zip(by_series, replies, strict=False) if s not in damaged}
        not_advanced = ADVANCED
        if applied:
            oldest = {series: _oldest(numbers) for series, (_, _, *numbers) in of_series.items()}
            await self._remove_expired(generation, oldest, applied.at)
        if applied and is_last:
            advance = (
                replies[-1] if applied.repeatable else await self._advance(generation, applied)
            )
            not_advanced = self.generations.advanced(advance)
            if not_advanced.replaced:
                self._known = 0
        too_late: dict[int, list[int]] = {}
        for series, numbers in zip(by_series, claimants, strict=True):
            _, late, *_ = of_series.get(series, (0, ()))
            for claim, day in zip(late[::2], late[1::2], strict=True):
                too_late.setdefault(numbers[claim], []).append(day)
        changed = sum(changed for changed, *_ in of_series.values())
        lost = tuple(n for each in damaged for n in by_series[each])
        return Written(changed, too_late, not_advanced, damaged=lost)

    async def _damaged(
        self, generation: Generation, written: Collection[Series], replies: Sequence[Any]
    ) -> Mapping[Series, Exception]:
        """Remember the series that lack a claim: whoever reads them has to leave them out.

        Args:
            generation: that was written to.
            written: the series.
            replies: of Redis: one for each series, one for the set of all series, and others.

        Raises:
            redis.RedisError: a write failed, and not because of what it met.
        """
        raise_other_errors(replies)
        if written and is_damage(replies[len(written)]):
            await replace_index(self._redis, generation)
        damaged = {s: r for s, r in zip(written, replies, strict=False) if is_damage(r)}
        if damaged:
            named = {encode_series(series): described(error) for series, error in damaged.items()}
            say_damaged(named)
            await remove_wrong_types(self._redis, {generation.damaged: "hash"})
            await self._redis.hset(generation.damaged, mapping=cast("Mapping[Any, Any]", named))
        return damaged

    async def _advance(self, generation: Generation, applied: Applied) -> Any:  # noqa: ANN401 - as redis-py
        async with self._redis.pipeline(transaction=False) as pipe:
            self._add_advance(pipe, generation, applied)
            (reply,) = await pipe.execute()
        return reply

    def _add_advance(self, pipe: Pipeline, generation: Generation, applied: Applied) -> None:
        name = CURRENT if applied.generation is None else NEXT
        self.generations.add_advance(pipe, generation.number, applied.ranges, name)

    # --- cells: remove ---

    async def remove_expired(self, at: datetime) -> None:
        """Remove the minutes and hours of every series that no message of ``at`` or later changes.

        Writing does that for the series that are written; this is for those that are not any more.
        """
        generation, all_series, damaged = await self._all_series()
        metas = await self._metas(generation, all_series, damaged)
        names = (OLDEST_MINUTES.encode(), OLDEST_HOURS.encode())
        oldest = {series: _oldest(map(meta.get, names)) for series, meta in metas.items()}
        await self._remove_expired(generation, oldest, at)

    async def _remove_expired(
        self, generation: Generation, oldest: Mapping[Series, Oldest], at: datetime
    ) -> None:
        kept = first_kept(self._retention, at)
        found = {each: expired(generation, each, first, kept) for each, first in oldest.items()}
        if not any(found.values()):
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            for series, old in found.items():
                if old is not None:
                    pipe.unlink(*old.keys)
                    fields = cast("Mapping[Any, Any]", old.fields)
                    pipe.hset(generation.meta(series), mapping=fields)
            await pipe.execute()

    # --- cells: read ---

    async def read(
        self,
        spans: Iterable[Span],
        earlier: LoadedCells | None = None,
        resting: Collection[Series] = (),
    ) -> LoadedCells:
        """Read, for every series, the cells needed to sum over ``spans``, in three round trips.

        A series whose stamp is still the one in ``earlier`` has not changed since then. Of such a
        series only those cells are read that ``earlier`` does not have.

        Args:
            spans: what to sum over.
            earlier: an earlier reading.
            resting: series of which nothing is read; they are as they are in ``earlier``, where
                they have no cells.

        Raises:
            RebuildingError: there are no cells that may be read.
        """
        needed_spans = frozenset(spans)
        needed_keys = frozenset(key for span in needed_spans for key in cell_keys(span))
        while True:
            loaded = await self._read(needed_keys, needed_spans, earlier, resting)
            if loaded is not None:
                return loaded

    async def _read(
        self,
        needed_keys: frozenset[CellKey],
        needed_spans: frozenset[Span],
        earlier: LoadedCells | None,
        resting: Collection[Series],
    ) -> LoadedCells | None:
        """Read once; return ``None`` if the generation was replaced meanwhile."""
        # The stamps are read before the cells and again after them: cells that changed in between
        # are used once, and read again the next time.
        generation, all_series, damaged = await self._all_series()
        known = LoadedCells(frozenset(), {}, generation.number)
        if earlier is not None and earlier.generation == generation.number:
            known = earlier
        skipped = {
            series
            for series in all_series
            if series in resting and series in known.by_series and series not in damaged
        }
        read_now = [each for each in all_series if each not in skipped]
        metas = await self._metas(generation, read_now, damaged)
        unchanged = {series for series, meta in metas.items() if known.is_current(series, meta)}
        all_fields, new_fields = _fields(needed_keys), _fields(needed_keys - known.keys)
        found = await self._cells(
            generation, {s: new_fields if s in unchanged else all_fields for s in metas}
        )
        if found is None:
            return None
        cells_of, unread = found
        read = {
            series: SeriesCells(meta=metas[series], cells=cells, stamp_after=stamp)
            for series, (cells, stamp) in cells_of.items()
        }
        damaged |= unread | await _damaged(read)
        loaded = {series: cells for series, cells in read.items() if series not in damaged}
        for series in unchanged & loaded.keys():
            loaded[series].reuse(known.by_series[series], needed_keys, needed_spans)
        loaded |= {series: known.by_series[series] for series in skipped}
        say_damaged({encode_series(series): reason for series, reason in damaged.items()})
        return LoadedCells(needed_keys, loaded, generation.number, damaged)

    async def _current(
        self, add: Callable[[Pipeline, Generation], object]
    ) -> tuple[Generation, list[Any]]:
        """Read from the current generation in one round trip, as far as its number is known.

        Args:
            add: adds the commands to a pipeline.

        Returns:
            The generation, and the replies; the error of a key that is damaged is one of them.

        Raises:
            RebuildingError: there is none that may be read.
        """
        while True:
            generation = Generation(self._known)
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hget(keys.POSITIONS, CURRENT)
                pipe.exists(keys.targets(generation.number))
                add(pipe, generation)
                number, is_filling, *replies = await pipe.execute(raise_on_error=False)
            raise_other_errors([number, is_filling, *replies])
            if isinstance(number, Exception):
                raise number
            if number is None or (is_filling and int(number) == self._known):
                current = await self.generations.current()
                raise RebuildingError(current.progress if current else None)
            if int(number) == self._known:
                return generation, replies
            self._known = int(number)

    async def check_cells(self) -> None:
        """Raise an error if there are no cells that may be read.

        Raises:
            RebuildingError: there are none.
        """
        await self._current(lambda *_: None)

    async def _all_series(self) -> tuple[Generation, list[Series], dict[Series, str]]:
        """Return the generation, its series, and why some of these lack claims."""

        def add(pipe: Pipeline, generation: Generation) -> None:
            pipe.smembers(generation.series)
            pipe.hgetall(generation.damaged)

        generation, (entries, marked) = await self._current(add)
        if isinstance(entries, Exception):
            raise entries  # the next claim makes it anew
        found: list[Series] = []
        invalid: dict[str, str] = {}
        for entry in sorted(cast("set[bytes]", entries)):
            try:
                found.append(decode_series(entry))
            except ValueError as error:
                invalid[repr(entry[:_LONGEST_QUOTE])] = str(error)
        say_damaged(invalid)
        reasons = {} if isinstance(marked, Exception) else marked
        damaged = {
            series: f"a claim could not be written: {reason.decode(errors='replace')}"
            for series in found
            if (reason := reasons.get(encode_series(series).encode())) is not None
        }
        return generation, found, damaged

    async def _metas(
        self, generation: Generation, all_series: Sequence[Series], damaged: dict[Series, str]
    ) -> dict[Series, dict[bytes, bytes]]:
        """Return the meta data of each series that can be read; add the others to ``damaged``."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for series in all_series:
                pipe.hgetall(generation.meta(series))
            replies = await pipe.execute(raise_on_error=False)
        raise_other_errors(replies)
        metas: dict[Series, dict[bytes, bytes]] = {}
        for series, reply in zip(all_series, replies, strict=True):
            if isinstance(reply, Exception):
                damaged.setdefault(series, f"its meta data: {described(reply)}")
            elif reply and series not in damaged:  # one without meta data has no cell yet
                metas[series] = reply
        return metas

    async def _cells(
        self, generation: Generation, fields: Mapping[Series, _Fields]
    ) -> tuple[dict[Series, _CellsAndStamp], dict[Series, str]] | None:
        """Return the cells of each series that can be read, and why the others cannot.

        ``None`` if the generation was replaced meanwhile.
        """
        found: dict[Series, _CellsAndStamp] = {}
        damaged: dict[Series, str] = {}
        for part in _parts(fields):
            cells = await self._cells_of_part(generation, part)
            if cells is None:
                return None
            found |= cells[0]
            damaged |= cells[1]
        return found, damaged

    async def _cells_of_part(
        self, generation: Generation, fields: Mapping[Series, _Fields]
    ) -> tuple[dict[Series, _CellsAndStamp], dict[Series, str]] | None:
        async with self._redis.pipeline(transaction=False) as pipe:
            for series, hashes in fields.items():
                for cell_hash, names in hashes.items():
                    pipe.hmget(_key(generation, series, cell_hash), list(names))
                pipe.hget(generation.meta(series), STAMP)
            pipe.hget(keys.POSITIONS, CURRENT)
            *replies, number = await pipe.execute(raise_on_error=False)
        raise_other_errors([*replies, number])
        if number != b"%d" % generation.number:
            return None
        found: dict[Series, _CellsAndStamp] = {}
        damaged: dict[Series, str] = {}
        start = 0
        for series, hashes in fields.items():
            end = start + len(hashes)
            of_series = replies[start : end + 1]
            if error := next((reply for reply in of_series if isinstance(reply, Exception)), None):
                damaged[series] = f"its cells: {described(error)}"
            else:
                found[series] = _cells_of(hashes, of_series[:-1]), of_series[-1]
            start = end + 1
        return found, damaged

    # --- published tables ---

    async def published(self) -> dict[Series, Tables]:
        """Return the tables that each source published; most sources published none.

        Those of a source of which one is damaged are left out: its months are then computed.
        """
        generation, all_series, _ = await self._all_series()
        async with self._redis.pipeline(transaction=False) as pipe:
            for series in all_series:
                pipe.hgetall(generation.published(series))
            replies = await pipe.execute(raise_on_error=False)
        raise_other_errors(replies)
        if not await self._is_current(generation):
            return await self.published()
        tables: dict[Series, Tables] = {}
        damaged: dict[str, str] = {}
        for series, reply in zip(all_series, replies, strict=True):
            try:
                tables[series] = _tables(reply)
            except (ValueError, RecursionError) as error:
                damaged[encode_series(series)] = f"its published tables: {error}"
        say_damaged(damaged)
        return tables

    async def _is_current(self, generation: Generation) -> bool:
        return await self._redis.hget(keys.POSITIONS, CURRENT) == b"%d" % generation.number

    async def stamp(self, series: Series) -> bytes | None:
        """Return the stamp of a series, which changes when its cells or tables do.

        ``None`` if there is none, also because the series is damaged.
        """

        def add(pipe: Pipeline, generation: Generation) -> None:
            pipe.hget(generation.meta(series), STAMP)

        _, (stamp,) = await self._current(add)
        return None if isinstance(stamp, Exception) else cast("bytes | None", stamp)

    # --- rejected readings ---

    async def _write_rejections(
        self, generation: Generation, newest: Mapping[str, Refusal]
    ) -> None:
        await remove_wrong_types(self._redis, {generation.rejected: "hash"})
        found = await self._redis.hgetall(generation.rejected)
        stored = _rejections(cast("dict[bytes, bytes]", found))
        newer = {
            pool: msgspec.json.encode(rejection)
            for pool, rejection in newest.items()
            if pool not in stored or stored[pool].at < rejection.at
        }
        if newer:
            mapping = cast("Mapping[Any, Any]", newer)
            await self._redis.hset(generation.rejected, mapping=mapping)

    async def rejections(self) -> dict[str, Refusal]:
        """Return the newest rejected reading of each pool that ever had one.

        What is damaged counts as missing: the next one replaces it.
        """

        def add(pipe: Pipeline, generation: Generation) -> None:
            pipe.hgetall(generation.rejected)

        _, (found,) = await self._current(add)
        return {} if isinstance(found, Exception) else _rejections(found)

    # --- the snapshot ---

    async def renew_leadership(self, process: str, for_s: float) -> bool:
        """Return whether ``process`` takes the snapshots for the next ``for_s`` seconds.

        Normally only one process does; two at once only repeat work.
        """
        return await lease.renew(self._redis, keys.LEADER, process, for_s)

    async def remove_damaged(self) -> None:
        """Remove what keeps snapshots from being written: keys that have another type."""
        await remove_wrong_types(self._redis, _DERIVED)

    async def write_snapshot(self, snapshot: Mapping[str, bytes]) -> None:
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

    async def snapshot_part(self, name: str) -> bytes | None:
        """Return one part of the snapshot as it was written, or ``None`` if there is none."""
        return cast("bytes | None", await self._redis.hget(keys.SNAPSHOTS, name))

    async def snapshot(self) -> dict[str, bytes]:
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


def _parts(fields: Mapping[Series, _Fields]) -> Iterator[dict[Series, _Fields]]:
    """Yield all series in parts: of about :data:`_FIELDS_AT_ONCE` fields, at least one series.

    To write the commands for years of cells, and to parse the replies, takes a tenth of a second:
    in parts, the process can answer others in between.
    """
    part: dict[Series, _Fields] = {}
    number = 0
    for series, hashes in fields.items():
        part[series] = hashes
        number += sum(map(len, hashes.values()))
        if number >= _FIELDS_AT_ONCE:
            yield part
            part, number = {}, 0
    if part:
        yield part


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


def _add_claims(
    pipe: Pipeline,
    generation: Generation,
    series: Series,
    claimed: Sequence[Claimed],
    numbers: Sequence[int],
) -> list[int]:
    """Add the claims of one series to a pipeline; return the number of each claim's message."""
    batch = [claimed[number] for number in numbers]
    last = max((message for message, _ in batch), key=lambda message: message.end)
    touched = claim_keys(generation, series, chain.from_iterable(claims for _, claims in batch))
    encoded = [(n, each) for n in numbers for each in claim_arguments(*claimed[n])]
    arguments: list[Argument] = [value for _, each in encoded for value in each]
    pipe.evalsha(_SCRIPT.sha, len(touched), *touched, *report_arguments(last), *arguments)
    return [n for n, _ in encoded]


def _oldest(numbers: Iterable[bytes | None]) -> Oldest:
    """Return the oldest hashes by the meta data; where that is damaged, none are removed."""
    return Oldest(*(int(n) if n and _NUMBER.fullmatch(n) else None for n in numbers))


def _rejections(found: Mapping[bytes, bytes]) -> dict[str, Refusal]:
    read = ((_pool(name), _rejection(raw)) for name, raw in found.items())
    return {pool: each for pool, each in read if pool and each}


def _pool(name: bytes) -> str | None:
    text = name.decode(errors="replace")
    return text if re.match(SLUG, text) else None


def _rejection(raw: bytes) -> Refusal | None:
    try:
        return _decode_rejection(raw)
    except (ValueError, RecursionError):
        return None


async def _damaged(read: Mapping[Series, SeriesCells]) -> dict[Series, str]:
    """Return why some of the series that were read cannot be used."""
    if sum(len(each.cells) for each in read.values()) > _CHECKED_AT_ONCE:
        return await asyncio.to_thread(_found_damaged, read)
    return _found_damaged(read)


def _found_damaged(read: Mapping[Series, SeriesCells]) -> dict[Series, str]:
    found = {}
    for series, cells in read.items():
        try:
            cells.check()
        except (ValueError, RecursionError) as error:
            found[series] = described(error)
    return found


def _tables(reply: object) -> Tables:
    """Return published tables as Redis has them.

    Raises:
        ValueError: one cannot be read.
    """
    if isinstance(reply, Exception):
        raise ValueError(described(reply))  # noqa: TRY004 - Redis' error, not a caller's
    claims = cast("dict[bytes, bytes]", reply)
    return {int(day): decode_claimed_table(claim) for day, claim in claims.items()}


def _key(generation: Generation, series: Series, cell_hash: _CellHash) -> str:
    tier, number = cell_hash
    if tier == "day":
        return generation.days(series)
    of_tier = generation.minutes if tier == "minute" else generation.hours
    return of_tier(series, number)


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
