"""Kryptex, as the pool reports itself."""

from __future__ import annotations

import msgspec

from collector.sources.base import WEBSITE_TERMS, PoolSource, Request
from collector.sources.decoding import Figure, part_of_network
from collector.sources.single import single_pool


class _Stats(msgspec.Struct):
    hashrate: Figure | None
    net_hashrate: Figure | None


# In H/s. The response also has the network's hashrate, which exposes a wrong unit.
parse = single_pool(
    "kryptex", _Stats, lambda stats: part_of_network(stats.hashrate, stats.net_hashrate)
)


SOURCE = PoolSource(
    slug="kryptex",
    name="Kryptex Pool",
    home="https://pool.kryptex.com/btc",
    docs=None,
    terms=WEBSITE_TERMS,
    # pool.kryptex.com, the website's host, sends clients that are not browsers a page.
    requests=(Request("https://btc-api.kryptex.network/api/v1/pool/stats"),),
    poll_s=300,
    poll_reason="No limit is documented; other clients poll every ten minutes.",
    averaging_s=1800,
    hold_s=900,
    confidence="low",
    unsure=(
        "The host is known only from another coin, at prl-api.kryptex.network, and so is the shape."
        " It is not documented over what time the figure is averaged; the shortest average of a"
        " worker is half an hour."
    ),
    default=False,
    pool="kryptex",
    parse=parse,
)
