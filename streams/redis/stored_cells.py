"""Reading cells, and what belongs to their series: stamps, published tables, rejected readings.

What is read is of one generation. Reads raise :class:`streams.redis.generations.RebuildingError`
while Redis is empty or being filled.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from miningmap.redis_cluster import keeps_order
from streams.method.cells import cell_keys
from streams.method.windows import TIER_MINUTES
from streams.redis import keys, rejected
from streams.redis.cell_fields import cells_in, fields_of, key_of, parts
from streams.redis.damage import described, raise_other_errors, say_damaged
from streams.redis.day_stamps import BASE, LAST, DayStamps, SeriesStamps, blocks_of
from streams.redis.encoding import decode_claimed_table, decode_series, encode_series
from streams.redis.expiry import OLDEST_HOURS, OLDEST_MINUTES
from streams.redis.generations import CURRENT, Generations, RebuildingError, number_of
from streams.redis.keys import Generation
from streams.redis.loaded_cells import STAMP, LoadedCells, SeriesCells, SpanCells
from streams.redis.metas import read_all, read_changed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from typing import Any

    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

    from miningmap.api.models import Refusal
    from miningmap.messages import Published
    from streams.method.cells import CellKey, Series
    from streams.method.windows import Span, Window
    from streams.redis.cell_fields import Fields
    from streams.redis.metas import Meta

    Tables: TypeAlias = Mapping[int, tuple[Published, ...]]
    """The tables that one source published, by the first day of their month."""

    _CellsAndStamp: TypeAlias = tuple[dict[CellKey, bytes], bytes | None]
    """The encoded cells of a series, and its stamp after they had been read."""

_LONGEST_QUOTE: Final = 64
_CHECKED_AT_ONCE: Final = 2000
"""The number of cells that are checked without a thread: in some milliseconds."""


class StoredCells:
    """The cells in one Redis, to be read."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._generations = Generations(redis)
        self._known = 0  # the number of the generation that was current when it was last read

    async def read(
        self,
        spans: Iterable[Span],
        earlier: LoadedCells | None = None,
        resting: Collection[Series] = (),
        *,
        by_script: bool = False,
        keep_decoded: bool = False,
    ) -> LoadedCells:
        """Read, for every series, the cells needed to sum over ``spans``, in four round trips.

        A series whose stamp is still the one in ``earlier`` has not changed since then. Of such a
        series only those cells are read that ``earlier`` does not have.

        Args:
            spans: what to sum over.
            earlier: an earlier reading.
            resting: series of which nothing is read; they are as they are in ``earlier``, where
                they have no cells.
            by_script: whether a script may compare the meta data, which is cheaper. A user of
                Redis that may only read may not run it.
            keep_decoded: whether to keep the cells decoded, too, which takes as much memory again
                and saves decoding them a second time.

        Raises:
            RebuildingError: there are no cells that may be read.
        """
        needed_spans = frozenset(spans)
        needed_keys = frozenset(key for span in needed_spans for key in cell_keys(span))
        while True:
            loaded = await self._read(
                needed_keys,
                needed_spans,
                earlier,
                resting,
                by_script=by_script,
                keep_decoded=keep_decoded,
            )
            if loaded is not None:
                return loaded

    async def _read(
        self,
        needed_keys: frozenset[CellKey],
        needed_spans: frozenset[Span],
        earlier: LoadedCells | None,
        resting: Collection[Series],
        *,
        by_script: bool,
        keep_decoded: bool,
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
        compared = known.by_series if by_script else {}
        metas = await self._metas(generation, read_now, damaged, compared)
        unchanged = {series for series, meta in metas.items() if known.is_current(series, meta)}
        kept: dict[Series, SeriesCells] = {}
        if known.keys == needed_keys:  # of what is unchanged, nothing is to be read
            kept = {s: known.by_series[s].with_meta(metas[s]) for s in metas if s in unchanged}
        all_fields, new_fields = fields_of(needed_keys), fields_of(needed_keys - known.keys)
        found = await self._cells(
            generation,
            {s: new_fields if s in unchanged else all_fields for s in metas if s not in kept},
        )
        if found is None:
            return None
        cells_of, unread = found
        read = {
            series: SeriesCells(meta=metas[series], cells=cells, stamp_after=stamp)
            for series, (cells, stamp) in cells_of.items()
        }
        # A report that changes no cell can be the last one nevertheless.
        renewed = {s: cells for s, cells in kept.items() if cells is not known.by_series[s]}
        unchecked = read | renewed
        new = {s: cells.new(known.by_series.get(s)) for s, cells in unchecked.items()}
        damaged |= unread | await _damaged(unchecked, new, keep_decoded=keep_decoded)
        loaded = {series: cells for series, cells in read.items() if series not in damaged}
        for series in unchanged & loaded.keys():
            loaded[series].reuse(known.by_series[series], needed_keys, needed_spans)
        in_spans = list(map(SpanCells.of, needed_spans))
        for series in loaded.keys() & known.by_series.keys() - unchanged:
            loaded[series].reuse_sums(known.by_series[series], new[series], in_spans)
        loaded |= kept | {series: known.by_series[series] for series in skipped}
        in_order = {s: loaded[s] for s in all_series if s in loaded and s not in damaged}
        say_damaged({encode_series(series): reason for series, reason in damaged.items()})
        return LoadedCells(needed_keys, in_order, generation.number, damaged)

    async def check_cells(self) -> None:
        """Raise an error if there are no cells that may be read.

        Raises:
            RebuildingError: there are none.
        """
        await self._current(lambda *_: None)

    async def applied(self) -> tuple[int, Mapping[bytes, bytes]]:
        """Return a value that differs whenever messages were applied, by any process.

        That is the generation and its positions, which are written after the cells. One that is
        damaged is empty.

        Raises:
            RebuildingError: there are no cells that may be read.
        """
        generation, (positions,) = await self._current(
            lambda pipe, generation: pipe.hgetall(keys.positions(generation.number))
        )
        return generation.number, {} if isinstance(positions, Exception) else positions

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
                state: list[Any] = []
                if not keeps_order(self._redis):
                    # What is read must not be older than the answer that it may be read.
                    state = await pipe.execute(raise_on_error=False)
                add(pipe, generation)
                of_all = state + await pipe.execute(raise_on_error=False)
            reply, is_filling, *replies = of_all
            raise_other_errors([reply, is_filling, *replies])
            number = number_of(reply)
            if number is None or (is_filling and number == generation.number):
                current = await self._generations.current()
                raise RebuildingError(current.progress if current else None)
            if number == generation.number:
                return generation, replies
            self._known = number

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

    async def metas(self) -> tuple[Generation, dict[Series, Meta]]:
        """Return the generation, and the meta data of each series that can be read."""
        generation, all_series, damaged = await self._all_series()
        return generation, await self._metas(generation, all_series, damaged)

    async def _metas(
        self,
        generation: Generation,
        all_series: Sequence[Series],
        damaged: dict[Series, str],
        known: Mapping[Series, SeriesCells] | None = None,
    ) -> dict[Series, Meta]:
        """Return the meta data of each series that can be read; add the others to ``damaged``.

        Args:
            generation: of the series.
            all_series: the series.
            damaged: those that are damaged, and why.
            known: series whose meta data need not be read if a script finds it unchanged.
        """
        names = list(map(generation.meta, all_series))
        if known and keeps_order(self._redis):  # in a cluster each pool is in another slot
            before = [known.get(series) for series in all_series]
            digests = [None if each is None else each.digest for each in before]
            changed = await read_changed(self._redis, names, digests)
            replies = [
                each.meta if each and number not in changed else changed[number]
                for number, each in enumerate(before)
            ]
        else:
            replies = await read_all(self._redis, names)
        metas: dict[Series, Meta] = {}
        for series, reply in zip(all_series, replies, strict=True):
            if isinstance(reply, Exception):
                damaged.setdefault(series, f"its meta data: {described(reply)}")
            elif reply and series not in damaged:  # one without meta data has no cell yet
                metas[series] = reply
        return metas

    async def _cells(
        self, generation: Generation, fields: Mapping[Series, Fields]
    ) -> tuple[dict[Series, _CellsAndStamp], dict[Series, str]] | None:
        """Return the cells of each series that can be read, and why the others cannot.

        ``None`` if the generation was replaced meanwhile.
        """
        found: dict[Series, _CellsAndStamp] = {}
        damaged: dict[Series, str] = {}
        for part in parts(fields):
            cells, unread = await self._cells_of_part(generation, part)
            found |= cells
            damaged |= unread
        # Only now: before, the generation could still be replaced and its keys be removed.
        return (found, damaged) if await self._is_current(generation) else None

    async def _cells_of_part(
        self, generation: Generation, fields: Mapping[Series, Fields]
    ) -> tuple[dict[Series, _CellsAndStamp], dict[Series, str]]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for series, hashes in fields.items():
                for cell_hash, names in hashes.items():
                    pipe.hmget(key_of(generation, series, cell_hash), list(names))
                pipe.hget(generation.meta(series), STAMP)
            replies = await pipe.execute(raise_on_error=False)
        raise_other_errors(replies)
        found: dict[Series, _CellsAndStamp] = {}
        damaged: dict[Series, str] = {}
        start = 0
        for series, hashes in fields.items():
            end = start + len(hashes)
            of_series = replies[start : end + 1]
            if error := next((reply for reply in of_series if isinstance(reply, Exception)), None):
                damaged[series] = f"its cells: {described(error)}"
            else:
                found[series] = cells_in(hashes, of_series[:-1]), of_series[-1]
            start = end + 1
        return found, damaged

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
        return await self._generations.number() == generation.number

    async def day_stamps(self, windows: Iterable[Window]) -> DayStamps:
        """Return the stamps of the days from which windows are computed.

        Raises:
            RebuildingError: there are no cells that may be read.
        """
        blocks = blocks_of(windows)
        fields: list[Any] = [LAST, BASE, *blocks]
        of_meta = [STAMP, OLDEST_MINUTES, OLDEST_HOURS, *(f"first:{tier}" for tier in TIER_MINUTES)]
        generation, all_series, damaged = await self._all_series()
        readable = [each for each in all_series if each not in damaged]
        async with self._redis.pipeline(transaction=False) as pipe:
            for series in readable:
                pipe.hmget(generation.meta(series), of_meta)
                pipe.hmget(generation.stamps(series), fields)
            replies = await pipe.execute(raise_on_error=False)
        raise_other_errors(replies)
        found: dict[Series, SeriesStamps] = {}
        for series, meta, stamps in zip(readable, replies[::2], replies[1::2], strict=True):
            if not isinstance(meta, Exception):
                stamp, minutes, hours, *firsts = meta
                # Without the stamps of its days, each change of the series counts for all of them.
                is_damaged = isinstance(stamps, Exception)
                last, base, *known = [None] * len(fields) if is_damaged else stamps
                by_block = dict(zip(blocks, known, strict=True))
                by_tier = dict(zip(TIER_MINUTES, firsts, strict=True))
                found[series] = SeriesStamps(stamp, last, base, by_block, minutes, hours, by_tier)
        return DayStamps(generation.number, found)

    async def stamp(self, series: Series) -> bytes | None:
        """Return the stamp of a series, which changes when its cells or tables do.

        ``None`` if there is none, also because the series is damaged.
        """

        def add(pipe: Pipeline, generation: Generation) -> None:
            pipe.hget(generation.meta(series), STAMP)

        _, (stamp,) = await self._current(add)
        return None if isinstance(stamp, Exception) else cast("bytes | None", stamp)

    async def rejections(self) -> dict[str, Refusal]:
        """Return the newest rejected reading of each pool that ever had one.

        What is damaged counts as missing: the next one replaces it.
        """

        def add(pipe: Pipeline, generation: Generation) -> None:
            pipe.hgetall(generation.rejected)

        _, (found,) = await self._current(add)
        return {} if isinstance(found, Exception) else rejected.decode(found)


async def _damaged(
    read: Mapping[Series, SeriesCells],
    new: Mapping[Series, Collection[CellKey]],
    *,
    keep_decoded: bool,
) -> dict[Series, str]:
    """Return why some of the series that were read cannot be used.

    Args:
        read: the series.
        new: the keys of those of their cells that were not checked before.
        keep_decoded: as for :meth:`StoredCells.read`.
    """
    if sum(map(len, new.values())) > _CHECKED_AT_ONCE:
        return await asyncio.to_thread(_found_damaged, read, new, keep_decoded=keep_decoded)
    return _found_damaged(read, new, keep_decoded=keep_decoded)


def _found_damaged(
    read: Mapping[Series, SeriesCells],
    new: Mapping[Series, Collection[CellKey]],
    *,
    keep_decoded: bool,
) -> dict[Series, str]:
    found = {}
    for series, cells in read.items():
        try:
            cells.check(new[series], keep=keep_decoded)
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
