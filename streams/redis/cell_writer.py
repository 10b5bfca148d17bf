"""Writing cells: the claims of messages, their positions, and what is removed in time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from redis.exceptions import NoScriptError, ResponseError

from miningmap.precedence import Precedence
from miningmap.redis_client import reconnect
from miningmap.redis_cluster import keeps_order
from miningmap.redis_errors import cause_of
from streams.redis.damage import (
    described,
    is_damage,
    raise_other_errors,
    remove_wrong_types,
    replace_index,
    say_damaged,
)
from streams.redis.encoding import claim_arguments, claim_keys, encode_series, report_arguments
from streams.redis.expiry import OLDEST_HOURS, OLDEST_MINUTES, Oldest, expired, first_kept
from streams.redis.generations import ADVANCED, CURRENT, NEXT, Generations, NotAdvanced
from streams.redis.keys import Generation
from streams.redis.pieces import Piece, numbers_by_series, pieces
from streams.redis.pool_quota import PoolQuota
from streams.redis.pool_sizes import PoolSizes
from streams.redis.rejected import write_newer
from streams.redis.scripts import script_of
from streams.redis.stored_cells import StoredCells
from streams.redis.written import Outcome, Written

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

    from miningmap.api.models import Refusal
    from miningmap.messages import Message
    from miningmap.settings import Retention
    from streams.method.cells import Claim, Series
    from streams.redis.generations import Partition, Range

    Claimed: TypeAlias = tuple[Message, Sequence[Claim]]
    """A message and its claims."""

_SCRIPT: Final = script_of("claim.lua")
_NUMBER: Final = re.compile(rb"-?[0-9]{1,9}")


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


class CellWriter:
    """Writes and removes cells in one Redis.

    Attributes:
        generations: the generations of cells in the same Redis.
        precedence: of what goes before the pieces of a batch.
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
        self._cells = StoredCells(redis)
        self.generations = Generations(redis)
        self.precedence = Precedence()

    async def reconnect(self) -> None:
        """Close all connections, so that the next command looks the server's address up again."""
        await reconnect(self._redis)

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
            await write_newer(self._redis, Generation(number), rejected)
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
        await self.generations.copy_positions()
        current = await self.generations.current()
        if current is None and applied is None:
            await self.generations.begin({})
            current = await self.generations.current()
        self._known = current.number if current else 0
        return self._known or None

    async def _write(
        self, generation: Generation, claimed: Sequence[Claimed], applied: Applied | None
    ) -> Written:
        outcome = Outcome()
        divided = pieces(claimed)
        piece: Piece | None = next(divided, Piece())
        while piece is not None:
            await self.precedence.give_way()
            following = next(divided, None)  # not all at once: others use the event loop, too
            allowed = await self._allowed(generation, piece, outcome)
            is_last = following is None
            await self._write_allowed(generation, allowed, applied, outcome, is_last=is_last)
            piece = following
        return outcome.written

    async def _allowed(self, generation: Generation, piece: Piece, outcome: Outcome) -> Piece:
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
                self._quota.count(generation, message, claims)
                allowed.numbers.append(number)
                allowed.claimed.append((message, claims))
        return allowed

    async def _write_allowed(
        self,
        generation: Generation,
        piece: Piece,
        applied: Applied | None,
        outcome: Outcome,
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
        # Between the nodes of a cluster there is no order, so the positions wait for all replies.
        at_once = applied and applied.repeatable and is_last and keeps_order(self._redis)
        # Of each series, the number of the message that makes each claim.
        claimants: list[list[int]] = []
        async with self._redis.pipeline(transaction=False) as pipe:
            for series, numbers in by_series.items():
                claimants.append(_add_claims(pipe, generation, series, claimed, numbers))
            if by_series:
                pipe.sadd(generation.series, *map(encode_series, by_series))
            if applied and at_once:
                self._add_advance(pipe, generation, applied)
            replies = await pipe.execute(raise_on_error=False)
        damaged = await self._damaged(generation, by_series, replies)
        of_series = {s: r for s, r in zip(by_series, replies, strict=False) if s not in damaged}
        not_advanced = ADVANCED
        if applied:
            oldest = {series: _oldest(numbers) for series, (_, _, *numbers) in of_series.items()}
            await self._remove_expired(generation, oldest, applied.at)
        if applied and is_last:
            advance = replies[-1:] if at_once else await self._advance(generation, applied)
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

    async def _advance(self, generation: Generation, applied: Applied) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            self._add_advance(pipe, generation, applied)
            return await pipe.execute()

    def _add_advance(self, pipe: Pipeline, generation: Generation, applied: Applied) -> None:
        name = CURRENT if applied.generation is None else NEXT
        self.generations.add_advance(pipe, generation.number, applied.ranges, name)

    async def remove_expired(self, at: datetime) -> None:
        """Remove the minutes and hours of every series that no message of ``at`` or later changes.

        Writing does that for the series that are written; this is for those that are not any more.
        """
        generation, metas = await self._cells.metas()
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
    arguments = (argument for _, argument in encoded)
    pipe.evalsha(_SCRIPT.sha, len(touched), *touched, *report_arguments(last), *arguments)
    return [n for n, _ in encoded]


def _oldest(numbers: Iterable[bytes | None]) -> Oldest:
    """Return the oldest hashes by the meta data; where that is damaged, none are removed."""
    return Oldest(*(int(n) if n and _NUMBER.fullmatch(n) else None for n in numbers))
