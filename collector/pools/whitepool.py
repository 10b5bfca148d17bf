"""WhitePool, as WhiteBIT's public API reports it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sources import decoding
from collector.sources.base import PoolSource, Rate, Request
from collector.sources.single import pool_reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Reading


class _Part(msgspec.Struct):
    current_hash_rate: decoding.Figure | None


class _Wrapped(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw(b"")


def parse(bodies: Sequence[bytes]) -> list[Reading]:
    """Return the sum of the pool's parts: a list in the older form, one object in the newer.

    By the documentation each form is wrapped in ``data``; others have recorded it without.
    ``location`` is documented as "global", which is not a place.
    """
    # Versions of the documentation spell the field either way.
    body = bodies[0].replace(b'"currentHashRate"', b'"current_hash_rate"')
    if not _is_list(body):
        body = bytes(decoding.decode(body, _Wrapped).data) or body
    decode = decoding.decode
    parts = decode(body, list[_Part]) if _is_list(body) else [decode(body, _Part)]
    total = decoding.sum_or_unknown(decoding.hashrate(p.current_hash_rate) for p in parts)
    return pool_reading("whitepool", total) if parts else []


def _is_list(body: bytes) -> bool:
    return body.lstrip().startswith(b"[")


def example(readings: Sequence[Reading], at: datetime) -> list[bytes]:
    """Return the older form: a list of one part, in whole H/s as text."""
    (reading,) = readings
    hashrate = f"{reading.hashrate:.1f}"
    part = {
        "connectionLinks": ["stratum+tcp://whitepool.example:3333"],
        "location": "global",
        "assets": ["BTC"],
        "rewardSchemes": ["FPPS"],
        "workers": 12_034,
        "currentHashRate": hashrate,
        "last7daysHashRate": [{"timestamp": int(at.timestamp()), "hashrate": hashrate}],
        "blocks": [],
    }
    return [msgspec.json.encode({"data": [part]})]


SOURCE = PoolSource(
    slug="whitepool",
    name="WhitePool (WhiteBIT)",
    home="https://whitebit.com/mining-pool",
    docs="https://docs.whitebit.com/api-reference/mining-pool/pool-overview",
    terms="https://whitebit.com/terms",
    requests=(Request("https://whitebit.com/api/v4/public/mining-pool"),),
    rate=Rate(1000, 10),
    poll_s=60,
    poll_reason="The server caches responses for 10 to 60 s.",
    averaging_s=600,
    hold_s=300,
    least=1e17,
    confidence="medium",
    unsure=(
        "It is not known which of the documented forms the response has now; all are accepted. It"
        " is not documented over what time the figure is averaged."
    ),
    default=True,
    pool="whitepool",
    parse=parse,
    example=example,
)
