"""Middlewares for all requests: errors and the rate limit; common headers."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from endpoint.errors import BusyError, UnavailableError
from endpoint.http.errors import bad_request, busy, rebuilding
from endpoint.http.headers import QUOTA, add_common
from endpoint.http.rate_limit import RateLimit
from miningmap.http.problems import problem_middleware_for, unavailable
from streams.queries.parameters import ParameterError
from streams.queries.snapshot import SnapshotError
from streams.redis.generations import RebuildingError

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from streams.queries.cost import Cost

METHODS: Final = f"{hdrs.METH_GET}, {hdrs.METH_HEAD}, {hdrs.METH_OPTIONS}"

_NO_HEADERS: Final[dict[str, str]] = {}
_LIMIT: Final = web.RequestKey("limit", RateLimit)


class QuotaExceededError(Exception):
    """A question costs more than what is left of the client's quota; ``response`` is the 429."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.reason)
        self.response = response


def _problem_of(error: Exception) -> web.Response | None:
    """Return 400 for an invalid parameter, 429 for what costs too much, 503 for what cannot be."""
    match error:
        case ParameterError():
            return bad_request(error)
        case QuotaExceededError():
            return error.response
        case BusyError():
            return busy(error)
        case RebuildingError():
            return rebuilding(error)
        case UnavailableError() | SnapshotError():
            return unavailable(str(error))
        case _:
            return None


problem_middleware: Final = problem_middleware_for(_problem_of)
"""Answers all errors with problem documents."""


def rate_limit_middleware(limit: RateLimit) -> Middleware:
    """Return a middleware that answers 429 to clients that exceed the limit."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers, rejection = limit.check(request)
        request[QUOTA] = headers
        if headers:  # else the limit does not apply to the client
            request[_LIMIT] = limit
        return await handler(request) if rejection is None else rejection

    return middleware


def charge(request: web.Request, cost: Cost) -> None:
    """Take what the answer to a request costs, of which 1 is taken already, from its client.

    Raises:
        QuotaExceededError: the client has not so much left, and nothing was taken.
    """
    limit = request.get(_LIMIT)
    if limit is None or cost <= 1:
        return
    request[QUOTA], rejection = limit.check_more(request, cost - 1)
    if rejection is not None:
        raise QuotaExceededError(rejection)


async def add_common_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the common headers to a response right before its headers are sent.

    This handles aiohttp's signal ``on_response_prepare``. It is not a middleware, because the event
    stream sends its headers while its handler is still running.
    """
    add_common(response.headers)
    response.headers.update(request.get(QUOTA, _NO_HEADERS))


async def preflight(_request: web.Request) -> web.Response:
    """Answer ``OPTIONS``, which browsers send before some requests to another site (CORS)."""
    headers = {
        hdrs.ALLOW: METHODS,
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "*",
        hdrs.ACCESS_CONTROL_MAX_AGE: "86400",
    }
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)
