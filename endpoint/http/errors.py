"""What can be wrong with a request here, as problem documents; the general ones are shared."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from endpoint.errors import UnavailableError
from miningmap.http.problems import problem
from streams.queries.parameters import QuestionError

if TYPE_CHECKING:
    from aiohttp import web

RETRY_AFTER_S: Final = 5


def parameters(request: web.Request) -> dict[str, str]:
    """The parameters of a request, each given once.

    Raises:
        QuestionError: one is given twice, and nobody could say which one counts.
    """
    asked: dict[str, str] = {}
    for name, value in request.query.items():
        if name in asked:
            raise QuestionError(name, "given more than once; once is allowed")
        asked[name] = value
    return asked


def unavailable(reason: str) -> web.Response:
    """503: not now, and when to ask again."""
    answer = problem(HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE.phrase, reason)
    answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer


def fault(error: Exception) -> web.Response | None:
    """A wrong parameter is a 400 that names it, a Redis that does not answer a 503."""
    match error:
        case QuestionError():
            return problem(
                HTTPStatus.BAD_REQUEST,
                HTTPStatus.BAD_REQUEST.phrase,
                f"{error.parameter[:32]}: {error}",
                parameter=error.parameter,
            )
        case UnavailableError():
            return unavailable("Redis, which holds all figures, does not answer; try again later")
    return None
