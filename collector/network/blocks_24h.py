"""The network's hashrate by the blocks of 24 hours, at mempool.space.

It is in the same response as the counts by which ``pools/mempool`` distributes it, so pools and
network are over the same blocks. Against an average over other blocks, the coverage would show the
luck of a day.

Of several sources, the one with values for the most minutes gives the network's hashrate of a
window, and then the first by name. To be that one by default, this source comes before ``mempool``
by name, and its reports cover and hold longer, so that it has as many minutes or more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sources.base import NetworkSource, Request
from collector.sources.single import network_figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import NetworkReading


class _Pools(msgspec.Struct, rename="camel"):
    last_estimated_hashrate: float


# The estimate in H/s, which is 0 while mempool's own node is down.
parse = network_figure(_Pools, lambda answer: answer.last_estimated_hashrate)


def example(readings: Sequence[NetworkReading], _at: datetime) -> list[bytes]:
    """Return the response with its three estimates, but without pools."""
    (reading,) = readings
    answer = {
        "pools": [],
        "blockCount": 0,
        "lastEstimatedHashrate": reading.hashrate,
        "lastEstimatedHashrate3d": reading.hashrate,
        "lastEstimatedHashrate1w": reading.hashrate,
    }
    return [msgspec.json.encode(answer)]


SOURCE = NetworkSource(
    slug="blocks_24h",
    name="mempool.space, network by blocks of 24 h",
    home="https://mempool.space",
    docs="https://mempool.space/docs/api/rest",
    terms="https://mempool.space/terms-of-service",
    requests=(Request("https://mempool.space/api/v1/mining/pools/24h"),),
    poll_s=600,
    poll_reason=(
        "A block changes an average over a day by less than 1 %. The server caches the response for"
        " 60 s. Its limits are not published; beyond them it responds with 429, then bans the"
        " client."
    ),
    averaging_s=86_400,
    hold_s=3600,
    confidence="high",
    default=True,
    parse=parse,
    example=example,
)
