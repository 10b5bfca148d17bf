"""Parasite, a small pool, as it reports itself."""

from __future__ import annotations

import msgspec

from collector.sources.base import PoolSource, Request
from collector.sources.single import single_pool


class _PoolStats(msgspec.Struct):
    hashrate: float | None


parse = single_pool("parasite", _PoolStats, lambda stats: stats.hashrate)


SOURCE = PoolSource(
    slug="parasite",
    name="Parasite",
    home="https://parasite.space",
    docs=None,
    terms="an API of the pool's own site, without any promise",
    requests=(Request("https://parasite.space/api/pool-stats"),),
    poll_s=300,
    poll_reason="neither limits nor caches are stated, and it is a small pool",
    # Not stated.
    averaging_s=300,
    hold_s=1800,
    confidence="low",
    unsure="the shape, which is known from clients alone; over what time the figure is an average",
    default=False,
    pool="parasite",
    parse=parse,
)
