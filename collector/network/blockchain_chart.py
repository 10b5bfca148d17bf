"""The network's hashrate by day, as blockchain.com charts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from collector.sources import decoding
from collector.sources.base import NetworkSource, PermanentError, Request
from collector.sources.envelope import Envelope
from collector.sources.single import network_reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.sources.base import NetworkReading

_UNIT: Final = "Hash Rate TH/s"
_ENVELOPE: Final = Envelope(code="status", ok=("ok",), message="error", data=None)


class _Point(msgspec.Struct):
    x: float
    y: decoding.Figure | None


class _Chart(msgspec.Struct):
    unit: str
    values: list[_Point]


def parse(bodies: Sequence[bytes]) -> list[NetworkReading]:
    """Return the newest point that has a figure; it can be more than a day old."""
    chart = _ENVELOPE.decode(bodies[0], _Chart)
    if not decoding.is_named(chart.unit, _UNIT):
        raise PermanentError(f"the unit is {chart.unit[:50]!r}, not {_UNIT!r}", reason="unit")
    for point in sorted(chart.values, key=lambda point: point.x, reverse=True):
        if hashrate := decoding.hashrate(point.y, "TH/s"):
            return network_reading(hashrate, decoding.unix_time(point.x))
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
    poll_reason="The chart has one point a day; a source must be polled at least once an hour.",
    averaging_s=28_800,
    hold_s=3600,
    confidence="high",
    unsure=(
        "The newest point can be more than a day old and then does not count, so the source is off"
        " by default."
    ),
    default=False,
    parse=parse,
)
