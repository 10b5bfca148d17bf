"""Middlewares for all requests: errors, the rate limit and common headers."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from endpoint.errors import UnavailableError
from endpoint.http.errors import bad_request, rebuilding
from endpoint.http.headers import COMMON, SERVER_NAME
from miningmap.http.problems import unavailable
from streams.queries.parameters import ParameterError
from streams.queries.snapshot import SnapshotError
from streams.redis.generations import RebuildingError

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from endpoint.http.rate_limit import RateLimit

METHODS: Final = f"{hdrs.METH_GET}, {hdrs.METH_HEAD}, {hdrs.METH_OPTIONS}"

_NO_HEADERS: Final[dict[str, str]] = {}
_RATE_LIMIT: Final = web.RequestKey("rate_limit", dict[str, str])


@web.middleware
async def error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 400 for an invalid parameter and 503 without Redis, cells or a usable snapshot."""
    try:
        return await handler(request)
    except ParameterError as error:
        return bad_request(error)
    except UnavailableError as error:
        return unavailable(str(error))
    except RebuildingError as error:
        return rebuilding(error)
    except SnapshotError as error:
        return unavailable(str(error))


def rate_limit_middleware(limit: RateLimit) -> Middleware:
    """Return a middleware that answers 429 to clients that exceed the limit."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers, rejection = limit.check(request)
        request[_RATE_LIMIT] = headers
        return await handler(request) if rejection is None else rejection

    return middleware


async def add_common_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the common headers to a response right before its headers are sent.

    This handles aiohttp's signal ``on_response_prepare``. It is not a middleware, because the event
    stream sends its headers while its handler is still running.
    """
    headers = response.headers
    headers.merge(COMMON)
    headers[hdrs.SERVER] = SERVER_NAME
    headers.update(request.get(_RATE_LIMIT, _NO_HEADERS))


async def preflight(_request: web.Request) -> web.Response:
    """Answer ``OPTIONS``, which browsers send before some requests to another site (CORS)."""
    headers = {
        hdrs.ALLOW: METHODS,
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "*",
        hdrs.ACCESS_CONTROL_MAX_AGE: "86400",
    }
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)
