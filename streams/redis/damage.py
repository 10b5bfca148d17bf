"""Damage: what in Redis is not what this software writes there, and what becomes of it.

No value in Redis may end a service or stop more than it is about. There are two kinds of data:

- A **series** that cannot be read, or whose claims cannot be written, is left out whole. What it
  would have been is in Kafka: ``miningmap rebuild`` makes it anew. Nothing of it is removed or
  shown before, because a figure with a gap that nobody sees is worse than none.
- **All else** (the snapshot, the log of events, swings, rejected readings, leases) counts as
  missing and is replaced, because it is made again from the series or from Kafka.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import structlog
from redis import ResponseError

from miningmap.redis_errors import cause_of
from streams.redis.encoding import decode_series

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from redis.asyncio import Redis

    from streams.redis.keys import Generation

SHOWN: Final = 5
"""How many of several damaged things the log names."""

_SCRIPT_FAILED: Final = ("user_script:", "Error running script")
_LONGEST: Final = 200

_log = structlog.get_logger(__name__)


def is_wrong_type(error: object) -> bool:
    """Return whether a reply of Redis says that a key has another type than it should have."""
    # In a transaction the command stands before it.
    return isinstance(error, ResponseError) and "WRONGTYPE Operation" in str(error)


def is_damage(error: object) -> bool:
    """Return whether a script failed because of the values that it met."""
    if is_wrong_type(error):
        return True
    # Older versions report what is wrong with Redis itself (full, read only) as errors of scripts.
    return (
        isinstance(error, ResponseError)
        and str(error).startswith(_SCRIPT_FAILED)
        and cause_of(error) in {"refused", "too_large"}
    )


def described(error: object) -> str:
    """Return why something is damaged in a few words, without the name of a script."""
    return str(error).partition(" script: ")[0][:_LONGEST]


def raise_other_errors(replies: Iterable[object]) -> None:
    """Raise the first error of Redis in replies that no damaged value has caused."""
    for reply in replies:
        if isinstance(reply, Exception) and not is_damage(reply):
            raise reply


def say_damaged(damaged: Mapping[str, str]) -> None:
    """Log which series are left out, and why; the log itself leaves out repetitions."""
    if damaged:
        shown = [f"{name}: {reason}" for name, reason in sorted(damaged.items())[:SHOWN]]
        _log.warning("series_damaged", count=len(damaged), problems=shown)


async def remove_wrong_types(redis: Redis, expected: Mapping[str, str]) -> None:
    """Remove those keys of which the type is wrong: nothing that is needed can be in them.

    Args:
        redis: where they are.
        expected: the type that each key has, as ``TYPE`` calls it. None may be a key of a series.
    """
    for key, kind in expected.items():
        found = cast("bytes", await redis.type(key)).decode()
        if found not in {kind, "none"}:
            await redis.unlink(key)
            _log.warning("redis_key_replaced", key=key, error=f"is a {found} instead of a {kind}")


async def replace_index(redis: Redis, generation: Generation) -> None:
    """Make the set of all series anew from the keys of the series, if it is no set any more."""
    await remove_wrong_types(redis, {generation.series: "set"})
    prefix = f"mm:{generation.number}:{{"
    pattern = f"{prefix}*}}:*:meta"
    found: list[bytes] = [key async for key in redis.scan_iter(match=pattern, count=1000)]
    if entries := [entry for each in found if (entry := _entry_of(each, prefix))]:
        await redis.sadd(generation.series, *entries)


def _entry_of(meta_key: bytes, prefix: str) -> str | None:
    """Return the entry in the set of all series of a key of meta data."""
    try:
        subject, source = meta_key.decode().removeprefix(prefix).removesuffix(":meta").split("}:")
        entry = f"{subject.removeprefix('p:') if subject != 'n' else ''}/{source}"
        decode_series(entry.encode())
    except ValueError:
        return None
    return entry
