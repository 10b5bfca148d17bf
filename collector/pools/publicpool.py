"""Public Pool, a pool of solo miners, as it reports itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sources.base import PoolSource, Request
from collector.sources.decoding import Figure
from collector.sources.single import single_pool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Reading


class _Pool(msgspec.Struct, rename={"hashrate": "totalHashRate"}):
    hashrate: Figure | None


# The sum of its miners, in H/s.
parse = single_pool("publicpool", _Pool, lambda pool: pool.hashrate)


def example(readings: Sequence[Reading], _at: datetime) -> list[bytes]:
    """Return the pool's statistics, in whole H/s."""
    (reading,) = readings
    stats = {
        "totalHashRate": round(reading.hashrate),
        "totalMiners": 8_123,
        "blocksFound": [],
        "fee": 0,
    }
    return [msgspec.json.encode(stats)]


SOURCE = PoolSource(
    slug="publicpool",
    name="Public Pool",
    home="https://web.public-pool.io",
    docs="https://github.com/benjamin-wilson/public-pool",
    terms="none stated",
    requests=(Request("https://public-pool.io:40557/api/pool"),),
    poll_s=300,
    poll_reason="The server caches the response for 5 minutes.",
    averaging_s=600,
    hold_s=900,
    confidence="medium",
    unsure="Shape and address are from its public source code, which others run too.",
    default=True,
    pool="publicpool",
    parse=parse,
    example=example,
)
