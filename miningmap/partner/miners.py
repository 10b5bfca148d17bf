"""Lists of miners as pools write them: CSV with a header, or JSON lines. No error quotes them."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

import msgspec

from miningmap.partner.csv import Record, TableError, read_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HASHRATE: Final = "hashrate"
_PLACED_BY: Final = frozenset({"ip", "place"})


class _Miner(msgspec.Struct):
    """One line of JSON; further fields are ignored."""

    hashrate: str | float
    ip: str | None = None
    place: str | None = None


_decoder: Final = msgspec.json.Decoder(_Miner)


def read_miners(file: Iterable[str]) -> Iterator[Record]:
    """Yield the records of a list: each has ``hashrate``, and either ``ip`` or ``place``.

    A list whose first line begins with a brace is read as JSON lines, any other as CSV.

    Raises:
        TableError: the file is neither, or a record lacks one of these fields.
    """
    lines = iter(file)
    try:
        first = next(lines, "")
    except UnicodeDecodeError:
        raise TableError(["line 1: not UTF-8"]) from None
    read = _read_json if first.lstrip().startswith("{") else _read_csv
    return read(chain([first], lines))


def _read_csv(lines: Iterable[str]) -> Iterator[Record]:
    for record in read_table(lines, [_HASHRATE]):
        if len(_PLACED_BY.intersection(record.fields)) != 1:
            raise TableError(["line 1: expected either a column ip or a column place"])
        yield record


def _read_json(lines: Iterable[str]) -> Iterator[Record]:
    number = 0
    try:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _record(number, line)
    except UnicodeDecodeError:
        raise TableError([f"line {number + 1}: not UTF-8"]) from None


def _record(number: int, line: str) -> Record:
    try:
        miner = _decoder.decode(line)
    except (msgspec.DecodeError, RecursionError):  # its text may quote the line
        raise TableError(
            [f"line {number}: expected a JSON object with hashrate, and ip or place"]
        ) from None
    placed = {"ip": miner.ip, "place": miner.place}
    fields = {name: text.strip() for name, text in placed.items() if text is not None}
    if len(fields) != 1:
        raise TableError([f"line {number}: expected either ip or place"])
    return Record(number, fields | {_HASHRATE: str(miner.hashrate)})
