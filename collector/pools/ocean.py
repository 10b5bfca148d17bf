"""OCEAN, as the pool reports itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sources.base import PoolSource, Request
from collector.sources.decoding import Figure
from collector.sources.envelope import Envelope
from collector.sources.single import single_pool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Reading


class _Hashrates(msgspec.Struct):
    pool_300s: Figure | None


# The average over 300 s, in H/s.
parse = single_pool(
    "ocean", _Hashrates, lambda rates: rates.pool_300s, envelope=Envelope(code=None, data="result")
)


def example(readings: Sequence[Reading], _at: datetime) -> list[bytes]:
    """Return averages over several times, all the same, in whole H/s as text."""
    (reading,) = readings
    rates = {f"pool_{span}s": str(round(reading.hashrate)) for span in (60, 300, 10_800, 86_400)}
    return [msgspec.json.encode({"result": rates})]


SOURCE = PoolSource(
    slug="ocean",
    name="OCEAN",
    home="https://ocean.xyz",
    docs="https://ocean.xyz/docs/api",
    terms="none stated for the public API, which allows all origins (CORS)",
    requests=(Request("https://api.ocean.xyz/v1/pool_hashrate"),),
    poll_s=60,
    poll_reason=(
        "No limit is documented; clients send at most one request a second, and cache for 60 s."
    ),
    averaging_s=300,
    hold_s=300,
    least=1e18,
    confidence="medium",
    default=True,
    pool="ocean",
    parse=parse,
    example=example,
)
