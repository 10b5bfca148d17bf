"""Braiins Pool, as the pool reports itself to holders of an account."""

from __future__ import annotations

import msgspec

from collector.sources.authorisation import credentials_in
from collector.sources.base import Credential, PoolSource, Rate, Request
from collector.sources.decoding import Figure, unix_time
from collector.sources.envelope import Envelope
from collector.sources.single import single_pool


class _Stats(msgspec.Struct):
    hash_rate_unit: str
    pool_5m_hash_rate: Figure | None
    update_ts: float


# The average over 5 minutes, in the unit that the response names ("Gh/s").
parse = single_pool(
    "braiinspool",
    _Stats,
    lambda stats: stats.pool_5m_hash_rate,
    envelope=Envelope(code=None, data="btc"),
    unit=lambda stats: stats.hash_rate_unit,
    observed_at=lambda stats: unix_time(stats.update_ts),
)


SOURCE = PoolSource(
    slug="braiins",
    name="Braiins Pool",
    home="https://braiins.com/pool",
    docs="https://help.braiins.com/en/support/solutions/articles/77000433512-api-configuration-guide",
    terms="for holders of an account; too many requests are ignored, then the client is banned",
    credentials=(
        Credential(
            "token",
            "the token of an access profile that may use web APIs (Settings, Access Profiles)",
        ),
    ),
    requests=(Request("https://pool.braiins.com/stats/json/btc/"),),
    authorise=credentials_in(headers={"Pool-Auth-Token": "{token}"}),
    rate=Rate(1, 5),
    poll_s=60,
    poll_reason=(
        "The figure is an average over 5 minutes; about one request in 5 seconds is allowed."
    ),
    averaging_s=300,
    # The figure's own time can be as old as the average is long.
    hold_s=600,
    least=1e18,
    confidence="high",
    unsure="The response to a wrong token is not known.",
    default=False,
    pool="braiinspool",
    parse=parse,
)
