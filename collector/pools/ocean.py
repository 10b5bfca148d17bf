"""OCEAN, as the pool reports itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sources import decoding
from collector.sources.base import PoolSource, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class _Hashrates(msgspec.Struct):
    pool_300s: decoding.BareNumber | None


class _Answer(msgspec.Struct):
    result: _Hashrates


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The average over 300 s, in H/s. The answer has no time of its own."""
    hashrate = decoding.hashrate(decoding.decode(bodies[0], _Answer).result.pool_300s)
    return [] if hashrate is None else [Reading("ocean", hashrate)]


SOURCE = PoolSource(
    slug="ocean",
    name="OCEAN",
    home="https://ocean.xyz",
    docs="https://ocean.xyz/docs/api",
    terms="none stated for the public API, which is open to all origins",
    requests=(Request("https://api.ocean.xyz/v1/pool_hashrate"),),
    poll_s=60,
    poll_reason="limits are not stated; clients ask at most once a second and cache for 60 s",
    averaging_s=300,
    hold_s=300,
    confidence="medium",
    default=True,
    pool="ocean",
    parse=parse,
)
