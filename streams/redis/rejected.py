"""The newest rejected reading of each pool, as Redis has them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

import msgspec

from miningmap.api.models import Refusal
from miningmap.messages import SLUG
from streams.redis.damage import remove_wrong_types

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from redis.asyncio import Redis

    from streams.redis.keys import Generation

_decode = msgspec.json.Decoder(Refusal).decode


async def write_newer(redis: Redis, generation: Generation, newest: Mapping[str, Refusal]) -> None:
    """Write the rejected readings, by pool, that are newer than the stored ones."""
    await remove_wrong_types(redis, {generation.rejected: "hash"})
    found = await redis.hgetall(generation.rejected)
    stored = decode(cast("dict[bytes, bytes]", found))
    newer = {
        pool: msgspec.json.encode(rejection)
        for pool, rejection in newest.items()
        if pool not in stored or stored[pool].at < rejection.at
    }
    if newer:
        mapping = cast("Mapping[Any, Any]", newer)
        await redis.hset(generation.rejected, mapping=mapping)


def decode(found: Mapping[bytes, bytes]) -> dict[str, Refusal]:
    """Return the rejected readings by pool; what is damaged counts as missing."""
    read = ((_pool(name), _refusal(raw)) for name, raw in found.items())
    return {pool: each for pool, each in read if pool and each}


def _pool(name: bytes) -> str | None:
    text = name.decode(errors="replace")
    return text if re.match(SLUG, text) else None


def _refusal(raw: bytes) -> Refusal | None:
    try:
        return _decode(raw)
    except (ValueError, RecursionError):
        return None
