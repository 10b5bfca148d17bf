"""ViaBTC, as the chart on its website shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sources.base import WEBSITE_TERMS, PoolSource, Request
from collector.sources.decoding import Figure
from collector.sources.envelope import Envelope
from collector.sources.single import single_pool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Reading


class _Chart(msgspec.Struct):
    # In H/s.
    viabtc_hash: list[Figure | None]


parse = single_pool(
    "viabtc",
    _Chart,
    lambda chart: chart.viabtc_hash[-1] if chart.viabtc_hash else None,
    envelope=Envelope(),
)


def example(readings: Sequence[Reading], _at: datetime) -> list[bytes]:
    """Return a chart whose points are all the same, in whole H/s."""
    (reading,) = readings
    data = {"viabtc_hash": [round(reading.hashrate)] * 2}
    return [msgspec.json.encode({"code": 0, "message": "OK", "data": data})]


SOURCE = PoolSource(
    slug="viabtc",
    name="ViaBTC",
    home="https://www.viabtc.com",
    docs=None,
    terms=WEBSITE_TERMS,
    requests=(Request("https://www.viabtc.com/res/pool/BTC/state/usd/chart"),),
    poll_s=300,
    poll_reason="It is a chart, and it is not documented how often a point is added.",
    # Not documented; this is the shortest average in the pool's API for accounts.
    averaging_s=600,
    hold_s=900,
    least=1e19,
    confidence="medium",
    unsure=(
        "It is not documented how far apart the points are, nor over what time each is averaged."
    ),
    default=True,
    pool="viabtc",
    parse=parse,
    example=example,
)
