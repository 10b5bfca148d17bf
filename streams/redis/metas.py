"""Reading the meta data of many series (:mod:`streams.redis.keys`).

What is read of a series is its fields and values, or the error of a key that is damaged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from redis.exceptions import ResponseError

from streams.redis.damage import raise_other_errors
from streams.redis.scripts import script_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio import Redis

Meta: TypeAlias = "Mapping[bytes, bytes]"

_SCRIPT: Final = script_of("changed.lua")
_AT_ONCE: Final = 200
"""How many series one run of the script compares: less than a millisecond of Redis."""
_UNKNOWN: Final = " " * 40


async def read_all(redis: Redis, keys: Sequence[str]) -> list[Meta | ResponseError]:
    """Return the meta data at each key; that of a key that does not exist is empty.

    Raises:
        redis.RedisError: Redis is unavailable.
    """
    async with redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hgetall(key)
        replies: list[Meta | ResponseError] = await pipe.execute(raise_on_error=False)
    raise_other_errors(replies)
    return replies


async def read_changed(
    redis: Redis, keys: Sequence[str], digests: Sequence[str | None]
) -> dict[int, Meta | ResponseError]:
    """Return the meta data at those keys where it has changed, by the number of the key.

    A command for each of many series costs the process ten times what it costs Redis to compare
    them, so Redis does that in a script.

    Args:
        redis: a single one; the keys are in many slots.
        keys: of the meta data.
        digests: those of what is known (:attr:`streams.redis.loaded_cells.SeriesCells.digest`).

    Raises:
        redis.RedisError: Redis is unavailable, or does not allow scripts.
    """
    async with redis.pipeline(transaction=False) as pipe:
        starts = range(0, len(keys), _AT_ONCE)
        for start in starts:
            some = slice(start, start + _AT_ONCE)
            known = "".join(each or _UNKNOWN for each in digests[some])
            pipe.eval(_SCRIPT.text, len(keys[some]), *keys[some], known)
        replies = await pipe.execute()
    found: dict[int, Meta | ResponseError] = {}
    for start, reply in zip(starts, replies, strict=True):
        for number, words in zip(reply[::2], reply[1::2], strict=True):
            found[start + number] = _meta_of(words)
    raise_other_errors(found.values())
    return found


def _meta_of(words: Sequence[bytes] | ResponseError) -> Meta | ResponseError:
    if isinstance(words, ResponseError):
        return words
    return dict(zip(words[::2], words[1::2], strict=True))
