"""OCEAN, as the pool reports itself."""

from __future__ import annotations

import msgspec

from collector.sources.base import PoolSource, Request
from collector.sources.decoding import BareNumber
from collector.sources.envelope import Envelope
from collector.sources.single import single_pool


class _Hashrates(msgspec.Struct):
    pool_300s: BareNumber | None


# The average over 300 s, in H/s.
parse = single_pool(
    "ocean", _Hashrates, lambda rates: rates.pool_300s, envelope=Envelope(data="result")
)


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
