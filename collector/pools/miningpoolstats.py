"""MiningPoolStats, which shows what pools tell it; off unless the operator names it.

It has totals of pools that do not publish them, such as F2Pool and SpiderPool.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from collector.sources import decoding
from collector.sources.base import PoolSource, Request
from collector.sources.single import pool_reading
from miningmap.pool_names import pool_slug

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Reading, Secrets


class _Pool(msgspec.Struct):
    pool_id: decoding.Label
    hashrate: decoding.Figure | None


class _Pools(msgspec.Struct):
    hashrate: decoding.Figure | None
    data: list[_Pool]


def parse(bodies: Sequence[bytes]) -> list[Reading]:
    """Return the totals, in H/s; -1 and -2 are unknown. They have no time of their own.

    A pool that is listed more than once is left out: its figures may or may not overlap. So is one
    with 0, which says nothing.
    """
    answer = decoding.decode(bodies[0], _Pools)
    listed = [(pool_slug(str(pool.pool_id)), pool.hashrate) for pool in answer.data]
    times = Counter(slug for slug, _ in listed)
    return [
        reading
        for slug, figure in listed
        if slug is not None and times[slug] == 1
        for reading in pool_reading(slug, decoding.part_of_network(figure, answer.hashrate) or None)
    ]


def authorise(request: Request, _secrets: Secrets, now: datetime) -> Request:
    """Return the request with the time, without which the response may be from an old cache."""
    return replace(request, url=f"{request.url}?t={int(now.timestamp())}")


SOURCE = PoolSource(
    slug="miningpoolstats",
    name="MiningPoolStats, relayed totals of pools",
    home="https://miningpoolstats.stream",
    docs=None,
    terms="the data of the website's own pages; there is no API and no guarantee",
    requests=(
        Request(
            "https://data.miningpoolstats.stream/data/bitcoin.js",
            headers={"Referer": "https://miningpoolstats.stream/bitcoin"},
        ),
    ),
    authorise=authorise,
    poll_s=600,
    poll_reason="There is no API, so it is polled as rarely as is useful.",
    # Not documented, and different for each pool.
    averaging_s=600,
    hold_s=1800,
    confidence="low",
    unsure=(
        "It is not known whether the server accepts clients that are not browsers, how pools are"
        " named, and how old a figure is. The source relays what pools publish elsewhere, so it is"
        " off by default."
    ),
    default=False,
    pool=None,
    basis="relayed",
    parse=parse,
)
