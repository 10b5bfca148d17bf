"""2Miners, as the pool reports itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sources.base import PoolSource, Request
from collector.sources.decoding import Figure, unix_time
from collector.sources.single import single_pool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Reading


class _Stats(msgspec.Struct):
    hashrate: Figure | None
    now: float


# In H/s; "now" is the server's time in milliseconds.
parse = single_pool(
    "2miners",
    _Stats,
    lambda stats: stats.hashrate,
    observed_at=lambda stats: unix_time(stats.now, per_second=1000),
)


def example(readings: Sequence[Reading], at: datetime) -> list[bytes]:
    """Return the pool's statistics, in whole H/s and with the server's time in ms."""
    (reading,) = readings
    stats = {
        "hashrate": round(reading.hashrate),
        "minersTotal": 93,
        "workersTotal": 410,
        "now": int((reading.observed_at or at).timestamp() * 1000),
    }
    return [msgspec.json.encode(stats)]


SOURCE = PoolSource(
    slug="twominers",
    name="2Miners",
    home="https://2miners.com/btc-mining-pool",
    docs=None,
    terms="none stated",
    requests=(Request("https://btc.2miners.com/api/stats"),),
    poll_s=60,
    poll_reason="The figures of a small pool change each minute; no limit is documented.",
    averaging_s=1800,
    hold_s=300,
    confidence="medium",
    unsure=(
        "It is not documented over what time the figure is averaged; the usual software of such"
        " pools takes half an hour."
    ),
    default=True,
    pool="2miners",
    parse=parse,
    example=example,
)
