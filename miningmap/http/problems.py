"""Errors over HTTP as problem documents (RFC 9457), the same from every service."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
import structlog
from aiohttp import web

from miningmap.api.models import PROBLEM_CONTENT_TYPE

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

_log = structlog.get_logger(__name__)


def problem(status: int, title: str, detail: str, **extra: object) -> web.Response:
    """A problem document.

    Args:
        status: of the answer, and repeated in the document.
        title: the kind of problem, the same at each occurrence.
        detail: what is wrong this time, and what to do about it.
        extra: further members, such as ``allowed=["now", "1h"]``; any JSON.
    """
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail} | extra
    return web.Response(
        status=status, body=msgspec.json.encode(document), content_type=PROBLEM_CONTENT_TYPE
    )


def problem_of(error: Exception, request: web.Request) -> web.Response:
    """What aiohttp or a failed handler raised, as a problem document.

    Raises:
        aiohttp.web.HTTPException: it is a redirect, which is no problem.
    """
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            detail = f"{request.method} is not allowed at {request.path}; allowed: {allowed}"
            answer = problem(error.status, error.reason, detail)
            answer.headers["Allow"] = allowed
            return answer
        case web.HTTPNotFound():
            return problem(error.status, error.reason, f"there is nothing at {request.path}")
        case web.HTTPError():
            return problem(error.status, error.reason, error.text or error.reason)
        case web.HTTPException():
            raise error
        case _:
            _log.error("request failed", method=request.method, path=request.path, exc_info=error)
            return problem(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                HTTPStatus.INTERNAL_SERVER_ERROR.phrase,
                "a fault of this service; its log says more",
            )


@web.middleware
async def problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns what aiohttp and failed handlers raise into problem documents; redirects pass."""
    try:
        return await handler(request)
    except Exception as error:  # noqa: BLE001 - whatever failed, the client gets a document
        return problem_of(error, request)
