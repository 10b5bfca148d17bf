"""The network's hashrate as Braiins Insights shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sources import decoding
from collector.sources.base import NetworkReading, NetworkSource, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class _HashrateStats(msgspec.Struct):
    current_hashrate: float | None


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[NetworkReading]:
    """The current hashrate, which is in EH/s and has no time of its own."""
    stats = decoding.decode(bodies[0], _HashrateStats)
    hashrate = decoding.hashrate(stats.current_hashrate, "EH/s")
    return [] if hashrate is None else [NetworkReading(hashrate)]


SOURCE = NetworkSource(
    slug="braiins_insights",
    name="Braiins Insights, network",
    home="https://learn.braiins.com",
    docs=None,
    terms="an API of the site's own pages, without any promise",
    requests=(Request("https://learn.braiins.com/api/v1.0/hashrate-stats"),),
    poll_s=300,
    poll_reason="clients have seen the server cache the answer for 5 minutes",
    # Not stated; a shorter one would move by more than the figure does.
    averaging_s=86_400,
    hold_s=1800,
    confidence="medium",
    unsure="over how many blocks the figure is an average",
    default=False,
    parse=parse,
)
