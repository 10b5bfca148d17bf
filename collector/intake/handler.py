"""What both forms of rows have in common: token, rate limit, body, count, log and errors.

A form adds how its rows are read from a body, how they are stored, and how its answers look.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar, Final

import structlog
from aiohttp import web

from collector.intake.follower import LedgerNotReadyError
from miningmap.rows import MAX_BODY, InvalidRowsError, RowError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from collector.intake.partners import Partner
    from collector.intake.rate_limit import RateLimiter
    from collector.metrics import Metrics
    from collector.outbox import ReportWithRows
    from miningmap.messages import Message
    from miningmap.plausibility import KnownFigures

    Authenticate = Callable[[str], Partner | None]
    Publish = Callable[[Sequence[Message | ReportWithRows]], Awaitable[None]]
    Known = Callable[[], Awaitable[KnownFigures]]
    ReadRows = Callable[[bytes], list[object]]

TIMEOUT_S: Final = 25.0
"""How long a request may wait for Redis and Kafka, in seconds; less than clients usually wait."""
RETRY_AFTER_S: Final = 30
BODY_TIMEOUT_S: Final = 60.0
"""How long a body may take to arrive, in seconds. A token that is revoked after the head of a
request counts for no longer than this."""
MAX_ERRORS: Final = 1000
"""The most errors of rows in a response: a body of empty rows would have a million of them."""

_log = structlog.get_logger(__name__)


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
        """The errors that the response lists."""
        return self.errors[:MAX_ERRORS]


class RefusedError(Exception):
    """A body has no rows that can be read; the text is the ``error`` of the refusal."""

    def __init__(self, status: HTTPStatus, error: str) -> None:
        super().__init__(error)
        self.refusal = Refusal(status, error)


@dataclass(frozen=True)
class Gate:
    """Decides whose requests are read, and counts them.

    Attributes:
        authenticate: returns the partner that a token belongs to.
        limiter: limits how often a token may be used.
        metrics: where requests and rows are counted by partner.
    """

    authenticate: Authenticate
    limiter: RateLimiter
    metrics: Metrics


class RowsHandler(ABC):
    """Handles the requests with one form of rows."""

    readers: ClassVar[Mapping[str, ReadRows]]
    """By content type, how the rows of a body are read; raises :class:`RefusedError`."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    @abstractmethod
    async def store(self, partner: Partner, rows: Sequence[object]) -> int:
        """Return how many reports the rows became, once Kafka has acknowledged all of them.

        Raises:
            InvalidRowsError: some rows are invalid or cannot be true; none was published.
            Exception: the rows may not have been stored; they have to be sent again.
        """

    @abstractmethod
    def accepted(self, partner: Partner, rows: Sequence[object]) -> web.Response:
        """Return the response to rows that were stored."""

    @abstractmethod
    def refused(self, refusal: Refusal) -> web.Response:
        """Return the response to a request that is refused; the headers are added to it."""

    async def handle(self, request: web.Request) -> web.Response:
        """Return 200 if all rows are in Kafka, else an error.

        After a 503 some rows may be in Kafka already; sending all of them again is harmless.
        """
        partner = self._gate.authenticate(_bearer_token(request))
        if partner is None:  # without authentication the body is not read
            challenge = {"WWW-Authenticate": "Bearer"}
            return self._response(
                Refusal(HTTPStatus.UNAUTHORIZED, "Invalid bearer token", challenge)
            )
        self._gate.metrics.pools.know(partner.pool)
        response = await self._respond(request, partner)
        self._gate.metrics.intake_requests.labels(partner.name, response.status).inc()
        return response

    async def _respond(self, request: web.Request, partner: Partner) -> web.Response:
        if wait_s := self._gate.limiter.wait_s(partner.token_id):
            # Counted but not logged: a client that ignores the limit would fill the log.
            return self._response(self._too_many(partner, wait_s))
        try:
            rows = await self._rows(request)
        except RefusedError as error:
            _log.warning("intake_rejected", partner=partner.name, error=str(error))
            return self._response(error.refusal)
        response = await self._accept(partner, rows)
        result = "accepted" if response.status == HTTPStatus.OK else "rejected"
        self._gate.metrics.intake_rows.labels(partner=partner.name, result=result).inc(len(rows))
        return response

    async def _accept(self, partner: Partner, rows: Sequence[object]) -> web.Response:
        log = _log.bind(partner=partner.name, pool=partner.pool, rows=len(rows))
        try:
            reports = await self.store(partner, rows)
        except InvalidRowsError as error:
            log.warning("intake_rejected", error=str(error), errors=len(error.errors))
            status = HTTPStatus.UNPROCESSABLE_ENTITY
            return self._response(Refusal(status, str(error), errors=error.errors))
        except LedgerNotReadyError as error:
            log.warning("intake_postponed", error=str(error))
            text = f"{error}; send all of the rows again in {RETRY_AFTER_S} s"
            again = {"Retry-After": str(RETRY_AFTER_S)}
            return self._response(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, text, again))
        except Exception:  # after any error the partner has to send the rows again
            log.exception("intake_failed")
            text = "the rows could not be stored; send all of them again later"
            again = {"Retry-After": str(RETRY_AFTER_S)}
            return self._response(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, text, again))
        log.info("intake_accepted", reports=reports)
        return self.accepted(partner, rows)

    def _too_many(self, partner: Partner, wait_s: int) -> Refusal:
        text = (
            f"each token is allowed {self._gate.limiter.described}, and this one has the id "
            f"{partner.token_id}; try again in {wait_s} s"
        )
        return Refusal(HTTPStatus.TOO_MANY_REQUESTS, text, {"Retry-After": str(wait_s)})

    async def _rows(self, request: web.Request) -> list[object]:
        read = self.readers.get(request.content_type)
        if read is None:
            text = f"Content-Type should be {' or '.join(self.readers)}"
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, text)
        return read(await _body(request))

    def _response(self, refusal: Refusal) -> web.Response:
        response = self.refused(refusal)
        response.headers.update(refusal.headers)
        return response


def _bearer_token(request: web.Request) -> str:
    """Return the token of the ``Authorization`` header; without one, the empty string."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def _body(request: web.Request) -> bytes:
    too_large = RefusedError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body is over {MAX_BODY} bytes; send the rows in several requests",
    )
    if (request.content_length or 0) > MAX_BODY:
        raise too_large
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise too_large from None
    except TimeoutError:  # an OSError too
        text = f"the body did not arrive within {BODY_TIMEOUT_S:g} s; send it again"
        raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, text) from None
    except (web.RequestPayloadError, OSError) as error:  # OSError: the client has disconnected
        text = f"the body could not be read to its end: {error}"
        raise RefusedError(HTTPStatus.BAD_REQUEST, text) from None
