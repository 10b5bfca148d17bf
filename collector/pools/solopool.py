"""SoloPool.org, as the pool reports itself."""

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


class _Stats(msgspec.Struct):
    hashrate: Figure | None


# The pool's hashrate in H/s, not that of the network, which is in the response, too.
parse = single_pool("solopool", _Stats, lambda stats: stats.hashrate)


def example(readings: Sequence[Reading], at: datetime) -> list[bytes]:
    """Return the pool's statistics, in whole H/s."""
    (reading,) = readings
    stats = {
        "hashrate": round(reading.hashrate),
        "totalMiners": 412,
        "totalWorkers": 655,
        "totalBlocks": 87,
        "charts": [{"x": int(at.timestamp()), "y": round(reading.hashrate)}],
    }
    return [msgspec.json.encode(stats)]


SOURCE = PoolSource(
    slug="solopool",
    name="SoloPool.org",
    home="https://btc.solopool.org",
    docs=None,
    terms="none stated",
    requests=(Request("https://btc.solopool.org/api/stats"),),
    poll_s=60,
    poll_reason="The figures of a small pool change each minute; no limit is documented.",
    averaging_s=600,
    hold_s=300,
    confidence="medium",
    unsure="It is not documented over what time the figure is averaged.",
    default=True,
    pool="solopool",
    parse=parse,
    example=example,
)
