"""What both forms of partners' rows share: Cambridge's (:mod:`miningmap.cbeci`) and live rows.

Either all rows of a request are used or none, and the errors of all rows are reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SOURCE: Final = "partner"
"""The source of all reports that rows become."""
MAX_BODY: Final = 1024 * 1024
"""The most bytes of a request body, uncompressed: thousands of rows."""
MAX_ROWS: Final = 10_000
"""The most rows of a request: a body with more has rows that are not valid."""
MAX_ERRORS: Final = 1000
"""The most errors that a response lists: a body of empty rows would have a million of them."""
MAX_ROW_ERRORS: Final = 100
"""The most errors of one row, which can have thousands of places."""

T = TypeVar("T")


class RowError(msgspec.Struct, frozen=True):
    """An error in row ``index``; ``field`` is null if it concerns the whole row."""

    index: int
    field: str | None
    error: str


class InvalidRowsError(ValueError):
    """Rows are invalid and none was used; ``errors`` has the errors of the rows."""

    def __init__(self, errors: Sequence[RowError]) -> None:
        super().__init__(errors[0].error)
        self.errors = tuple(errors)


class Fields:
    """The fields of one row, and the errors found in them."""

    def __init__(
        self, index: int, row: object, required: Sequence[str], what: str = "a row"
    ) -> None:
        """Note whether the row is an object and has the required fields.

        Args:
            index: the position of the row.
            row: decoded but not checked.
            required: the names of the fields that every row has.
            what: what has these fields; a part of a row can have fields as well.
        """
        self.index = index
        self.errors: list[RowError] = []
        self.names: Sequence[str] = tuple(row) if isinstance(row, dict) else ()
        self._row: Mapping[str, object] = row if isinstance(row, dict) else {}
        if not isinstance(row, dict):
            self.reject(None, f"{what} is an object with {', '.join(required)}")
            return
        for field in required:
            if field not in row:
                self.reject(field, f"Missing key: {field}")

    def read(self, field: str, check: Callable[[object], T]) -> T | None:
        """Return the checked value; ``None`` without it, or with an error of ``check``.

        Args:
            field: the name of the field.
            check: returns the value to use, or raises a ``ValueError`` for people to read.
        """
        if field not in self._row:
            return None
        try:
            return check(self._row[field])
        except ValueError as error:
            self.reject(field, str(error))
            return None

    @property
    def is_full(self) -> bool:
        """Whether the row has so many errors that no more are noted."""
        return len(self.errors) >= MAX_ROW_ERRORS

    def reject(self, field: str | None, error: str) -> None:
        """Add an error, unless there are too many."""
        if not self.is_full:
            self.errors.append(RowError(self.index, field, error))
