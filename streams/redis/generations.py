"""Generations of keys, and how much of Kafka each has applied (docs/adr/0009-positions.md).

A position is the offset after the last message of a partition that was applied without a gap before
it. It is written after the cells of these messages, so Redis can lose the newest writes, or all of
them, and the positions say it: they are never ahead of the cells.
"""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, cast

import structlog
from redis.exceptions import ResponseError

from miningmap.redis_cluster import keeps_order
from streams.redis import keys, lease
from streams.redis.damage import is_wrong_type, raise_other_errors, remove_wrong_types
from streams.redis.scripts import script_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

Partition: TypeAlias = tuple[str, int]
"""A topic and the number of one of its partitions."""

CURRENT: Final = "generation"
"""The field with the generation that readers use."""
NEXT: Final = "next"
"""The field with the generation that is being filled by hand, and that nobody reads yet."""
FIRST_NUMBER: Final = 1
"""The number of the generation that cells from before there were generations become."""

_SCRIPT: Final = script_of("advance.lua")
_FORGET: Final = script_of("forget.lua")
_UNLINKED_AT_ONCE: Final = 500
_COMPLETE: Final = b"complete"
# The scripts have the same rule. More digits than any offset or time has are damage too.
_NUMBER: Final = re.compile(rb"[0-9]{1,15}")
_LONGEST_QUOTE: Final = 64

_log = structlog.get_logger(__name__)


class Progress(NamedTuple):
    """How far a generation is filled: messages that were applied, of those that have to be."""

    done: int
    total: int

    def __str__(self) -> str:
        return f"{self.done} of {self.total} messages"


class RebuildingError(Exception):
    """There are no cells that may be read: Redis is empty, or is being filled from Kafka.

    Attributes:
        progress: how far that is; ``None`` if it has not begun.
    """

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        how_far = "that has not begun yet" if progress is None else f"{progress} are processed"
        super().__init__(f"rebuilding: Redis is being filled from Kafka; {how_far}")


class Range(NamedTuple):
    """The messages of a partition from the offset ``first`` up to, not including, ``after``."""

    first: int
    after: int


class NotAdvanced(NamedTuple):
    """Why messages that were applied do not count yet.

    Attributes:
        replaced: they were applied to a generation that is not the one that counts any more.
        behind: the partitions of which Redis lacks messages before these, each with its position,
            or ``None`` if it has none.
    """

    replaced: bool
    behind: Mapping[Partition, int | None]

    def __bool__(self) -> bool:
        return self.replaced or bool(self.behind)


ADVANCED: Final = NotAdvanced(replaced=False, behind={})


@dataclass(frozen=True)
class Filled:
    """A generation, and what was applied to it.

    Attributes:
        number: of the generation.
        positions: by partition, the offset after the last message that was applied.
        targets: what has to be applied before it can be read; empty if it can be.
    """

    number: int
    positions: Mapping[Partition, int] = field(default_factory=dict)
    targets: Mapping[Partition, Range] = field(default_factory=dict)

    @property
    def progress(self) -> Progress | None:
        """How far it is filled; ``None`` if it is whole."""
        if not self.targets:
            return None
        done = sum(
            min(max(self.positions.get(each, first) - first, 0), after - first)
            for each, (first, after) in self.targets.items()
        )
        return Progress(done, sum(after - first for first, after in self.targets.values()))


class Generations:
    """The generations in one Redis.

    What is damaged counts as missing: a position, and with its number or a target the whole
    generation. It is removed when another one is about to take its place.

    Attributes:
        redis: its client.
    """

    def __init__(self, redis: Redis, now_ms: Callable[[], int] | None = None) -> None:
        self.redis = redis
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)

    # --- read ---

    async def current(self) -> Filled | None:
        """Return the generation that readers use, or ``None`` if Redis has none."""
        return await self._filled(CURRENT)

    async def next(self) -> Filled | None:
        """Return the generation that is being filled by hand, or ``None`` if there is none."""
        return await self._filled(NEXT)

    async def number(self, name: str = CURRENT) -> int | None:
        """Return the number of a generation, or ``None`` if there is none of that name."""
        try:
            return number_of(await self.redis.hget(keys.POSITIONS, name))
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            return None

    async def _filled(self, name: str) -> Filled | None:
        number = await self.number(name)
        if number is None:
            return None
        # The positions first: what becomes whole meanwhile has all of them.
        async with self.redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.positions(number))
            pipe.hgetall(keys.targets(number))
            for copy in self._copies(number):
                pipe.hgetall(copy)
            replies = await pipe.execute(raise_on_error=False)
        raise_other_errors(replies)
        positions, targets, *copies = replies
        goals = _targets(targets)
        if goals is None:  # nobody knows when it can be read
            return None
        if any(copies):
            if not all(isinstance(each, dict) and _COMPLETE in each for each in copies):
                return None  # a node has lost what it had
            return Filled(number, _least(map(_positions, (positions, *copies))), goals)
        return Filled(number, _positions(positions), goals)

    def _copies(self, number: int) -> list[str]:
        """Return the keys of the copies of the positions: a single Redis has none.

        The nodes of a cluster lose data one by one, so each of them says what it has.
        """
        return [] if keeps_order(self.redis) else keys.copies(number)

    def _transaction(self) -> Pipeline:
        return self.redis.pipeline(transaction=True, shard_hint=keys.POSITIONS)

    # --- begin ---

    async def begin(self, ranges: Mapping[Partition, Range], name: str = CURRENT) -> bool:
        """Begin a generation, unless there is one.

        Args:
            ranges: what Kafka holds of each partition, all of which has to be applied before the
                generation can be read.
            name: whether readers use it (``CURRENT``), or nobody does yet (``NEXT``).

        Returns:
            Whether this call has begun it.
        """
        positions = {each: held.first for each, held in ranges.items()}
        targets = {each: held for each, held in ranges.items() if held.first < held.after}
        return await self.set_up(self._now_ms(), positions, targets, name)

    async def set_up(
        self,
        number: int,
        positions: Mapping[Partition, int],
        targets: Mapping[Partition, Range],
        name: str = CURRENT,
    ) -> bool:
        """Make a generation the one of that name, unless there is one; return whether it was."""
        await self._forget_damaged(name)
        await self._set_copies(number, positions)
        # The field is set last, so that nobody finds the generation without its targets.
        async with self._transaction() as pipe:
            if positions:
                pipe.hset(keys.positions(number), mapping=_encoded(positions))
            if targets:
                goals = {each: f"{first} {after}" for each, (first, after) in targets.items()}
                pipe.hset(keys.targets(number), mapping=_encoded(goals))
            pipe.hsetnx(keys.POSITIONS, name, cast("Any", number))
            *_, is_new = await pipe.execute()
        if not is_new and await self.redis.hget(keys.POSITIONS, name) != b"%d" % number:
            await self.redis.delete(keys.positions(number), keys.targets(number))
            await self._unlink_all(self._copies(number))
        return bool(is_new)

    async def _set_copies(self, number: int, positions: Mapping[Partition, int]) -> None:
        async with self.redis.pipeline(transaction=False) as pipe:
            for copy in self._copies(number):
                pipe.hset(copy, mapping={_COMPLETE: 1, **_encoded(positions)})
            await pipe.execute()

    async def copy_positions(self) -> None:
        """Give a Redis that has become a cluster its copies of the positions."""
        if keeps_order(self.redis) or (current := await self.current()) is None:
            return
        if not any([await self.redis.exists(copy) for copy in self._copies(current.number)]):
            await self._set_copies(current.number, current.positions)

    async def begin_partition(self, number: int, partition: Partition, first: int) -> None:
        """Give a partition that has none a position: that of the first message that Kafka has."""
        name = _name(partition)
        for key in (keys.positions(number), *self._copies(number)):
            await remove_wrong_types(self.redis, {key: "hash"})
            position = cast("bytes | None", await self.redis.hget(key, name))
            if position is not None and number_of(position) is None:
                await self._forget(key, name, position)
            await self.redis.hsetnx(key, name, cast("Any", first))

    async def _forget_damaged(self, name: str) -> None:
        """Let there be no generation of that name, if what there is cannot be used."""
        await remove_wrong_types(self.redis, {keys.POSITIONS: "hash"})
        number = cast("bytes | None", await self.redis.hget(keys.POSITIONS, name))
        if number is not None and await self._filled(name) is None:
            await self._forget(keys.POSITIONS, name, number)

    async def _forget(self, key: str, name: str, value: bytes) -> None:
        """Remove a field that is damaged, unless another process has replaced it meanwhile."""
        if await cast("Any", self.redis.eval(_FORGET.text, 1, key, name, cast("Any", value))):
            quoted = repr(value[:_LONGEST_QUOTE])
            _log.warning("position_damaged", key=key, field=name, value=quoted)

    # --- advance ---

    def add_advance(
        self, pipe: Pipeline, number: int, applied: Mapping[Partition, Range], name: str = CURRENT
    ) -> None:
        """Add to a pipeline that messages were applied; :meth:`advanced` reads the replies.

        In a cluster their cells must have been written before.
        """
        ranges = [word for each, held in applied.items() for word in (_name(each), *held)]
        touched = (keys.positions(number), keys.POSITIONS, keys.targets(number))
        for each in (touched, *((copy,) for copy in self._copies(number))):
            pipe.evalsha(_SCRIPT.sha, len(each), *each, name, number, *ranges)

    @staticmethod
    def advanced(replies: Iterable[int | Sequence[bytes]]) -> NotAdvanced:
        """Return what the replies say of the messages that were applied."""
        pairs: list[tuple[bytes, bytes]] = []
        for reply in replies:
            if isinstance(reply, int):
                return NotAdvanced(replaced=True, behind={})
            pairs += zip(reply[::2], reply[1::2], strict=True)
        named = ((_partition_of(name), number_of(position)) for name, position in pairs)
        behind = {each: position for each, position in named if each is not None}
        return NotAdvanced(replaced=False, behind=behind)

    async def load_script(self) -> None:
        """Load the script of :meth:`add_advance`."""
        await self.redis.script_load(_SCRIPT.text)

    # --- replace ---

    async def renew_building(self, process: str, for_s: float) -> bool:
        """Return whether ``process`` fills the next generation, for so many seconds."""
        return await lease.renew(self.redis, keys.BUILDER, process, for_s)

    async def end_building(self, process: str) -> None:
        """Let another process fill the next generation at once."""
        await lease.end(self.redis, keys.BUILDER, process)

    async def give_up_next(self) -> None:
        """Forget the generation that was being filled by hand, and remove its keys."""
        await self._forget_damaged(NEXT)
        if (number := await self.number(NEXT)) is not None:
            await self.redis.hdel(keys.POSITIONS, NEXT)
            await self.remove(number)

    async def swap(self, number: int) -> int | None:
        """Let readers use the next generation from now on.

        Returns:
            The number of the one that they used before; its keys are still there.
        """
        before = await self.number()
        async with self._transaction() as pipe:
            pipe.delete(keys.targets(number))
            pipe.hset(keys.POSITIONS, CURRENT, cast("Any", number))
            pipe.hdel(keys.POSITIONS, NEXT)
            await pipe.execute()
        return before

    async def remove(self, number: int) -> int:
        """Remove all keys of a generation that nobody uses; return how many there were."""
        await self.redis.delete(keys.positions(number), keys.targets(number))
        return await self._unlink(f"mm:{number}:*", lambda _: True)

    async def remove_unused(self) -> int:
        """Remove the keys of all generations that were begun before the current one.

        A process that had not noticed a swap yet leaves some behind, and one that was killed.
        """
        current = await self.number()
        if current is None:
            return 0
        # A later one may be about to become the next, so it stays.
        return await self._unlink("mm:[0-9]*:*", lambda key: _number(key) < current)

    async def _unlink(self, pattern: str, is_unused: Callable[[bytes], bool]) -> int:
        removed, some = 0, []
        async for key in self.redis.scan_iter(pattern, count=1000):
            if is_unused(key):
                some.append(key)
            if len(some) >= _UNLINKED_AT_ONCE:
                removed += await self._unlink_all(some)
                some = []
        return removed + await self._unlink_all(some)

    async def _unlink_all(self, names: Sequence[str | bytes]) -> int:
        # One command a key: in a cluster they are in different slots.
        async with self.redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.unlink(name)
            return sum(await pipe.execute())


def _number(key: bytes) -> float:
    number = key.split(b":")[1]
    return int(number) if number.isdigit() else math.inf  # not a key of this project


def _name(partition: Partition) -> str:
    topic, number = partition
    return f"{topic}/{number}"


def number_of(reply: object) -> int | None:
    """Return the number in a reply of Redis; ``None`` if there is none, or it is damaged."""
    return int(reply) if isinstance(reply, bytes) and _NUMBER.fullmatch(reply) else None


def _positions(reply: object) -> dict[Partition, int]:
    """Return the positions by partition, without damaged ones."""
    fields = reply.items() if isinstance(reply, dict) else ()
    read = ((_partition_of(name), number_of(position)) for name, position in fields)
    return {each: n for each, n in read if each is not None and n is not None}


def _least(positions: Iterable[Mapping[Partition, int]]) -> dict[Partition, int]:
    """Return how far all of them are; a partition that one lacks is left out."""
    first, *others = positions
    return {
        each: min([position, *(other[each] for other in others)])
        for each, position in first.items()
        if all(each in other for other in others)
    }


def _targets(reply: object) -> dict[Partition, Range] | None:
    """Return the targets by partition, or ``None`` if one is damaged."""
    if not isinstance(reply, dict):
        return None
    targets = {}
    for name, goal in reply.items():
        each, numbers = _partition_of(name), [number_of(part) for part in goal.split(b" ")]
        match numbers:
            case [int(first), int(after)] if each is not None:
                targets[each] = Range(first, after)
            case _:
                return None
    return targets


def _partition_of(name: bytes) -> Partition | None:
    """Return the partition that a field is about; ``None`` if it is about none."""
    topic, _, number = name.rpartition(b"/")
    partition = number_of(number)
    try:
        return None if partition is None or not topic else (topic.decode(), partition)
    except UnicodeDecodeError:
        return None


def _encoded(values: Mapping[Partition, object]) -> Mapping[Any, Any]:
    return {_name(each): value for each, value in values.items()}
