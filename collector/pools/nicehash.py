"""NiceHash's market: hashrate that is sold to whoever points it at a pool, so no pool of its own.

What it trades is also in the totals of the pools that its buyers mine at.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from collector.sources import decoding
from collector.sources.base import Locating, PermanentError, PoolSource, Reading, Request
from miningmap.messages import Located
from miningmap.places import OTHER

if TYPE_CHECKING:
    from collections.abc import Sequence

# Both are Bitcoin's algorithm; each has rigs and orders of its own.
_ALGORITHMS: Final = ("SHA256ASICBOOST", "SHA256")
# Sellers chose the nearest market ("EU", "EU_N", "USA", "USA_E"). Europe is no country: no code of
# one would be honest, and OTHER says "located, but in no listed country". By 2026 there is one
# market, "BTC", which tells no place.
_REGIONS: Final = (("EU", OTHER), ("USA", "US"))

# Also seen as "1e18".
_Factor = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$")]
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class _Market(msgspec.Struct, rename="camel"):
    total_speed: decoding.BareNumber | None
    market_factor: _Factor
    display_market_factor: str
    updated_ts: _Instant | None = None


class _OrderBook(msgspec.Struct):
    stats: dict[str, _Market]


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """All markets of both algorithms as one, as old as the oldest of them.

    One market that does not know its speed leaves the sum unknown: without it the whole would seem
    to have shrunk.
    """
    books = [decoding.decode(answer, _OrderBook).stats for answer in bodies]
    markets = [(name, market) for book in books for name, market in book.items()]
    speeds = [speed for _, market in markets if (speed := _speed(market)) is not None]
    if not all(books) or len(speeds) < len(markets):
        return []
    places = defaultdict[str, float](float)
    for (name, _), speed in zip(markets, speeds, strict=True):
        if place := _place(name):
            places[place] += speed
    times = [market.updated_ts for _, market in markets if market.updated_ts is not None]
    return [
        Reading(
            "nicehash-market",
            sum(speeds),
            places=tuple(Located(code, places[code], "estimated") for code in sorted(places)),
            observed_at=min(times, default=None),
        )
    ]


def _speed(market: _Market) -> float | None:
    """In H/s. The factor is told twice, as a number and as a unit, and has to be the same.

    Raises:
        PermanentError: it is not.
    """
    unit = market.display_market_factor
    if decoding.hashrate(market.market_factor) != decoding.hashrate(f"1 {unit}"):
        raise PermanentError(f"1 {unit[:16]} is not {market.market_factor[:32]}", reason="unit")
    return decoding.hashrate(market.total_speed, unit)


def _place(market: str) -> str | None:
    return next((code for start, code in _REGIONS if market.startswith(start)), None)


_ORDER_BOOK: Final = "https://api2.nicehash.com/main/api/v2/hashpower/orderBook?algorithm="

SOURCE = PoolSource(
    slug="nicehash",
    name="NiceHash, hashpower market",
    home="https://www.nicehash.com",
    docs="https://www.nicehash.com/docs/rest",
    terms="none stated for the public calls, which need no key",
    scope="market",
    requests=tuple(Request(_ORDER_BOOK + algorithm) for algorithm in _ALGORITHMS),
    poll_s=60,
    poll_reason="no limit is stated; the API before this one asked for 3 s between calls",
    # Not stated.
    averaging_s=300,
    hold_s=300,
    locates=Locating(
        "estimated", "country", "by market, where there are several: US, and OTHER for Europe"
    ),
    confidence="medium",
    unsure=(
        "over what time a speed is an average; that a market's time is its speed's; what part mines"
        " other coins. It is in the totals of the pools that buyers mine at, too, so it is off by"
        " default"
    ),
    default=False,
    pool="nicehash-market",
    parse=parse,
)
