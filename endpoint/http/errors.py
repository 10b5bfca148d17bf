"""Problem documents (RFC 9457) for the errors that only this service has."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs

from miningmap.api.models import BUSY
from miningmap.http.problems import problem

if TYPE_CHECKING:
    from aiohttp import web

    from endpoint.errors import BusyError
    from streams.queries.parameters import ParameterError
    from streams.redis.generations import RebuildingError

REBUILDING: Final = "Rebuilding"
"""The title of the problem that the cells are being rebuilt."""
REBUILDING_RETRY_S: Final = 30

_NO_CAPACITY: Final = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
_TITLE: Final = "Request cannot be satisfied due to temporary server capacity constraints"
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


def rebuilding(error: RebuildingError) -> web.Response:
    """Return a 503 that says how far the cells are rebuilt, and when to try again."""
    how_far = error.progress._asdict() if error.progress else {}
    response = problem(HTTPStatus.SERVICE_UNAVAILABLE, REBUILDING, str(error), **how_far)
    response.headers[hdrs.RETRY_AFTER] = str(REBUILDING_RETRY_S)
    return response


def busy(error: BusyError) -> web.Response:
    """Return a 503 for a question that is not answered because too much is being computed."""
    response = problem(
        HTTPStatus.SERVICE_UNAVAILABLE, _TITLE, str(error), type=_NO_CAPACITY, reason=BUSY
    )
    response.headers[hdrs.RETRY_AFTER] = str(error.retry_after_s)
    return response
