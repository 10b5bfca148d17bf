"""MiningPoolStats, which asks pools itself and shows what they told it: a relay, on wish only.

It knows the totals of pools that tell them nobody else, such as F2Pool and SpiderPool.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from collector.sources import decoding
from collector.sources.base import PermanentError, PoolSource, Reading, Request
from miningmap.pool_names import pool_slug

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Secrets


class _Pool(msgspec.Struct):
    pool_id: str | None
    hashrate: float | None


class _Pools(msgspec.Struct):
    hashrate: float
    data: list[_Pool]


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The totals that it knows, in H/s; -1 and -2 are unknown. They have no time of their own.

    A pool that is listed more than once is left out: nothing says whether its figures overlap.
    """
    answer = decoding.decode(bodies[0], _Pools)
    slugs = [pool_slug(pool.pool_id or "") for pool in answer.data]
    times = Counter(slugs)
    readings = []
    for pool, slug in zip(answer.data, slugs, strict=True):
        hashrate = decoding.hashrate(pool.hashrate)
        if slug is None or times[slug] > 1 or hashrate is None:
            continue
        if hashrate > answer.hashrate:
            raise PermanentError(f"{slug} has more than the whole network", reason="unit")
        readings.append(Reading(slug, hashrate))
    return readings


def authorise(request: Request, _secrets: Secrets, now: datetime) -> Request:
    """The request with the time, without which an answer may be an old one from a cache."""
    return replace(request, url=f"{request.url}?t={int(now.timestamp())}")


SOURCE = PoolSource(
    slug="miningpoolstats",
    name="MiningPoolStats, relayed totals of pools",
    home="https://miningpoolstats.stream",
    docs=None,
    terms="the data of the site's own pages: no API, no promise",
    requests=(
        Request(
            "https://data.miningpoolstats.stream/data/bitcoin.js",
            headers={"Referer": "https://miningpoolstats.stream/bitcoin"},
        ),
    ),
    authorise=authorise,
    poll_s=600,
    poll_reason="no API, so as seldom as is of use",
    # Of each pool another; not stated.
    averaging_s=600,
    hold_s=1800,
    confidence="low",
    unsure=(
        "whether it answers those who do not pose as a browser; how pools are named; how old a"
        " figure is. It relays what pools say elsewhere, so it is off by default"
    ),
    default=False,
    pool=None,
    parse=parse,
)
