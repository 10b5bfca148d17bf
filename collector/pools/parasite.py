"""Parasite, a small pool, as it reports itself."""

from __future__ import annotations

import msgspec

from collector.sources.base import WEBSITE_TERMS, PoolSource, Request
from collector.sources.decoding import Figure
from collector.sources.single import single_pool


class _PoolStats(msgspec.Struct):
    hashrate: Figure | None


parse = single_pool("parasite", _PoolStats, lambda stats: stats.hashrate)


SOURCE = PoolSource(
    slug="parasite",
    name="Parasite",
    home="https://parasite.space",
    docs=None,
    terms=WEBSITE_TERMS,
    requests=(Request("https://parasite.space/api/pool-stats"),),
    poll_s=300,
    poll_reason="Neither limits nor caches are documented, and the pool is small.",
    averaging_s=300,  # by the code of its server
    hold_s=1800,
    confidence="low",
    unsure="The shape is known only from other clients.",
    default=False,
    pool="parasite",
    parse=parse,
)
