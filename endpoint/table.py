"""Lists as CSV (RFC 4180): the rows of the JSON answer, one figure a column. Pure."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

CONTENT_TYPE: Final = "text/csv; charset=utf-8; header=present"

# Fields of several figures become as many columns: kinds_measured, sensitivity_min.
_PARTS: Final[dict[str, tuple[str, ...]]] = {
    "kinds": ("measured", "estimated", "prior"),
    "sensitivity": ("min", "max"),
    "gap": ("reported", "reported_by", "mined", "mined_by", "blocks", "ratio", "error"),
    "refused": ("at", "source", "reason", "error"),
}
# Spreadsheets run what begins so. Numbers may begin with a minus, and do no harm.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def to_csv(fields: Iterable[str], rows: Iterable[Mapping[str, object]]) -> bytes:
    """The header and one line a row.

    Args:
        fields: the rows' field names, in the order of the columns.
        rows: as decoded from JSON; what is null is an empty cell.
    """
    names = tuple(fields)
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(column for name in names for column in _columns(name))
    lines.writerows([cell for name in names for cell in _cells(name, row[name])] for row in rows)
    return text.getvalue().encode()


def _columns(name: str) -> Iterator[str]:
    if name in _PARTS:
        return (f"{name}_{part}" for part in _PARTS[name])
    return iter((name,))


def _cells(name: str, value: object) -> list[str]:
    if name not in _PARTS:
        return [_cell(value)]
    match value:
        case dict():
            return [_cell(value[part]) for part in _PARTS[name]]
        case list():
            return [_cell(part) for part in value]
        case _:
            return [""] * len(_PARTS[name])


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case list():
            return " ".join(_cell(item) for item in value)
        case {"source": source}:
            return _cell(source)  # of a pool's sources, their names
        case str() if value.startswith(_FORMULA):
            return f"'{value}"
        case _:
            return str(value)
