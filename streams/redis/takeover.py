"""Take over the cells of an installation from before there were generations of keys.

Their keys are renamed into the first generation, so nothing has to be computed again. That can be
interrupted and repeated: what was renamed stays so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast
from uuid import uuid4

from redis.exceptions import ResponseError

from streams.redis import keys
from streams.redis.expiry import OLDEST_HOURS, OLDEST_MINUTES
from streams.redis.generations import FIRST_NUMBER
from streams.redis.keys import Generation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from redis.asyncio import Redis

    from streams.redis.generations import Generations, Partition

_PATTERNS: Final = ("mm:{p:*", "mm:{n}:*")
_REJECTED: Final = "mm:refused"
_FIELDS: Final = {b"m": OLDEST_MINUTES, b"h": OLDEST_HOURS}
_AT_ONCE: Final = 500
_LEASE_S: Final = 60.0


async def has_unnumbered_cells(redis: Redis) -> bool:
    """Return whether Redis has cells from before there were generations."""
    return bool(await redis.exists(keys.UNNUMBERED_SERIES))


async def take_over(generations: Generations, committed: Mapping[Partition, int]) -> int | None:
    """Make cells from before there were generations the current generation.

    Args:
        generations: the generations in that Redis.
        committed: by partition, the offset up to which the consumer group has applied messages.

    Returns:
        How many keys were renamed; ``None`` if another process does the same now.
    """
    redis, process = generations.redis, uuid4().hex
    if not await generations.renew_building(process, _LEASE_S):
        return None
    first = Generation(FIRST_NUMBER)
    entries = cast("set[bytes]", await redis.smembers(keys.UNNUMBERED_SERIES))
    renamed = 0
    for pattern in _PATTERNS:
        async for some in _scan(redis, pattern):
            renamed += await _rename(redis, some)
    await _note_oldest(redis)
    if entries:
        await redis.sadd(first.series, *entries)
    if rejected := await redis.hgetall(_REJECTED):
        await redis.hset(first.rejected, mapping=cast("Mapping[Any, Any]", rejected))
    await generations.set_up(FIRST_NUMBER, committed, {})
    # Only now: they tell that this has not been done.
    await redis.unlink(keys.UNNUMBERED_SERIES)
    await redis.unlink(_REJECTED)
    await generations.end_building(process)
    return renamed


async def _scan(redis: Redis, pattern: str) -> AsyncIterator[Sequence[bytes]]:
    some: list[bytes] = []
    async for key in redis.scan_iter(pattern, count=1000):
        some.append(key)
        if len(some) >= _AT_ONCE:
            yield some
            some = []
    if some:
        yield some


async def _rename(redis: Redis, names: Sequence[bytes]) -> int:
    """Rename keys, and let them not expire any more; return how many there were."""
    async with redis.pipeline(transaction=False) as pipe:
        for name in names:
            new = b"mm:%d:%s" % (FIRST_NUMBER, name.removeprefix(b"mm:"))
            pipe.rename(name, new)
            pipe.persist(new)
        replies = await pipe.execute(raise_on_error=False)
    # A key can expire before it is renamed.
    errors = [each for each in replies if isinstance(each, Exception)]
    for error in errors:
        if not (isinstance(error, ResponseError) and "no such key" in str(error)):
            raise error
    return len(names) - len(errors)


async def _note_oldest(redis: Redis) -> None:
    """Write into the meta data of each series from when on it has hashes of minutes and hours."""
    oldest: dict[bytes, dict[str, int]] = {}
    async for some in _scan(redis, f"mm:{FIRST_NUMBER}:{{*"):
        for key in some:
            series, tier, number = ([*key.rsplit(b":", 2), b""])[:3]
            if (name := _FIELDS.get(tier)) and number.lstrip(b"-").isdigit():
                fields = oldest.setdefault(series + b":meta", {})
                fields[name] = min(fields.get(name, int(number)), int(number))
    async with redis.pipeline(transaction=False) as pipe:
        for meta, fields in oldest.items():
            pipe.hset(meta.decode(), mapping=cast("Mapping[Any, Any]", fields))
        await pipe.execute()
