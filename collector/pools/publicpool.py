"""Public Pool, a pool of solo miners, as it reports itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sources import decoding
from collector.sources.base import PoolSource, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class _Pool(msgspec.Struct, rename={"hashrate": "totalHashRate"}):
    hashrate: float | None


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The sum of its miners in H/s. The answer has no time of its own."""
    hashrate = decoding.hashrate(decoding.decode(bodies[0], _Pool).hashrate)
    return [] if hashrate is None else [Reading("publicpool", hashrate)]


SOURCE = PoolSource(
    slug="publicpool",
    name="Public Pool",
    home="https://web.public-pool.io",
    docs="https://github.com/benjamin-wilson/public-pool",
    terms="none stated",
    requests=(Request("https://public-pool.io:40557/api/pool"),),
    poll_s=300,
    poll_reason="the server caches the answer for 5 minutes",
    averaging_s=600,
    hold_s=900,
    confidence="medium",
    unsure="shape and address are those of its public source code, which others run too",
    default=True,
    pool="publicpool",
    parse=parse,
)
