"""ViaBTC, as the chart on its own site shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from collector.sources import decoding
from collector.sources.base import PoolSource, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_OK: Final = 0

_HashesPerSecond = float | decoding.BareNumber
"""Readers divide it, so it is a number or text that is one."""


class _Answer(msgspec.Struct):
    code: int
    message: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Chart(msgspec.Struct):
    viabtc_hash: list[_HashesPerSecond | None]


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The last point of the chart, in H/s. The answer has no time of its own."""
    answer = decoding.decode(bodies[0], _Answer)
    if answer.code != _OK:
        raise decoding.refused(f"{answer.code} {answer.message}")
    points = decoding.decode(bytes(answer.data), _Chart).viabtc_hash
    hashrate = decoding.hashrate(points[-1]) if points else None
    return [] if hashrate is None else [Reading("viabtc", hashrate)]


SOURCE = PoolSource(
    slug="viabtc",
    name="ViaBTC",
    home="https://www.viabtc.com",
    docs=None,
    terms="an API of the pool's own site, without any promise",
    requests=(Request("https://www.viabtc.com/res/pool/BTC/state/usd/chart"),),
    poll_s=300,
    poll_reason="a chart; how often it gets a point is not stated",
    # Not stated; the shortest average that the pool's account API knows.
    averaging_s=600,
    hold_s=900,
    confidence="medium",
    unsure="how far apart the chart's points are, and over what time each averages",
    default=True,
    pool="viabtc",
    parse=parse,
)
