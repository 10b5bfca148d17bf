"""WhitePool, as WhiteBIT's public API reports it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector import body
from collector.source import PoolSource, Rate, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class _Older(msgspec.Struct, rename="camel"):
    current_hash_rate: body.BareNumber | None


class _Newer(msgspec.Struct):
    current_hash_rate: body.BareNumber | None


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The pool's hashrate in H/s: a list of its parts in the older form, one object in the newer.

    ``location`` is documented as "global", which is no place. A part that is unknown leaves the sum
    unknown: without it the pool would seem to have shrunk.
    """
    figures = [body.hashrate(part.current_hash_rate) for part in _parts(bodies[0])]
    known = [figure for figure in figures if figure is not None]
    if not known or len(known) < len(figures):
        return []
    return [Reading("whitepool", sum(known))]


def _parts(answer: bytes) -> Sequence[_Older | _Newer]:
    if answer.lstrip().startswith(b"["):
        return body.decode(answer, list[_Older])
    return [body.decode(answer, _Newer)]


SOURCE = PoolSource(
    slug="whitepool",
    name="WhitePool (WhiteBIT)",
    home="https://whitebit.com/mining-pool",
    docs="https://docs.whitebit.com/public/http-v4/",
    terms="https://whitebit.com/terms",
    requests=(Request("https://whitebit.com/api/v4/public/mining-pool"),),
    rate=Rate(1000, 10),
    poll_s=60,
    poll_reason="the server caches the answer for 10 to 60 s",
    averaging_s=600,
    hold_s=300,
    confidence="medium",
    unsure="which of its two documented forms it has now, as both are read; over what time it"
    " averages",
    default=True,
    pool="whitepool",
    parse=parse,
)
