"""ViaBTC, as its website shows it: the pool's state or, if that cannot be read, a chart."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from collector.sources.base import WEBSITE_TERMS, PoolSource, Request, SourceError
from collector.sources.decoding import Figure
from collector.sources.envelope import Envelope
from collector.sources.single import single_pool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Reading


_POOL: Final = "https://www.viabtc.com/res/pool/BTC"


class _State(msgspec.Struct):
    hashrate: Figure | None  # H/s, as text


class _Chart(msgspec.Struct):
    # In H/s.
    viabtc_hash: list[Figure | None]


_of_state = single_pool("viabtc", _State, lambda state: state.hashrate, envelope=Envelope())
_of_chart = single_pool(
    "viabtc",
    _Chart,
    lambda chart: chart.viabtc_hash[-1] if chart.viabtc_hash else None,
    envelope=Envelope(),
)


def more(bodies: Sequence[bytes]) -> list[Request]:
    """Return the request of the chart if the state has no figure."""
    with suppress(SourceError):
        if len(bodies) > 1 or _of_state(bodies):
            return []
    return [Request(f"{_POOL}/state/usd/chart")]


def parse(bodies: Sequence[bytes]) -> list[Reading]:
    """Return the pool's hashrate: that of the chart, if it was requested."""
    state, *chart = bodies
    return _of_chart(chart) if chart else _of_state([state])


def example(readings: Sequence[Reading], _at: datetime) -> list[bytes]:
    """Return the pool's state, in whole H/s."""
    (reading,) = readings
    data = {"coin": "BTC", "hashrate": str(round(reading.hashrate)), "hash_unit": "H/s"}
    return [msgspec.json.encode({"code": 0, "message": "OK", "data": data})]


SOURCE = PoolSource(
    slug="viabtc",
    name="ViaBTC",
    home="https://www.viabtc.com",
    docs=None,
    terms=WEBSITE_TERMS,
    requests=(Request(f"{_POOL}/state", optional=True),),
    more=more,
    poll_s=300,
    poll_reason="It is not documented how often the state changes, nor the chart.",
    # Not documented; this is the shortest average in the pool's API for accounts.
    averaging_s=600,
    hold_s=900,
    least=1e19,
    confidence="medium",
    unsure=(
        "The state's shape is known only from other clients. It is not documented over what time it"
        " and the points of the chart are averaged."
    ),
    default=True,
    pool="viabtc",
    parse=parse,
    example=example,
)
