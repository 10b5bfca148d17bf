"""SoloPool.org, as the pool reports itself."""

from __future__ import annotations

import msgspec

from collector.sources.base import PoolSource, Request
from collector.sources.single import single_pool


class _Stats(msgspec.Struct):
    hashrate: float | None


# The pool's hashrate in H/s; the network's, as its node sees it, stands elsewhere in the response.
parse = single_pool("solopool", _Stats, lambda stats: stats.hashrate)


SOURCE = PoolSource(
    slug="solopool",
    name="SoloPool.org",
    home="https://btc.solopool.org",
    docs=None,
    terms="none stated",
    requests=(Request("https://btc.solopool.org/api/stats"),),
    poll_s=60,
    poll_reason="a small pool, whose figures move by the minute; limits are not stated",
    averaging_s=600,
    hold_s=300,
    confidence="medium",
    unsure="over what time it averages",
    default=True,
    pool="solopool",
    parse=parse,
)
