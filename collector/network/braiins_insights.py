"""The network's hashrate as Braiins Insights shows it."""

from __future__ import annotations

import msgspec

from collector.sources.base import NetworkSource, Request
from collector.sources.single import network_figure


class _HashrateStats(msgspec.Struct):
    current_hashrate: float | None


parse = network_figure(_HashrateStats, lambda stats: stats.current_hashrate, unit="EH/s")


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
