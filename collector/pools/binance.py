"""Binance Pool, as its website shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sources.base import WEBSITE_TERMS, PoolSource, Request
from collector.sources.decoding import Figure, entry
from collector.sources.envelope import Envelope
from collector.sources.single import single_pool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Reading


class _Algorithm(msgspec.Struct, rename="camel"):
    algo_name: str
    pool_hash: Figure | None


class _Index(msgspec.Struct, rename="camel"):
    algo_list: list[_Algorithm]


# Hashrates are in H/s.
parse = single_pool(
    "binancepool",
    _Index,
    lambda index: entry(index.algo_list, "SHA256", lambda one: one.algo_name).pool_hash,
    envelope=Envelope(message="msg"),
)


def example(readings: Sequence[Reading], _at: datetime) -> list[bytes]:
    """Return the index of algorithms, with whole H/s as text."""
    (reading,) = readings
    algorithm = {
        "algoName": "SHA256",
        "poolHash": str(round(reading.hashrate)),
        "effectiveCount": 81_234,
        "rate": 0.025,
        "symbolInfos": [{"symbol": "BTC", "eachEarn": "0.00000045", "eachEarnMap": {}}],
    }
    return [msgspec.json.encode({"code": 0, "msg": "", "data": {"algoList": [algorithm]}})]


SOURCE = PoolSource(
    slug="binance",
    name="Binance Pool",
    home="https://pool.binance.com",
    docs=None,
    terms=WEBSITE_TERMS,
    requests=(Request("https://pool.binance.com/mining-api/v1/public/pool/index"),),
    poll_s=120,
    poll_reason="No limit is documented; other clients poll every two minutes.",
    averaging_s=600,
    hold_s=600,
    least=1e18,
    confidence="medium",
    unsure=(
        "It is not documented over what time the figure is averaged, nor whether it includes other"
        " coins of the same algorithm. The host may reject clients that are not browsers."
    ),
    default=True,
    pool="binancepool",
    parse=parse,
    example=example,
)
