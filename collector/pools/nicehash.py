"""NiceHash's market for hashrate, which mines at the pools of those who buy it.

Its hashrate is therefore in the totals of those pools, too. Since 2026 it has one market, which is
named after the coin in which orders are paid.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Final

import msgspec

from collector.sources import decoding
from collector.sources.base import PermanentError, PoolSource, Reading, Request
from miningmap.messages import Instant

if TYPE_CHECKING:
    from collections.abc import Sequence

# Both are Bitcoin's algorithm; each has its own rigs and orders.
_ALGORITHMS: Final = ("SHA256ASICBOOST", "SHA256")


class _Market(msgspec.Struct, rename="camel"):
    total_speed: decoding.Figure | None
    market_factor: decoding.Figure  # "1000000000000000000", also seen as "1e18"
    display_market_factor: str
    updated_ts: Instant | None = None


class _OrderBook(msgspec.Struct):
    stats: dict[str, _Market]


def parse(bodies: Sequence[bytes]) -> list[Reading]:
    """Return the markets of both algorithms as one, as of the older of them.

    Raises:
        PermanentError: an order book has no market of Bitcoin.
    """
    markets = [_market(decoding.decode(body, _OrderBook)) for body in bodies]
    total = decoding.sum_or_unknown(map(_speed, markets))
    if total is None:
        return []
    times = [market.updated_ts for market in markets if market.updated_ts is not None]
    return [Reading("nicehash-market", total, observed_at=min(times, default=None))]


def _market(book: _OrderBook) -> _Market:
    _, market = decoding.entry(book.stats.items(), "BTC", itemgetter(0))
    return market


def _speed(market: _Market) -> float | None:
    """Return the speed in H/s. Its unit is given twice, as a number and as a name.

    Raises:
        PermanentError: the two differ.
    """
    unit = market.display_market_factor
    if decoding.hashrate(market.market_factor) != decoding.hashrate(f"1 {unit}"):
        raise PermanentError(f"1 {unit[:16]} is not {market.market_factor!s:.32}", reason="unit")
    return decoding.hashrate(market.total_speed, unit)


_ORDER_BOOK: Final = "https://api2.nicehash.com/main/api/v2/hashpower/orderBook?algorithm="


SOURCE = PoolSource(
    slug="nicehash",
    name="NiceHash, hashpower market",
    home="https://www.nicehash.com",
    docs="https://www.nicehash.com/docs/rest",
    terms="none stated for the public requests, which need no key",
    scope="market",
    requests=tuple(Request(_ORDER_BOOK + algorithm) for algorithm in _ALGORITHMS),
    poll_s=60,
    poll_reason="No limit is documented; the previous API required 3 s between requests.",
    # Not documented.
    averaging_s=300,
    hold_s=300,
    confidence="medium",
    unsure=(
        "It is not documented over what time a speed is averaged, whether the time in the response"
        " is the time of the speed, and what part mines other coins. The hashrate is also in the"
        " totals of the pools at which buyers mine, so the source is off by default."
    ),
    default=False,
    pool="nicehash-market",
    parse=parse,
)
