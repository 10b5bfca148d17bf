"""SoloPool.org, as the pool reports itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sources import decoding
from collector.sources.base import PoolSource, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class _Stats(msgspec.Struct):
    hashrate: float | None


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The pool's hashrate in H/s, not its node's of the network. It has no time of its own."""
    hashrate = decoding.hashrate(decoding.decode(bodies[0], _Stats).hashrate)
    return [] if hashrate is None else [Reading("solopool", hashrate)]


SOURCE = PoolSource(
    slug="solopool",
    name="SoloPool.org",
    home="https://btc.solopool.org",
    docs=None,
    terms="none stated",
    requests=(Request("https://btc.solopool.org/api/stats"),),
    poll_s=60,
    poll_reason="a small pool, whose figures move by the minute; limits are not stated",
    averaging_s=600,
    hold_s=300,
    confidence="medium",
    unsure="over what time it averages",
    default=True,
    pool="solopool",
    parse=parse,
)
