"""CloverPool, formerly BTC.com, as the pool reports itself."""

from __future__ import annotations

import msgspec

from collector.sources.base import PoolSource, Request
from collector.sources.decoding import BareNumber
from collector.sources.envelope import Envelope
from collector.sources.single import single_pool


class _Status(msgspec.Struct):
    pool_hashrate: float | BareNumber | None
    pool_hashrate_unit: str


parse = single_pool(
    "btccom",
    _Status,
    lambda status: status.pool_hashrate,
    envelope=Envelope(code="err_no", message="err_msg"),
    unit=lambda status: status.pool_hashrate_unit,
)


SOURCE = PoolSource(
    slug="btccom",
    name="CloverPool (BTC.com)",
    home="https://cloverpool.com",
    docs=None,
    terms="an API of the pool's own site, without any promise",
    requests=(Request("https://pool.api.btc.com/v1/pool/status/"),),
    poll_s=300,
    poll_reason="the site itself asked far more often; limits are not stated",
    averaging_s=900,
    hold_s=900,
    confidence="low",
    unsure="whether the host still answers after the pool's renaming; over what time it averages",
    default=False,
    pool="btccom",
    parse=parse,
)
