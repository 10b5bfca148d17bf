"""Pools by the blocks that they found in a day, at Braiins Insights.

Its blocks by country are not used: they are by the country of a pool's office, not of its miners.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from collector.sources import blocks, decoding
from collector.sources.base import WEBSITE_TERMS, PermanentError, PoolSource, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.sources.base import Reading

# The bounds of the sum of all percentages. Each is rounded, so the sum may exceed 100 a little. A
# much smaller sum means that these are fractions, or that most pools are missing.
_MOST: Final = 102
_LEAST: Final = 50


class _Blocks(msgspec.Struct):
    absolute: blocks.Count
    relative_pct: Annotated[float, msgspec.Meta(ge=0, le=100)]


class _Mined(msgspec.Struct):
    day: _Blocks = msgspec.field(name="1d")


class _Pool(msgspec.Struct):
    pool_name: decoding.Label
    blocks_mined: _Mined


class _HashrateStats(msgspec.Struct):
    current_hashrate: decoding.Figure | None


def parse(bodies: Sequence[bytes]) -> list[Reading]:
    """Return each pool's part of the network's hashrate (EH/s) by its part of the blocks."""
    pools = decoding.decode(bodies[0], list[_Pool])
    stats = decoding.decode(bodies[1], _HashrateStats)
    network = decoding.hashrate(stats.current_hashrate, "EH/s")
    found = blocks.by_pool((p.pool_name, p.blocks_mined.day.absolute) for p in pools)
    if network is None or not found.total():
        return []
    # Pools with few blocks may be missing: the sum of the percentages is the listed part.
    percent = sum(pool.blocks_mined.day.relative_pct for pool in pools)
    if not _LEAST <= percent <= _MOST:
        raise PermanentError(f"the pools add up to {percent:g} % of all blocks", reason="unit")
    return blocks.readings(found, percent / 100 * network)


SOURCE = PoolSource(
    slug="braiins_insights",
    name="Braiins Insights, pools by blocks of a day",
    home="https://learn.braiins.com",
    docs=None,
    terms=WEBSITE_TERMS,
    requests=(
        Request("https://learn.braiins.com/api/v1.0/pool-stats"),
        Request("https://learn.braiins.com/api/v1.0/hashrate-stats"),
    ),
    poll_s=300,
    poll_reason="Clients have seen that the server caches responses for 5 minutes.",
    averaging_s=86_400,
    hold_s=1800,
    confidence="medium",
    unsure=(
        "It is not known whether all pools are listed, and by which names. The source counts the"
        " same blocks as mempool, so it is off by default."
    ),
    default=False,
    pool=None,
    basis="mined",
    parse=parse,
)
