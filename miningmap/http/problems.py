"""Errors over HTTP as problem documents (RFC 9457), in the same form from every service."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import LineTooLong

from miningmap.api.models import PROBLEM_CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp.typedefs import Handler, Middleware

RETRY_AFTER_S: Final = 5
SERVER_NAME: Final = "miningmap"
"""Replaces the names and versions of aiohttp and Python, which would help an attacker."""

_MOST_QUOTED: Final = 120

_log = structlog.get_logger(__name__)


class BodyTimeoutError(TimeoutError):
    """The body of a request did not arrive in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the body did not arrive within {seconds:g} s; send it again")


def problem(status: int, title: str, detail: str, **extra: object) -> web.Response:
    """A response with a problem document.

    Args:
        status: of the response, repeated in the document.
        title: the kind of problem, the same at each occurrence.
        detail: what is wrong this time, and what to do about it.
        extra: further members, such as ``allowed=["now", "1h"]``; any JSON.
    """
    return web.Response(
        status=status,
        body=_document(status, title, detail, **extra),
        content_type=PROBLEM_CONTENT_TYPE,
    )


def _document(status: int, title: str, detail: str, **extra: object) -> bytes:
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail} | extra
    return msgspec.json.encode(document)


def message_of(status: HTTPStatus, detail: str) -> bytes:
    """Return a whole HTTP response with a problem document, after which the connection closes.

    Args:
        status: of the response.
        detail: what is wrong, and what to do about it.
    """
    document = _document(status, status.phrase, detail)
    headers = {
        hdrs.SERVER: SERVER_NAME,
        hdrs.CONTENT_TYPE: PROBLEM_CONTENT_TYPE,
        hdrs.CONTENT_LENGTH: str(len(document)),
        hdrs.CACHE_CONTROL: "no-store",
        hdrs.CONNECTION: "close",
    }
    if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
        headers[hdrs.RETRY_AFTER] = str(RETRY_AFTER_S)
    lines = (f"{name}: {value}" for name, value in headers.items())
    return "\r\n".join((f"HTTP/1.1 {status} {status.phrase}", *lines, "", "")).encode() + document


def malformed(error: BaseException | None, message: str | None) -> web.Response:
    """Return the response to what is no valid HTTP.

    Args:
        error: of aiohttp's parser.
        message: of that error, which says what is wrong and after an empty line quotes the request.
    """
    if isinstance(error, LineTooLong):
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        return problem(status, status.phrase, f"a line of the head is over {error.args[1]} bytes")
    status = HTTPStatus.BAD_REQUEST
    *_, what = (message or "").partition("\n\n")[0].rsplit("\n", 1)
    what = what.strip().removesuffix(":")[:_MOST_QUOTED]
    return problem(status, status.phrase, f"the request is not valid HTTP/1.1: {what}")


def unavailable(reason: str) -> web.Response:
    """Return a 503 with the reason and the time after which to try again."""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    response = problem(status, status.phrase, reason)
    response.headers[hdrs.RETRY_AFTER] = str(RETRY_AFTER_S)
    return response


def readiness(reasons: Sequence[str], notes: Sequence[str] = ()) -> web.Response:
    """Return the response of ``/readyz``: 200, or 503 with the reasons against it.

    Args:
        reasons: why the service is not ready; nothing if it is.
        notes: what does not work although the service is ready.
    """
    if reasons:
        return unavailable("; ".join([*reasons, *notes]))
    return web.Response(text="".join(f"{line}\n" for line in ("ready", *notes)))


def problem_of(error: Exception, request: web.Request) -> web.Response:
    """The problem document for an error of aiohttp, or of a handler that failed.

    Raises:
        aiohttp.web.HTTPException: the error is a redirect, which is not a problem.
    """
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            detail = f"{request.method} is not allowed at {target_of(request)}; allowed: {allowed}"
            response = problem(error.status, error.reason, detail)
            response.headers["Allow"] = allowed
            return response
        case web.HTTPNotFound():
            return problem(error.status, error.reason, f"there is nothing at {target_of(request)}")
        case BodyTimeoutError():
            status = HTTPStatus.REQUEST_TIMEOUT
            return problem(status, status.phrase, str(error))
        case web.RequestPayloadError():
            status = HTTPStatus.BAD_REQUEST
            return problem(status, status.phrase, f"the body could not be read: {error}")
        case web.HTTPError():
            return problem(error.status, error.reason, error.text or error.reason)
        case web.HTTPException():
            raise error
        case _:
            target = target_of(request)
            _log.error("request_failed", method=request.method, path=target, exc_info=error)
            return problem(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                HTTPStatus.INTERNAL_SERVER_ERROR.phrase,
                "a fault of this service; its log says more",
            )


def target_of(request: web.Request) -> str:
    """Return the path of a request, or the whole target of one without a path, such as CONNECT."""
    return request.path or request.raw_path


def problem_middleware_for(translate: Callable[[Exception], web.Response | None]) -> Middleware:
    """A middleware that turns errors into problem documents; redirects pass.

    Args:
        translate: returns the response for an error of the service's own, or ``None``.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Exception as error:  # noqa: BLE001 - the client gets a document in any case
            return translate(error) or problem_of(error, request)

    return middleware


problem_middleware: Final = problem_middleware_for(lambda _error: None)
"""The middleware for services without errors of their own."""
