"""Pools by the blocks that they found in 24 hours, at mempool.space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from collector.sources import blocks, decoding
from collector.sources.base import PermanentError, PoolSource, Request
from miningmap.pool_names import pool_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Reading

# How the server names unknown finders.
_UNATTRIBUTED: Final = "unknown"


class _Pool(msgspec.Struct, rename="camel"):
    slug: decoding.Label
    block_count: blocks.Count


class _Pools(msgspec.Struct, rename="camel"):
    pools: list[_Pool]
    block_count: blocks.Count
    last_estimated_hashrate: float


def parse(bodies: Sequence[bytes]) -> list[Reading]:
    """Return each pool's part of the network's estimated hashrate, by its part of the blocks.

    A slug that names no pool is of unknown finders: their blocks are part of the network, but of no
    pool. The estimate (H/s) is 0 while mempool's own node is down.
    """
    answer = decoding.decode(bodies[0], _Pools)
    found = blocks.by_pool((pool.slug, pool.block_count) for pool in answer.pools)
    found[None] += answer.block_count - found.total()
    if found[None] < 0:
        raise PermanentError("the pools found more blocks than there are", reason="shape")
    return blocks.readings(found, decoding.hashrate(answer.last_estimated_hashrate))


def example(readings: Sequence[Reading], _at: datetime) -> list[bytes]:
    """Return the pools by rank; the readings' blocks are all blocks of the day."""
    ranked = sorted(readings, key=lambda reading: -(reading.blocks or 0))
    found = sum(reading.blocks or 0 for reading in ranked)
    network = sum(reading.hashrate for reading in ranked)
    pools = [
        {
            "poolId": rank,
            "name": pool_name(reading.pool),
            "link": f"https://{reading.pool}.example",
            "blockCount": reading.blocks,
            "rank": rank,
            "emptyBlocks": 0,
            "slug": reading.pool,
            "avgMatchRate": None if reading.pool == _UNATTRIBUTED else 99.5,
            "avgFeeDelta": "-0.0012",
            "poolUniqueId": rank,
        }
        for rank, reading in enumerate(ranked, start=1)
    ]
    answer = {
        "pools": pools,
        "blockCount": found,
        "lastEstimatedHashrate": network,
        "lastEstimatedHashrate3d": network,
        "lastEstimatedHashrate1w": network,
    }
    return [msgspec.json.encode(answer)]


SOURCE = PoolSource(
    slug="mempool",
    name="mempool.space, pools by blocks of 24 h",
    home="https://mempool.space",
    docs="https://mempool.space/docs/api/rest",
    terms="https://mempool.space/terms-of-service",
    requests=(Request("https://mempool.space/api/v1/mining/pools/24h"),),
    poll_s=60,
    poll_reason=(
        "The server caches the response for 60 s. Its limits are not published; beyond them it"
        " responds with 429, then bans the client."
    ),
    averaging_s=86_400,
    # An average over a day hardly changes in ten minutes.
    hold_s=600,
    confidence="high",
    default=True,
    pool=None,
    basis="mined",
    parse=parse,
    example=example,
)
