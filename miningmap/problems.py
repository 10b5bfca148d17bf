"""Errors over HTTP as problem documents (RFC 9457), the same from every service."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from aiohttp import web

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

CONTENT_TYPE: Final = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem document, as it is read: what is wrong, and what to do about it.

    ``title`` is the kind of problem, the same at each occurrence. ``parameter`` is the one that is
    wrong, if one is.
    """

    type: str
    title: str
    status: int
    detail: str
    parameter: str | None = None


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
        status=status, body=msgspec.json.encode(document), content_type=CONTENT_TYPE
    )


@web.middleware
async def problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns what aiohttp and failed handlers raise into problem documents; redirects pass."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        allowed = sorted(error.allowed_methods)
        answer = problem(
            error.status,
            error.reason,
            f"{request.method} is not allowed at {request.path}; allowed: {', '.join(allowed)}",
        )
        answer.headers["Allow"] = ", ".join(allowed)
        return answer
    except web.HTTPNotFound as error:
        return problem(error.status, error.reason, f"there is nothing at {request.path}")
    except web.HTTPError as error:
        return problem(error.status, error.reason, error.text or error.reason)
    except web.HTTPException:  # a redirect
        raise
    except Exception:  # noqa: BLE001 - whatever failed, the client gets a document and the log the rest
        _log.exception("request failed", method=request.method, path=request.path)
        return problem(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            HTTPStatus.INTERNAL_SERVER_ERROR.phrase,
            "a fault of this service; its log says more",
        )
