"""2Miners, as the pool reports itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec

from collector.sources import decoding
from collector.sources.base import PoolSource, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

_Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=2**50)]


class _Stats(msgspec.Struct):
    hashrate: float | None
    now: _Milliseconds


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The pool's hashrate in H/s, with the server's own time."""
    stats = decoding.decode(bodies[0], _Stats)
    hashrate = decoding.hashrate(stats.hashrate)
    if hashrate is None:
        return []
    return [Reading("2miners", hashrate, observed_at=datetime.fromtimestamp(stats.now / 1000, UTC))]


SOURCE = PoolSource(
    slug="twominers",
    name="2Miners",
    home="https://2miners.com/btc-mining-pool",
    docs=None,
    terms="none stated",
    requests=(Request("https://btc.2miners.com/api/stats"),),
    poll_s=60,
    poll_reason="a small pool, whose figures move by the minute; limits are not stated",
    averaging_s=1800,
    hold_s=300,
    confidence="medium",
    unsure="over what time it averages; such pools' software takes half an hour",
    default=True,
    pool="2miners",
    parse=parse,
)
