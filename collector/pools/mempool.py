"""Pools by the blocks that they found in 24 hours, at mempool.space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from collector.sources import decoding
from collector.sources.base import PermanentError, PoolSource, Reading, Request
from miningmap.messages import Slug

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_Count = Annotated[int, msgspec.Meta(ge=0)]

# The hashrate of no pool that anybody knows: it is part of the network, but not of what is seen.
_UNATTRIBUTED = "unknown"


class _Pool(msgspec.Struct, rename="camel"):
    slug: Slug
    block_count: _Count


class _Pools(msgspec.Struct, rename="camel"):
    pools: list[_Pool]
    block_count: _Count
    last_estimated_hashrate: float


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """Each pool's part of the blocks, times the estimate of the network's hashrate (H/s).

    A pool that found no block may well have hashrate, so it is left out rather than 0. The
    estimate is 0 while mempool's own node is down: then nothing is known of anybody.
    """
    answer = decoding.decode(bodies[0], _Pools)
    if sum(pool.block_count for pool in answer.pools) > answer.block_count:
        raise PermanentError("the pools found more blocks than there are", reason="shape")
    network = decoding.hashrate(answer.last_estimated_hashrate)
    if not network:
        return []
    return [
        Reading(
            pool.slug,
            pool.block_count / answer.block_count * network,
            blocks=pool.block_count,
        )
        for pool in answer.pools
        if pool.block_count and pool.slug != _UNATTRIBUTED
    ]


SOURCE = PoolSource(
    slug="mempool",
    name="mempool.space, pools by blocks of 24 h",
    home="https://mempool.space",
    docs="https://mempool.space/docs/api/rest",
    terms="https://mempool.space/terms-of-service",
    requests=(Request("https://mempool.space/api/v1/mining/pools/24h"),),
    poll_s=60,
    poll_reason="the server caches the answer for 60 s; limits are not published, 429 then a ban",
    averaging_s=86_400,
    # An average over a day is hardly another one ten minutes later.
    hold_s=600,
    confidence="high",
    default=True,
    pool=None,
    parse=parse,
)
