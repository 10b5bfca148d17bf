"""Pools by the blocks that they found in 24 hours, at blockchain.com."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.sources import blocks, decoding
from collector.sources.base import PoolSource, Rate, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.sources.base import Reading


def parse(bodies: Sequence[bytes]) -> list[Reading]:
    """Return each pool's part of the network's hashrate (GH/s) by its part of the blocks."""
    counts = decoding.decode(bodies[0], dict[str, blocks.Count])
    network = decoding.hashrate(decoding.decode(bodies[1], float), "GH/s")
    return blocks.readings(blocks.by_pool(counts.items()), network)


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
    poll_reason="The counts change with each block; the second request is limited to 1 in 10 s.",
    averaging_s=86_400,
    hold_s=1800,
    confidence="high",
    unsure=(
        "The spelling of pools' names changes. The source counts the same blocks as mempool, so it"
        " is off by default."
    ),
    default=False,
    pool=None,
    basis="mined",
    parse=parse,
)
