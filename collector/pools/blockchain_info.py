"""Pools by the blocks that they found in 24 hours, at blockchain.com."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from collector.sources import blocks, decoding
from collector.sources.base import PoolSource, Rate, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Reading

_Count = Annotated[int, msgspec.Meta(ge=0)]


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """Each pool's part of the day's blocks, times the network's hashrate, which is in GH/s."""
    counts = decoding.decode(bodies[0], dict[str, _Count])
    network = decoding.hashrate(decoding.decode(bodies[1], float), "GH/s")
    return blocks.readings(blocks.by_pool(counts.items()), network) if network else []


SOURCE = PoolSource(
    slug="blockchain_info",
    name="Blockchain.com, pools by blocks of 24 h",
    home="https://www.blockchain.com/explorer",
    docs="https://www.blockchain.com/explorer/api/charts_api",
    terms="https://www.blockchain.com/legal/terms",
    requests=(
        Request("https://api.blockchain.info/pools?timespan=24hours"),
        Request("https://blockchain.info/q/hashrate"),
    ),
    rate=Rate(1, 10),
    poll_s=300,
    poll_reason="the counts change with each block; the second call is limited to 1 in 10 s",
    averaging_s=86_400,
    hold_s=1800,
    confidence="high",
    unsure="the spelling of pools' names changes. It counts the same blocks as mempool, so it is"
    " off by default",
    default=False,
    pool=None,
    parse=parse,
)
