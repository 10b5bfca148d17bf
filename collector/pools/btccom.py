"""CloverPool, once BTC.com, as the pool reports itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from collector.sources import decoding
from collector.sources.base import PoolSource, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_OK: Final = 0

_Figure = float | decoding.BareNumber
"""Its unit stands beside it."""


class _Answer(msgspec.Struct):
    err_no: int
    err_msg: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Status(msgspec.Struct):
    pool_hashrate: _Figure | None
    pool_hashrate_unit: str


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The pool's figure, in the unit beside it ("E"). The answer has no time of its own."""
    answer = decoding.decode(bodies[0], _Answer)
    if answer.err_no != _OK:
        raise decoding.refused(f"{answer.err_no} {answer.err_msg or ''}")
    status = decoding.decode(bytes(answer.data), _Status)
    hashrate = decoding.hashrate(status.pool_hashrate, status.pool_hashrate_unit)
    return [] if hashrate is None else [Reading("btccom", hashrate)]


SOURCE = PoolSource(
    slug="btccom",
    name="CloverPool (BTC.com)",
    home="https://cloverpool.com",
    docs=None,
    terms="an API of the pool's own site, without any promise",
    requests=(Request("https://pool.api.btc.com/v1/pool/status/"),),
    poll_s=300,
    poll_reason="the site itself asked far more often; limits are not stated",
    averaging_s=900,
    hold_s=900,
    confidence="low",
    unsure="whether the host still answers after the pool's renaming; over what time it averages",
    default=False,
    pool="btccom",
    parse=parse,
)
