"""CloverPool, formerly BTC.com, as the pool reports itself."""

from __future__ import annotations

import msgspec

from collector.sources.base import WEBSITE_TERMS, PoolSource, Request
from collector.sources.decoding import Figure
from collector.sources.envelope import Envelope
from collector.sources.single import single_pool


class _Status(msgspec.Struct):
    pool_hashrate: Figure | None
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
    terms=WEBSITE_TERMS,
    requests=(Request("https://pool.api.btc.com/v1/pool/status/"),),
    poll_s=300,
    poll_reason="No limit is documented; the website itself sent requests far more often.",
    averaging_s=900,
    hold_s=900,
    confidence="low",
    unsure=(
        "It is not known whether the host still responds after the pool was renamed, nor over what"
        " time the figure is averaged."
    ),
    default=False,
    pool="btccom",
    parse=parse,
)
