"""The network's hashrate by difficulty and block times of 1,008 blocks, at mempool.space.

The server averages over as many blocks, about a week, whatever interval is requested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sources.base import NetworkSource, Request
from collector.sources.single import network_figure
from miningmap.times import DAY_S

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import NetworkReading


class _Hashrate(msgspec.Struct, rename="camel"):
    current_hashrate: float


# The estimate in H/s, which is 0 while mempool's own node is down.
parse = network_figure(_Hashrate, lambda answer: answer.current_hashrate)


def example(readings: Sequence[NetworkReading], at: datetime) -> list[bytes]:
    """Return three days and one change of difficulty, all with the same hashrate."""
    (reading,) = readings
    difficulty = reading.hashrate * 600 / 2**32
    days = [int(at.timestamp()) // DAY_S * DAY_S - ago * DAY_S for ago in (2, 1, 0)]
    changed = {
        "time": days[0],
        "height": 971_712,  # a multiple of 2016
        "difficulty": difficulty,
        "adjustment": 1.01,
    }
    answer = {
        "hashrates": [{"timestamp": day, "avgHashrate": reading.hashrate} for day in days],
        "difficulty": [changed],
        "currentHashrate": reading.hashrate,
        "currentDifficulty": difficulty,
    }
    return [msgspec.json.encode(answer)]


SOURCE = NetworkSource(
    slug="mempool",
    name="mempool.space, network by 1,008 blocks",
    home="https://mempool.space",
    docs="https://mempool.space/docs/api/rest",
    terms="https://mempool.space/terms-of-service",
    requests=(Request("https://mempool.space/api/v1/mining/hashrate/3d"),),
    poll_s=300,
    poll_reason=(
        "The server caches the response for 300 s. Its limits are not published; beyond them it"
        " responds with 429, then bans the client."
    ),
    averaging_s=1008 * 600,
    hold_s=1800,
    confidence="high",
    default=True,
    parse=parse,
    example=example,
)
