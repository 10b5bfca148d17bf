"""Parasite, a small pool, as it reports itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sources import decoding
from collector.sources.base import PoolSource, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class _PoolStats(msgspec.Struct):
    hashrate: float | None


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The pool's hashrate, in H/s. The answer has no time of its own."""
    hashrate = decoding.hashrate(decoding.decode(bodies[0], _PoolStats).hashrate)
    return [] if hashrate is None else [Reading("parasite", hashrate)]


SOURCE = PoolSource(
    slug="parasite",
    name="Parasite",
    home="https://parasite.space",
    docs=None,
    terms="an API of the pool's own site, without any promise",
    requests=(Request("https://parasite.space/api/pool-stats"),),
    poll_s=300,
    poll_reason="neither limits nor caches are stated, and it is a small pool",
    # Not stated.
    averaging_s=300,
    hold_s=1800,
    confidence="low",
    unsure="the shape, which is known from clients alone; over what time the figure is an average",
    default=False,
    pool="parasite",
    parse=parse,
)
