"""Why requests are refused, with texts that stay short whatever the request is."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from miningmap.rows import MAX_BODY, MAX_ERRORS, RowError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_TEXT: Final = 400
"""The most characters of a text that can quote a request."""
MAX_LISTED: Final = 128 * 1024
"""The most characters of all errors that a response lists."""


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused.

    Attributes:
        status: of the response.
        error: what is wrong, and what to do about it.
        headers: of the response.
        errors: every error of every row.
    """

    status: HTTPStatus
    error: str
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: Sequence[RowError] = ()

    @property
    def listed(self) -> Sequence[RowError]:
        """The errors that the response lists: the first, and of each the beginning."""
        listed: list[RowError] = []
        left = MAX_LISTED
        for error in self.errors[:MAX_ERRORS]:
            text, field = cut(error.error), error.field and cut(error.field)
            left -= len(text) + len(field or "")
            if left < 0:
                break
            listed.append(RowError(error.index, field, text))
        return listed


def cut(text: str) -> str:
    """Return the beginning of a text that can quote a request."""
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


class RefusedError(Exception):
    """A body has no rows that can be read; the text is the ``error`` of the refusal."""

    def __init__(
        self, status: HTTPStatus, error: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(cut(error))
        self.refusal = Refusal(status, cut(error), headers or {})


def too_large() -> RefusedError:
    """Return the error of a body that is larger than any may be."""
    return RefusedError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body is over {MAX_BODY} bytes; send the rows in several requests",
    )


def unreadable(reason: str) -> RefusedError:
    """Return the error of a body that is not complete or not what its header says."""
    return RefusedError(HTTPStatus.BAD_REQUEST, f"the body could not be read to its end: {reason}")
