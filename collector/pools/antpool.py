"""AntPool, as its website shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from collector.sources.base import WEBSITE_TERMS, PoolSource, Request
from collector.sources.decoding import entry
from collector.sources.envelope import Envelope
from collector.sources.single import single_pool
from miningmap.inputs import matching
from miningmap.units import format_hashrate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Reading

# "173.25 EH/s", or a sign for unknown. A number without a unit is not accepted: its scale would be
# a guess.
_WithUnit = Annotated[
    str,
    matching(
        r"^(\s*[0-9.]+\s*[A-Za-z]+/s\s*|[?-]?)$", "a number with its unit, such as 173.25 EH/s"
    ),
]


class _Coin(msgspec.Struct, rename="camel"):
    coin_type: str
    pool_hashrate: _WithUnit | None


class _Coins(msgspec.Struct):
    items: list[_Coin]


parse = single_pool(
    "antpool",
    _Coins,
    lambda coins: entry(coins.items, "BTC", lambda coin: coin.coin_type).pool_hashrate,
    envelope=Envelope(ok=("000000",), message="msg"),
)


def example(readings: Sequence[Reading], _at: datetime) -> list[bytes]:
    """Return the list of coins, with a figure like "173.25 EH/s"."""
    (reading,) = readings
    number, unit = format_hashrate(reading.hashrate, None).split()
    coin = {
        "coinType": "BTC",
        "algorithm": "SHA256d",
        "poolHashrate": f"{float(number):.2f} {unit}",
        "networkDiff": "133000000000000",
        "blockReward": "3.125",
        "blockIncentive": "0.02",
        "mergeMiningInfos": [],
    }
    return [msgspec.json.encode({"code": "000000", "msg": "ok", "data": {"items": [coin]}})]


SOURCE = PoolSource(
    slug="antpool",
    name="AntPool",
    home="https://www.antpool.com",
    docs=None,
    terms=WEBSITE_TERMS,
    requests=(Request("https://www.antpool.com/auth/v3/index/poolcoins"),),
    poll_s=60,
    poll_reason="The documented limit is 600 requests in 10 minutes; beyond it clients are banned.",
    # Not documented; this is the shortest average in the pool's API for accounts.
    averaging_s=600,
    hold_s=300,
    least=1e19,
    confidence="medium",
    default=True,
    pool="antpool",
    parse=parse,
    example=example,
)
