"""Binance Pool, as its own site shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from collector.sources import decoding
from collector.sources.base import PoolSource, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_OK: Final = 0
_ALGORITHM: Final = "SHA256"


class _Algorithm(msgspec.Struct, rename="camel"):
    algo_name: str
    pool_hash: decoding.BareNumber | None


class _Index(msgspec.Struct, rename="camel"):
    algo_list: list[_Algorithm]


class _Answer(msgspec.Struct):
    code: int
    msg: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """What mines Bitcoin's algorithm there, in H/s. The answer has no time of its own."""
    answer = decoding.decode(bodies[0], _Answer)
    if answer.code != _OK:
        raise decoding.refused(f"{answer.code} {answer.msg or ''}")
    index = decoding.decode(bytes(answer.data), _Index)
    figures = [one.pool_hash for one in index.algo_list if one.algo_name == _ALGORITHM]
    hashrate = decoding.hashrate(figures[0]) if figures else None
    return [] if hashrate is None else [Reading("binancepool", hashrate)]


SOURCE = PoolSource(
    slug="binance",
    name="Binance Pool",
    home="https://pool.binance.com",
    docs=None,
    terms="an API of the pool's own site, without any promise",
    requests=(Request("https://pool.binance.com/mining-api/v1/public/pool/index"),),
    poll_s=120,
    poll_reason="limits are not stated; clients come every two minutes",
    averaging_s=600,
    hold_s=600,
    confidence="medium",
    unsure="over what time it averages; whether other coins of the same algorithm are in it. The"
    " host may refuse clients that are no browser",
    default=True,
    pool="binancepool",
    parse=parse,
)
