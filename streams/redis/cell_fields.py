"""Which fields of which hashes the cells of a series are in (:mod:`streams.redis.keys`). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from miningmap.times import DAY_H, HOUR_MIN
from streams.redis.encoding import RANK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from streams.method.cells import CellKey, Series
    from streams.method.windows import Tier
    from streams.redis.keys import Generation

    CellHash: TypeAlias = tuple[Tier, int]
    """Identifies a hash of a series:

    ``("minute", HOUR)`` has the minutes of an hour,
    ``("hour", DAY)`` has the hours of a day,
    ``("day", 0)`` has all days.
    """

    Fields: TypeAlias = dict[CellHash, dict[bytes, CellKey]]
    """The fields to read by hash, and the key of the cell that each one belongs to."""

_FIELDS_AT_ONCE: Final = 2000


def parts(fields: Mapping[Series, Fields]) -> Iterator[dict[Series, Fields]]:
    """Yield all series in parts: of about :data:`_FIELDS_AT_ONCE` fields, at least one series.

    To write the commands for years of cells, and to parse the replies, takes a tenth of a second:
    in parts, the process can answer others in between.
    """
    part: dict[Series, Fields] = {}
    number = 0
    for series, hashes in fields.items():
        part[series] = hashes
        number += sum(map(len, hashes.values()))
        if number >= _FIELDS_AT_ONCE:
            yield part
            part, number = {}, 0
    if part:
        yield part


def fields_of(cell_keys: Iterable[CellKey]) -> Fields:
    """Return the fields of each hash in which these cells are.

    A minute has one field. An hour or a day has two, for its direct claim (``c``) and its roll-up
    (``r``), as described in :mod:`streams.redis.keys`.
    """
    fields: Fields = {}
    for key in sorted(cell_keys):
        tier, number = key
        if tier == "minute":
            hour, minute = divmod(number, HOUR_MIN)
            fields.setdefault((tier, hour), {})[b"%d" % minute] = key
            continue
        day, name = (0, number) if tier == "day" else divmod(number, DAY_H)
        fields.setdefault((tier, day), {}).update({b"c%d" % name: key, b"r%d" % name: key})
    return fields


def key_of(generation: Generation, series: Series, cell_hash: CellHash) -> str:
    """Return the key of a hash of a series."""
    tier, number = cell_hash
    if tier == "day":
        return generation.days(series)
    of_tier = generation.minutes if tier == "minute" else generation.hours
    return of_tier(series, number)


def cells_in(fields: Fields, replies: Sequence[list[bytes | None]]) -> dict[CellKey, bytes]:
    """Return the encoded cells in the values of ``fields``, one reply per hash, without ranks."""
    cells: dict[CellKey, bytes] = {}
    for names, values in zip(fields.values(), replies, strict=True):
        for (name, key), value in zip(names.items(), values, strict=True):
            if value is None:
                continue
            if name.startswith(b"r"):  # after a direct claim, which takes precedence
                cells.setdefault(key, value)
            else:
                cells[key] = value[RANK.size :]
    return cells
