"""Foundry USA, as the pool reports itself."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import msgspec

from collector.sources import decoding
from collector.sources.base import PoolSource, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

# The specification says int64. In H/s the figure would not fit into one.
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _PoolStats(msgspec.Struct, rename="camel"):
    hashrate5min_avg: _Int64 | None
    # The specification does not show how its times are written.
    updated_at: object = None


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The average over 5 minutes, which is in GH/s."""
    stats = decoding.decode(bodies[0], _PoolStats)
    hashrate = decoding.hashrate(stats.hashrate5min_avg, "GH/s")
    if hashrate is None:
        return []
    return [Reading("foundryusa", hashrate, observed_at=_instant(stats.updated_at))]


def _instant(value: object) -> datetime | None:
    """An aware time. One without a zone may be in any, so it is none; so is what is no time."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


SOURCE = PoolSource(
    slug="foundry",
    name="Foundry USA",
    home="https://foundrydigital.com",
    docs="https://pool-faq.foundrydigital.com",
    terms="none stated for this call, which needs no key",
    requests=(Request("https://api.foundryusapool.com/pool_stats?coin=BTC"),),
    poll_s=60,
    poll_reason="the figure is an average over 5 minutes; once a minute sees it move",
    averaging_s=300,
    # Its time can be as old as the average is long.
    hold_s=600,
    confidence="high",
    default=True,
    pool="foundryusa",
    parse=parse,
)
