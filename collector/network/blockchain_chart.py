"""The network's hashrate by day, as blockchain.com charts it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from collector.sources import decoding
from collector.sources.base import NetworkReading, NetworkSource, PermanentError, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

_OK: Final = "ok"
_UNIT: Final = "Hash Rate TH/s"

_Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**40)]


class _Point(msgspec.Struct):
    x: _Seconds
    y: float | None


class _Chart(msgspec.Struct):
    status: str
    unit: str
    values: list[_Point]


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[NetworkReading]:
    """The newest point that has a figure, in TH/s; it can be more than a day old."""
    chart = decoding.decode(bodies[0], _Chart)
    if chart.status != _OK:
        raise decoding.refused(chart.status)
    if chart.unit != _UNIT:
        raise PermanentError(f"in {chart.unit[:50]!r}, not in {_UNIT!r}", reason="unit")
    for point in sorted(chart.values, key=lambda point: point.x, reverse=True):
        hashrate = decoding.hashrate(point.y, "TH/s")
        if hashrate:
            return [NetworkReading(hashrate, datetime.fromtimestamp(point.x, UTC))]
    return []


SOURCE = NetworkSource(
    slug="blockchain_chart",
    name="Blockchain.com, chart",
    home="https://www.blockchain.com/explorer/charts/hash-rate",
    docs="https://www.blockchain.com/explorer/api/charts_api",
    terms="https://www.blockchain.com/legal/terms",
    requests=(
        Request(
            "https://api.blockchain.info/charts/hash-rate?timespan=7days&rollingAverage=8hours"
            "&format=json&sampled=false"
        ),
    ),
    poll_s=3540,
    poll_reason="a point a day: as seldom as a source may be asked",
    averaging_s=28_800,
    hold_s=3600,
    confidence="high",
    unsure="the newest point can be more than a day old, so it hardly ever counts: off by default",
    default=False,
    parse=parse,
)
