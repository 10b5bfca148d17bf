"""How cells, claims and published tables are encoded in Redis. Pure.

``claim.lua`` reads and writes the same format: what is kept of a claim is its rank (five big-endian
doubles), then the cell or the table in MessagePack.
"""

from __future__ import annotations

import re
import struct
from functools import cache, lru_cache
from itertools import chain, groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, TypeAlias

import msgspec

from miningmap.messages import (
    BASES,
    KINDS,
    MAX_HASHRATE,
    SLUG,
    SUM_TOLERANCE,
    Kind,
    Published,
    Report,
    check_place,
)
from miningmap.times import DAY_H, DAY_MIN, DAY_S, HOUR_MIN, bucket
from streams.method.cells import Cell, Series
from streams.method.tables import Rows, floats, ordered
from streams.method.windows import TIER_MINUTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from miningmap.messages import Message
    from streams.method.cells import Claim, PlaceKind, Rank
    from streams.method.tables import Order
    from streams.method.windows import Tier
    from streams.redis.keys import Generation

Argument: TypeAlias = "str | int | float | bytes"
"""An argument of a Redis script."""

RANK: Final = struct.Struct(">ddddd")
"""The encoding of a :class:`streams.method.cells.Rank`, which precedes the value of each claim."""

_HEAD: Final = struct.Struct(f">cdd{RANK.format[1:]}")
"""The tier of a claim, its first and its last bucket, and its rank."""
_NUMBER: Final = struct.Struct(">H")
"""How many claims have the value of an argument."""

_tier_of: Final = attrgetter("tier")
_TIER_LETTER: Final[dict[Tier, bytes]] = {"minute": b"m", "hour": b"h", "day": b"d"}
_KIND_LETTER: Final[dict[Kind, str]] = {kind: kind[0] for kind in KINDS}
_KIND_OF_LETTER: Final[dict[str, Kind]] = {letter: kind for kind, letter in _KIND_LETTER.items()}


_Sum: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=MAX_HASHRATE * DAY_MIN)]

_slug: Final = re.compile(SLUG)


class EncodedCell(
    msgspec.Struct,
    rename={"minutes": "n", "total": "t", "simulated": "s", "places": "p", "basis": "b"},
):
    """A cell as it is encoded: places are named ``CODE/K``, where K is the kind's first letter."""

    minutes: Annotated[int, msgspec.Meta(ge=0, le=DAY_MIN)]
    total: _Sum
    simulated: bool
    places: dict[str, _Sum] = {}
    basis: Annotated[int, msgspec.Meta(ge=0, lt=len(BASES))] = 0


_encode = msgspec.msgpack.Encoder().encode
_decode_cell = msgspec.msgpack.Decoder(EncodedCell).decode
_decode_table = msgspec.msgpack.Decoder(tuple[Published, ...]).decode

# A roll-up adds up to 1440 minutes, each with the error that a message's own sums may have.
_CELL_TOLERANCE: Final = 10 * SUM_TOLERANCE


class CheckedCell(NamedTuple):
    """A cell that claims of valid messages can have made, and the order of its places."""

    cell: EncodedCell
    order: Order


def checked(raw: bytes, tier: Tier) -> CheckedCell:
    """Return a cell if it is one that claims of valid messages can have made.

    Raises:
        ValueError: it is not; later code, which relies on the rules for messages, cannot use it.
    """
    cell = _decode_cell(raw)
    if cell.minutes > TIER_MINUTES[tier]:
        raise ValueError(f"{cell.minutes} minutes in one {tier}")
    if not cell.total <= MAX_HASHRATE * cell.minutes:  # "not" because of NaN, here and below
        raise ValueError(f"a total of {cell.total:g} in {cell.minutes} minutes")
    if not sum(cell.places.values()) <= cell.total * (1 + _CELL_TOLERANCE):
        raise ValueError(f"places add up to more than the total of {cell.total:g}")
    return CheckedCell(cell, _order_of(tuple(cell.places)))  # every name has to be valid for that


def decode_claimed_table(claim: bytes) -> tuple[Published, ...]:
    """Return the table of a claim, without its rank."""
    return _decode_table(claim[RANK.size :])


@cache
def place_of(name: str) -> PlaceKind:
    """Return the place and kind of a name in an encoded cell, such as ``CN-SC/m``.

    Raises:
        ValueError: there is no such place or kind.
    """
    code, _, letter = name.partition("/")
    check_place(code)
    if letter not in _KIND_OF_LETTER:
        raise ValueError(f"{letter[:64]!r} is no kind")
    return code, _KIND_OF_LETTER[letter]


@lru_cache(maxsize=4096)  # a source names the same places again and again
def _order_of(names: tuple[str, ...]) -> Order:
    """Return how the places with these names are put into the order of their numbers.

    Raises:
        ValueError: one is no name of a place.
    """
    return ordered(tuple(map(place_of, names)))


def decode_cell(raw: bytes) -> Cell:
    """Return an encoded cell that was checked before."""
    encoded = _decode_cell(raw)
    return _cell(encoded, _order_of(tuple(encoded.places)).rows(encoded.places.values()))


def decoded(cells: Iterable[CheckedCell]) -> list[Cell]:
    """Return cells that were checked.

    The hashrates of those in a row that name the same places become one array, because an array
    for each cell takes longer than all the rest.
    """
    found: list[Cell] = []
    for _, group in groupby(cells, lambda each: id(each.order)):
        some = list(group)
        positions, places = some[0].order
        hashrates = chain.from_iterable(cell.places.values() for cell, _ in some)
        table = floats(hashrates, len(some) * len(places)).reshape(len(some), len(places))
        rows = table.take(positions, axis=1)
        found += [_cell(cell, Rows(places, row)) for (cell, _), row in zip(some, rows, strict=True)]
    return found


def _cell(cell: EncodedCell, places: Rows) -> Cell:
    return Cell(cell.minutes, cell.total, places, cell.simulated, cell.basis)


def encode_series(series: Series) -> str:
    """Return the entry of a series in the set of all series."""
    return f"{series.pool or ''}/{series.source}"


def decode_series(encoded: bytes) -> Series:
    """Return the series of an entry in the set of all series.

    Raises:
        ValueError: it is none.
    """
    pool, _, source = encoded.decode().partition("/")
    if (pool and not _slug.match(pool)) or not _slug.match(source):
        raise ValueError("is not POOL/SOURCE, two slugs")
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
        generation.stamps(series),
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


def claim_arguments(message: Message, claims: Sequence[Claim]) -> list[bytes]:
    """Return the arguments of ``claim.lua`` for the claims of one message.

    The claims of a tier are one argument, because the minutes that are held have the same cell as
    those that are covered; the published table is another one.
    """
    arguments = [
        _argument(
            [_head(_TIER_LETTER[tier], claim.buckets, claim.rank) for claim in of_tier],
            _encode(_encoded_cell(message, tier)),
        )
        for tier, of_tier in groupby(claims, _tier_of)
    ]
    if isinstance(message, Report) and message.published:
        # The table has the rank of the cells, so that both come from the same message.
        first = bucket(message.start, DAY_S)
        head = _head(b"p", range(first, first + 1), claims[0].rank)
        arguments.append(_argument([head], _encode(message.published)))
    return arguments


def _head(letter: bytes, buckets: range, rank: Rank) -> bytes:
    return _HEAD.pack(letter, buckets[0], buckets[-1], *rank)


def _argument(heads: Sequence[bytes], value: bytes) -> bytes:
    return b"".join((_NUMBER.pack(len(heads)), *heads, value))


class _Names(dict[str, str]):
    """By code, the names of places in encoded cells, each of which is made once."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self._letter = _KIND_LETTER[kind]

    def __missing__(self, code: str) -> str:
        self[code] = name = f"{code}/{self._letter}"
        return name


_names: Final[dict[Kind, _Names]] = {kind: _Names(kind) for kind in KINDS}


def _encoded_cell(message: Message, tier: Tier) -> EncodedCell:
    """Return what ``claimed_cell`` of :mod:`streams.method.cells` does, encoded.

    It is made from the message at once, because every report of every pool passes here.
    """
    minutes = TIER_MINUTES[tier]
    total = message.hashrate * minutes
    if not isinstance(message, Report):
        return EncodedCell(minutes, total, message.simulated)
    places = {_names[p.kind][p.code]: p.hashrate * minutes for p in message.places}
    return EncodedCell(minutes, total, message.simulated, places, BASES.index(message.basis))
