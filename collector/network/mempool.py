"""The network's hashrate by difficulty and block times, at mempool.space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sources import decoding
from collector.sources.base import NetworkReading, NetworkSource, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class _Hashrate(msgspec.Struct, rename="camel"):
    current_hashrate: float


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[NetworkReading]:
    """The current estimate (H/s), which has no time of its own; 0 while mempool's node is down."""
    hashrate = decoding.hashrate(decoding.decode(bodies[0], _Hashrate).current_hashrate)
    return [NetworkReading(hashrate)] if hashrate else []


SOURCE = NetworkSource(
    slug="mempool",
    name="mempool.space, network",
    home="https://mempool.space",
    docs="https://mempool.space/docs/api/rest",
    terms="https://mempool.space/terms-of-service",
    requests=(Request("https://mempool.space/api/v1/mining/hashrate/3d"),),
    poll_s=300,
    poll_reason="the server caches the answer for 300 s; limits are not published, 429 then a ban",
    averaging_s=86_400,
    hold_s=1800,
    confidence="high",
    default=True,
    parse=parse,
)
