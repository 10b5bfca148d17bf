"""AntPool, as its own site shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from collector.sources import decoding
from collector.sources.base import PoolSource, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_OK = "000000"

# "173.25 EH/s": without its unit the number would say nothing, so it is none; or no figure at all.
_WithUnit = Annotated[str, msgspec.Meta(pattern=r"^(\s*[0-9.]+\s*[A-Za-z]+/s\s*|[?-]?)$")]


class _Coin(msgspec.Struct, rename="camel"):
    coin_type: str
    pool_hashrate: _WithUnit | None


class _Coins(msgspec.Struct):
    items: list[_Coin]


class _Answer(msgspec.Struct):
    code: str
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """Bitcoin's line of the list of coins. The answer has no time of its own."""
    answer = decoding.decode(bodies[0], _Answer)
    if answer.code != _OK:
        raise decoding.refused(f"{answer.code} {answer.msg}")
    coins = decoding.decode(bytes(answer.data), _Coins)
    figures = [coin.pool_hashrate for coin in coins.items if coin.coin_type == "BTC"]
    hashrate = decoding.hashrate(figures[0]) if figures else None
    return [] if hashrate is None else [Reading("antpool", hashrate)]


SOURCE = PoolSource(
    slug="antpool",
    name="AntPool",
    home="https://www.antpool.com",
    docs=None,
    terms="an API of the pool's own site, without any promise",
    requests=(Request("https://www.antpool.com/auth/v3/index/poolcoins"),),
    poll_s=60,
    poll_reason="the pool's documented limit is 600 requests in 10 minutes, then a ban",
    # Not stated; the shortest average that the pool's account API knows.
    averaging_s=600,
    hold_s=300,
    confidence="medium",
    default=True,
    pool="antpool",
    parse=parse,
)
