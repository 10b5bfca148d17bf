"""The network's hashrate as Braiins Insights shows it."""

from __future__ import annotations

import msgspec

from collector.sources.base import WEBSITE_TERMS, NetworkSource, Request
from collector.sources.decoding import Figure
from collector.sources.single import network_figure


class _HashrateStats(msgspec.Struct):
    current_hashrate: Figure | None


parse = network_figure(_HashrateStats, lambda stats: stats.current_hashrate, unit="EH/s")


SOURCE = NetworkSource(
    slug="braiins_insights",
    name="Braiins Insights, network",
    home="https://learn.braiins.com",
    docs=None,
    terms=WEBSITE_TERMS,
    requests=(Request("https://learn.braiins.com/api/v1.0/hashrate-stats"),),
    poll_s=300,
    poll_reason="Clients have seen that the server caches the response for 5 minutes.",
    # Not documented; with a shorter average the figure would move more than it does.
    averaging_s=86_400,
    hold_s=1800,
    confidence="medium",
    unsure="It is not documented over how many blocks the figure is averaged.",
    default=False,
    parse=parse,
)
