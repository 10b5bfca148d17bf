"""WhitePool, as WhiteBIT's public API reports it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sources import decoding
from collector.sources.base import PoolSource, Rate, Reading, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class _Part(msgspec.Struct):
    """The documentation's versions spell the field either way."""

    current_hash_rate: decoding.BareNumber | msgspec.UnsetType | None = msgspec.UNSET
    camel: decoding.BareNumber | msgspec.UnsetType | None = msgspec.field(
        name="currentHashRate", default=msgspec.UNSET
    )

    def __post_init__(self) -> None:
        if self.current_hash_rate is msgspec.UNSET and self.camel is msgspec.UNSET:
            raise ValueError("neither current_hash_rate nor currentHashRate")

    @property
    def hashrate(self) -> str | None:
        """In H/s; ``None`` where the pool does not know."""
        said = self.camel if self.current_hash_rate is msgspec.UNSET else self.current_hash_rate
        return None if said is msgspec.UNSET else said


class _Envelope(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw(b"")


def parse(bodies: Sequence[bytes], _fetched_at: datetime) -> list[Reading]:
    """The pool's hashrate in H/s: a list of its parts in the older form, one object in the newer.

    ``location`` is documented as "global", which is no place. A part that is unknown leaves the sum
    unknown: without it the pool would seem to have shrunk.
    """
    figures = [decoding.hashrate(part.hashrate) for part in _parts(bodies[0])]
    known = [figure for figure in figures if figure is not None]
    if not known or len(known) < len(figures):
        return []
    return [Reading("whitepool", sum(known))]


def _parts(answer: bytes) -> list[_Part]:
    if not _is_list(answer):
        # WhiteBIT's documentation has an envelope, what others wrote down of it has none.
        answer = bytes(decoding.decode(answer, _Envelope).data) or answer
    return (
        decoding.decode(answer, list[_Part])
        if _is_list(answer)
        else [decoding.decode(answer, _Part)]
    )


def _is_list(answer: bytes) -> bool:
    return answer.lstrip().startswith(b"[")


SOURCE = PoolSource(
    slug="whitepool",
    name="WhitePool (WhiteBIT)",
    home="https://whitebit.com/mining-pool",
    docs="https://docs.whitebit.com/api-reference/mining-pool/pool-overview",
    terms="https://whitebit.com/terms",
    requests=(Request("https://whitebit.com/api/v4/public/mining-pool"),),
    rate=Rate(1000, 10),
    poll_s=60,
    poll_reason="what the server caches, it keeps for 10 to 60 s",
    averaging_s=600,
    hold_s=300,
    confidence="medium",
    unsure="which of its documented forms it has now, as all are read; over what time it averages",
    default=True,
    pool="whitepool",
    parse=parse,
)
