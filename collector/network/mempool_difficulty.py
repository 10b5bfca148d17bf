"""The network's hashrate that today's difficulty implies, at mempool.space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from collector.sources import decoding
from collector.sources.base import NetworkReading, NetworkSource, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_HASHES_PER_DIFFICULTY: Final = 2**32
_BLOCK_S: Final = 600


class _Hashrate(msgspec.Struct, rename="camel"):
    current_difficulty: Annotated[float, msgspec.Meta(ge=0)] | None


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[NetworkReading]:
    """What finds a block every ten minutes at this difficulty, in H/s; 0 while the node is down.

    It is what the network had, on average, over the 2016 blocks before the last change.
    """
    difficulty = decoding.decode(bodies[0], _Hashrate).current_difficulty
    return [NetworkReading(difficulty * _HASHES_PER_DIFFICULTY / _BLOCK_S)] if difficulty else []


SOURCE = NetworkSource(
    slug="mempool_difficulty",
    name="mempool.space, network by difficulty",
    home="https://mempool.space",
    docs="https://mempool.space/docs/api/rest",
    terms="https://mempool.space/terms-of-service",
    requests=(Request("https://mempool.space/api/v1/mining/hashrate/3d"),),
    poll_s=300,
    poll_reason="the server caches the answer for 300 s; limits are not published, 429 then a ban",
    averaging_s=2016 * _BLOCK_S,
    hold_s=3600,
    confidence="high",
    unsure="nothing; but it is the same answer as network/mempool's, and up to two weeks behind, so"
    " it is off by default",
    default=False,
    parse=parse,
)
