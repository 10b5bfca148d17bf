"""Lists as CSV (RFC 4180): the rows of the JSON response, one figure per column. Pure."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

from miningmap.api.columns import cells, columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CONTENT_TYPE: Final = "text/csv; charset=utf-8; header=present"

# A spreadsheet takes text with such a beginning for a formula. Negative numbers are harmless.
_FORMULA_PREFIXES: Final = ("=", "+", "-", "@", "\t", "\r")


def to_csv(
    fields: Iterable[str], rows: Iterable[Mapping[str, object]], *, header: bool = True
) -> bytes:
    """Return a table as CSV: the header, then one line per row.

    Args:
        fields: the rows' field names, in the order of the columns.
        rows: built-in types, as decoded from JSON; null becomes an empty cell.
        header: whether to begin with the header; without it, the lines continue a table.
    """
    names = tuple(fields)
    text = io.StringIO()
    lines = csv.writer(text)
    if header:
        lines.writerow(columns(names))
    lines.writerows(map(_cell, cells(names, row)) for row in rows)
    return text.getvalue().encode()


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case {"source": source}:
            return _cell(source)  # a pool's sources are listed by name
        case dict() | list() | tuple():
            return " ".join(_items(value))
        case str() if value.startswith(_FORMULA_PREFIXES):
            return f"'{value}"
        case _:
            return str(value)


def _items(value: Mapping[str, object] | Sequence[object]) -> Iterable[str]:
    if isinstance(value, dict):
        return (f"{name}={_cell(item)}" for name, item in value.items())
    return map(_cell, value)
