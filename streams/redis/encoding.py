"""How cells, claims and published tables are encoded in Redis. Pure.

``claim.lua`` reads and writes the same format: a claim is its rank (five big-endian doubles), then
the cell or the table in MessagePack.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from miningmap.messages import KINDS, Kind, Published, Report
from miningmap.times import DAY_H, DAY_S, HOUR_MIN, bucket
from streams.method.cells import Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from miningmap.messages import Message
    from streams.method.cells import Cell, Claim, PlaceKind
    from streams.method.windows import Tier
    from streams.redis.keys import Generation

Argument: TypeAlias = "str | int | float | bytes"
"""An argument of a Redis script."""

RANK: Final = struct.Struct(">ddddd")
"""The encoding of a :class:`streams.method.cells.Rank`, which precedes the value of each claim."""

_TIER_LETTER: Final[dict[Tier, str]] = {"minute": "m", "hour": "h", "day": "d"}
_KIND_LETTER: Final[dict[Kind, str]] = {kind: kind[0] for kind in KINDS}
_KIND_OF_LETTER: Final[dict[str, Kind]] = {letter: kind for kind, letter in _KIND_LETTER.items()}


class EncodedCell(
    msgspec.Struct,
    rename={"minutes": "n", "total": "t", "simulated": "s", "places": "p", "basis": "b"},
):
    """A cell as it is encoded: places are named ``CODE/K``, where K is the kind's first letter."""

    minutes: int
    total: float
    simulated: bool
    places: dict[str, float] = {}
    basis: int = 0


_encode = msgspec.msgpack.Encoder().encode
decode_cell = msgspec.msgpack.Decoder(EncodedCell).decode
_decode_table = msgspec.msgpack.Decoder(tuple[Published, ...]).decode


def decode_claimed_table(claim: bytes) -> tuple[Published, ...]:
    """Return the table of a claim, without its rank."""
    return _decode_table(claim[RANK.size :])


@cache
def place_of(name: str) -> PlaceKind:
    """Return the place and kind of a name in an encoded cell, such as ``CN-SC/m``."""
    code, _, letter = name.partition("/")
    return code, _KIND_OF_LETTER[letter]


def encode_series(series: Series) -> str:
    """Return the entry of a series in the set of all series."""
    return f"{series.pool or ''}/{series.source}"


def decode_series(encoded: bytes) -> Series:
    """Return the series of an entry in the set of all series."""
    pool, _, source = encoded.decode().partition("/")
    return Series(pool or None, source)


def claim_keys(generation: Generation, series: Series, claims: Iterable[Claim]) -> list[str]:
    """Return every key that ``claim.lua`` touches for these claims, in the order it expects."""
    hours: set[int] = set()
    days: set[int] = set()
    for claim in claims:
        first, last = claim.buckets[0], claim.buckets[-1]
        if claim.tier == "minute":
            hours.update(range(first // HOUR_MIN, last // HOUR_MIN + 1))
        elif claim.tier == "hour":
            days.update(range(first // DAY_H, last // DAY_H + 1))
    # A claimed minute rolls up into its hour, and that hour into its day.
    days.update(hour // DAY_H for hour in hours)
    return [
        generation.meta(series),
        generation.days(series),
        generation.published(series),
        *(generation.minutes(series, hour) for hour in sorted(hours)),
        *(generation.hours(series, day) for day in sorted(days)),
    ]


def report_arguments(message: Message) -> list[Argument]:
    """Return the arguments of ``claim.lua`` about the last report of a series."""
    blocks = message.blocks if isinstance(message, Report) else None
    return [
        message.end.timestamp(),
        message.fetched_at.timestamp(),
        int(message.simulated),
        "" if blocks is None else blocks,
    ]


def claim_arguments(
    message: Message, claims: Sequence[Claim]
) -> Iterable[tuple[str, int, int, bytes]]:
    """Yield the arguments of ``claim.lua`` for each claim of one message, its table included."""
    for claim in claims:
        value = RANK.pack(*claim.rank) + _encode(_encoded_cell(claim.cell))
        yield _TIER_LETTER[claim.tier], claim.buckets[0], claim.buckets[-1], value
    if isinstance(message, Report) and message.published:
        # The table has the rank of the cells, so that both come from the same message.
        value = RANK.pack(*claims[0].rank) + _encode(message.published)
        first = bucket(message.start, DAY_S)
        yield "p", first, first, value


def _encoded_cell(cell: Cell) -> EncodedCell:
    places = {f"{code}/{_KIND_LETTER[kind]}": value for (code, kind), value in cell.places.items()}
    return EncodedCell(cell.minutes, cell.total, cell.simulated, places, cell.basis)
