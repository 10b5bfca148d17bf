"""CSV tables with a header, read so that every error names its line."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from miningmap.cbeci.contribution import FIELDS, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Record(NamedTuple):
    """The fields of one record by column, and the line on which it begins, from 1."""

    line: int
    fields: dict[str, str]


class TableError(Exception):
    """A table is invalid; ``errors`` has one line of text each, without the content of cells."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__(errors[0])
        self.errors = tuple(errors)


_NUMERIC: Final = "average_hashrate"
_OTHER_DELIMITERS: Final = re.compile(r"[;|\t]")


def read_table(
    file: Iterable[str], columns: Iterable[str], errors: list[str] | None = None
) -> Iterator[Record]:
    """Yield the records of a table that has at least these columns, in any order.

    Args:
        file: the lines of the table.
        columns: their names.
        errors: collects the errors of records with a wrong number of fields, which are then left
            out; without it the first one is raised.

    Raises:
        TableError: the file is not CSV, a column is missing, or a record has a wrong number of
            fields.
    """
    reader = csv.reader(file, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if missing := [name for name in columns if name not in header]:
            present = ", ".join(filter(_is_title, header)) or "none"
            raise TableError([f"line 1: missing column {', '.join(missing)}; found {present}"])
        _check_unique(header)
        before = reader.line_num
        for fields in reader:
            line, before = before + 1, reader.line_num
            if not fields:
                continue
            if len(fields) == len(header):
                yield Record(line, dict(zip(header, map(str.strip, fields), strict=True)))
                continue
            error = f"line {line}: {len(fields)} fields, but the header has {len(header)}"
            if errors is None:
                raise TableError([error])
            errors.append(error)
    except csv.Error as error:
        raise TableError([f"line {reader.line_num}: not CSV: {error}"]) from None
    except UnicodeDecodeError:
        raise TableError([f"line {reader.line_num + 1}: not UTF-8"]) from None


def _check_unique(header: Sequence[str]) -> None:
    """Check that no name is of several columns, of which the last one would count silently."""
    repeated = [name for name, number in Counter(header).items() if name and number > 1]
    if repeated:
        named = f" {repeated[0]}" if _is_title(repeated[0]) else ""
        raise TableError([f"line 1: several columns{named}; only one can be meant"])


def _is_title(name: str) -> bool:
    """Whether a column is named by words, maybe by several with the wrong delimiter between them.

    A file without a header has an address in its first line, which no error may quote.
    """
    return all(word.strip().isidentifier() for word in _OTHER_DELIMITERS.split(name))


def read_rows(file: Iterable[str]) -> tuple[list[dict[str, object]], list[int]]:
    """Read the unchecked rows of a table with CBECI's columns, and the line of each.

    Raises:
        TableError: as for :func:`read_table`.
    """
    rows, lines = [], []
    for line, fields in read_table(file, FIELDS):
        rows.append({field: _value(field, fields[field]) for field in FIELDS})
        lines.append(line)
    return rows, lines


def write_rows(rows: Iterable[Row]) -> str:
    """Format rows as a table that :func:`read_rows` reads."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)  # csv writes None as an empty field
    return text.getvalue()


def _value(field: str, text: str) -> object:
    """Convert a field as JSON would have it.

    Text that is not a number stays text, so that the check of the rows rejects it.
    """
    if field == "province":
        return text or None
    if field == _NUMERIC and "_" not in text:  # float() accepts 1_000
        try:
            return float(text)
        except ValueError:
            return text
    return text
