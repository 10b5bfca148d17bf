"""The frame around every handler: rate limit, errors as problem documents, common headers.

One function that wraps a handler. aiohttp's middlewares and signals, which could do the same, would
take a tenth of the time of a whole request.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from endpoint.http.errors import fault
from endpoint.http.headers import COMMON
from miningmap.http.problems import problem_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.typedefs import Handler

    from endpoint.http.rate_limit import RateLimit

METHODS: Final = (hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS)

_NOTHING: Final[dict[str, str]] = {}
_EXTRA: Final = web.RequestKey("extra", dict[str, str])


def framed(handler: Handler, limit: RateLimit | None) -> Handler:
    """A handler with the frame around it.

    Args:
        handler: of one path.
        limit: of what one client may ask; ``None`` for none.
    """

    async def frame(request: web.Request) -> web.StreamResponse:
        extra, refusal = (_NOTHING, None) if limit is None else limit.check(request)
        if extra:
            request[_EXTRA] = extra
        response: web.StreamResponse
        try:
            response = refusal or await handler(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a document
            response = fault(error) or problem_of(error, request)
        _complete(response, extra)
        return response

    return frame


def complete_early(request: web.Request, response: web.StreamResponse) -> None:
    """Give an answer its headers now: for a handler that sends them itself."""
    _complete(response, request.get(_EXTRA, _NOTHING))


def _complete(response: web.StreamResponse, extra: Mapping[str, str]) -> None:
    headers = response.headers
    # Who has this one was made with all of them.
    if hdrs.ACCESS_CONTROL_ALLOW_ORIGIN not in headers:
        for name, value in COMMON.items():
            headers.setdefault(name, value)
    if extra:
        headers.update(extra)


async def not_allowed(request: web.Request) -> web.StreamResponse:
    """The handler of other methods at a path that there is: 405."""
    raise web.HTTPMethodNotAllowed(request.method, METHODS)


async def not_found(_request: web.Request) -> web.StreamResponse:
    """The handler of all other paths: 404."""
    raise web.HTTPNotFound


async def options(_request: web.Request) -> web.Response:
    """What may be asked, for browsers that ask first (CORS preflight)."""
    allowed = ", ".join(METHODS)
    headers = {
        hdrs.ALLOW: allowed,
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: allowed,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "*",
        hdrs.ACCESS_CONTROL_MAX_AGE: "86400",
    }
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)
