"""Problem documents (RFC 9457) for the errors that only this service has."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from miningmap.http.problems import problem

if TYPE_CHECKING:
    from aiohttp import web

    from streams.queries.parameters import ParameterError

_MAX_NAME: Final = 32
"""The detail of an error has at most this many characters of the parameter's name."""


def bad_request(error: ParameterError) -> web.Response:
    """Return a 400 that names the parameter and says what is allowed."""
    return problem(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.BAD_REQUEST.phrase,
        f"{error.parameter[:_MAX_NAME]}: {error}",
        parameter=error.parameter,
    )
