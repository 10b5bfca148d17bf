"""Braiins Pool, as the pool reports itself to those who have an account."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from collector.sources import decoding
from collector.sources.base import Credential, PoolSource, Rate, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.sources.base import Secrets


class _Stats(msgspec.Struct):
    hash_rate_unit: str
    pool_5m_hash_rate: float | None
    update_ts: int


class _Answer(msgspec.Struct):
    btc: _Stats


def authorise(request: Request, secrets: Secrets, _now: datetime) -> Request:
    """With the token in a header."""
    return replace(request, headers={"Pool-Auth-Token": secrets["token"]})


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The average over 5 minutes, in the unit that the answer names ("Gh/s")."""
    stats = decoding.decode(bodies[0], _Answer).btc
    hashrate = decoding.hashrate(stats.pool_5m_hash_rate, stats.hash_rate_unit)
    if hashrate is None:
        return []
    observed_at = datetime.fromtimestamp(stats.update_ts, UTC)
    return [Reading("braiinspool", hashrate, observed_at=observed_at)]


SOURCE = PoolSource(
    slug="braiins",
    name="Braiins Pool",
    home="https://braiins.com/pool",
    docs="https://help.braiins.com/en/support/solutions/articles/77000433512-api-configuration-guide",
    terms="for holders of an account; who asks too often is ignored, then banned",
    credentials=(
        Credential(
            "token", "of an access profile with access to web APIs: Settings, Access Profiles"
        ),
    ),
    requests=(Request("https://pool.braiins.com/stats/json/btc/"),),
    authorise=authorise,
    rate=Rate(1, 5),
    poll_s=60,
    poll_reason="an average over 5 minutes; the pool allows about one request in 5 seconds",
    averaging_s=300,
    # Its time can be as old as the average is long.
    hold_s=600,
    confidence="high",
    unsure="not known: what it answers to a wrong token",
    default=False,
    pool="braiinspool",
    parse=parse,
)
