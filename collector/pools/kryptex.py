"""Kryptex, as the pool reports itself."""

from __future__ import annotations

import msgspec

from collector.sources.base import PoolSource, Request
from collector.sources.decoding import hashrate
from collector.sources.single import single_pool


class _Stats(msgspec.Struct):
    hashrate: float | None
    net_hashrate: float


# In H/s. The hashrate of the whole network stands beside it, so a wrong unit shows.
parse = single_pool(
    "kryptex", _Stats, lambda stats: hashrate(stats.hashrate, most=stats.net_hashrate)
)


SOURCE = PoolSource(
    slug="kryptex",
    name="Kryptex Pool",
    home="https://pool.kryptex.com/btc",
    docs=None,
    terms="an API of the pool's own site, without any promise",
    requests=(Request("https://pool.kryptex.com/btc/api/v1/pool/stats"),),
    poll_s=300,
    poll_reason="limits are not stated; clients come every ten minutes",
    averaging_s=1800,
    hold_s=900,
    confidence="low",
    unsure="clients ask this of the pool's other coins; of Bitcoin only pool/info was seen."
    " Over what time it averages: its shortest average of a worker is half an hour",
    default=False,
    pool="kryptex",
    parse=parse,
)
