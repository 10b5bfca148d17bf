"""Luxor, the whole pool, as it tells the holder of any account."""

from __future__ import annotations

import msgspec

from collector.sources.authorisation import credentials_in
from collector.sources.base import Credential, PoolSource, Request
from collector.sources.decoding import Figure
from collector.sources.single import single_pool


class _PoolHashrate(msgspec.Struct):
    hashrate_5m: Figure | None  # H/s, as text


parse = single_pool("luxor", _PoolHashrate, lambda pool: pool.hashrate_5m)


SOURCE = PoolSource(
    slug="luxor_pool",
    name="Luxor, the whole pool",
    home="https://luxor.tech/mining",
    docs="https://docs.luxor.tech/platform/api/introduction",
    terms="for the holder of an account",
    credentials=(Credential("token", "an API key of any workspace, which may be that of luxor"),),
    requests=(Request("https://app.luxor.tech/api/v2/pool/pool-hashrate/BTC"),),
    # The token as it is: without "Bearer".
    authorise=credentials_in(headers={"Authorization": "{token}"}),
    poll_s=300,
    poll_reason=(
        "The figure is an average over 5 minutes; requests of each key and workspace are limited."
    ),
    averaging_s=300,
    hold_s=600,
    confidence="medium",
    unsure="The request and its shape are known only from other clients.",
    default=False,
    pool="luxor",
    parse=parse,
)
