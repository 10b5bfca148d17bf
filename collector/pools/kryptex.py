"""Kryptex, as the pool reports itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sources import decoding
from collector.sources.base import PermanentError, PoolSource, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class _Stats(msgspec.Struct):
    hashrate: float | None
    net_hashrate: float


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The pool's hashrate in H/s, which is a part of the network's beside it. It has no time."""
    stats = decoding.decode(bodies[0], _Stats)
    hashrate = decoding.hashrate(stats.hashrate)
    if hashrate is None:
        return []
    if hashrate > stats.net_hashrate:
        text = f"{hashrate:g} H/s of a network of {stats.net_hashrate:g} H/s"
        raise PermanentError(text, reason="unit")
    return [Reading("kryptex", hashrate)]


SOURCE = PoolSource(
    slug="kryptex",
    name="Kryptex Pool",
    home="https://pool.kryptex.com/btc",
    docs=None,
    terms="an API of the pool's own site, without any promise",
    requests=(Request("https://pool.kryptex.com/btc/api/v1/pool/stats"),),
    poll_s=300,
    poll_reason="limits are not stated; clients come every ten minutes",
    averaging_s=1800,
    hold_s=900,
    confidence="low",
    unsure="clients ask this of the pool's other coins; of Bitcoin only pool/info was seen."
    " Over what time it averages: its shortest average of a worker is half an hour",
    default=False,
    pool="kryptex",
    parse=parse,
)
