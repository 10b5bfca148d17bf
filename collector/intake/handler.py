"""What both forms of rows have in common: token, rate limit, body, count, log and errors.

A form adds how its rows are read from a body, how they are stored, and how its answers look.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar, Final

import structlog
from aiohttp import hdrs, web

from collector.intake.budget import Budget, OverBudgetError
from collector.intake.encoding import coding_of, decoded
from collector.intake.follower import LedgerNotReadyError
from collector.intake.rate_limit import FailedLogins
from collector.intake.refusals import Refusal, RefusedError, cut, too_large, unreadable
from miningmap.http.clients import Clients
from miningmap.http.problems import BodyTimeoutError
from miningmap.rows import MAX_BODY, MAX_ROWS, InvalidRowsError

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
MOST_AT_ONCE: Final = 10
"""How many requests of a token may be at work: each can hold a connection for a minute."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Gate:
    """Decides whose requests are read, and counts them.

    Attributes:
        authenticate: returns the partner that a token belongs to.
        limiter: limits how often a token may be used.
        metrics: where requests and rows are counted by partner.
        budget: limits how much the rows of a pool may claim in a day.
        failures: limits how often an address may send a wrong token.
        at_work: how many requests are at work, by the id of their token.
    """

    authenticate: Authenticate
    limiter: RateLimiter
    metrics: Metrics
    budget: Budget = field(default_factory=Budget)
    failures: FailedLogins = field(default_factory=lambda: FailedLogins(Clients()))
    at_work: Counter[int] = field(default_factory=Counter)

    def reject(self, request: web.Request) -> Refusal:
        """Return the refusal of a request without a valid token: 401, or 429 if there are many.

        A valid token works at any time: it has 256 bits, so nobody finds it by trying, and behind
        one address there can be others, who should not be able to shut a partner out.
        """
        wait_s = self.failures.wait_s(request)
        if not wait_s:
            self.metrics.failed_logins.labels(HTTPStatus.UNAUTHORIZED.value).inc()
            challenge = {"WWW-Authenticate": "Bearer"}
            return Refusal(HTTPStatus.UNAUTHORIZED, "Invalid bearer token", challenge)
        self.metrics.failed_logins.labels(HTTPStatus.TOO_MANY_REQUESTS.value).inc()
        text = f"too many requests without a valid token; try again in {wait_s} s"
        return Refusal(HTTPStatus.TOO_MANY_REQUESTS, text, {"Retry-After": str(wait_s)})


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
            OverBudgetError: the rows claim more than the pool may in a day; none was published.
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
        if partner is None:  # the body is not read, and the connection not used again
            response = self._response(self._gate.reject(request))
            response.force_close()
            return response
        self._gate.metrics.pools.know(partner.pool)
        response = await self._one_of_few(request, partner)
        self._gate.metrics.intake_requests.labels(partner.name, response.status).inc()
        return response

    async def _one_of_few(self, request: web.Request, partner: Partner) -> web.Response:
        """Respond, unless so many requests of the token are at work that others would suffer."""
        at_work = self._gate.at_work
        if at_work[partner.token_id] >= MOST_AT_ONCE:
            return self._response(_busy(partner))
        at_work[partner.token_id] += 1
        try:
            return await self._respond(request, partner)
        finally:
            at_work[partner.token_id] -= 1

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
            text = cut(str(error))
            log.warning("intake_rejected", error=text, errors=len(error.errors))
            status = HTTPStatus.UNPROCESSABLE_ENTITY
            return self._response(Refusal(status, text, errors=error.errors))
        except LedgerNotReadyError as error:
            log.warning("intake_postponed", error=str(error))
            text = f"{error}; send all of the rows again in {RETRY_AFTER_S} s"
            again = {"Retry-After": str(RETRY_AFTER_S)}
            return self._response(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, text, again))
        except OverBudgetError as error:
            log.warning("intake_over_budget", error=str(error), wait_s=error.wait_s)
            return self._response(_over_budget(error))
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
        coding = coding_of(request.headers.get(hdrs.CONTENT_ENCODING, ""))
        body = await _body(request)
        # In a thread, because a body of a megabyte takes long, and pollers share this event loop.
        rows = await asyncio.to_thread(lambda: read(decoded(body, coding)))
        if len(rows) > MAX_ROWS:
            text = f"more than {MAX_ROWS} rows; send them in several requests"
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
        return rows

    def _response(self, refusal: Refusal) -> web.Response:
        response = self.refused(refusal)
        response.headers.update(refusal.headers)
        return response


def _over_budget(error: OverBudgetError) -> Refusal:
    text = (
        f"these rows claim {error.values:,} values, their totals and places once for each minute, "
        f"hour or day; a pool may claim {error.daily:,} a day"
    )
    if error.wait_s is None:
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return Refusal(status, f"{text}; send the rows in several requests")
    again = {"Retry-After": str(error.wait_s)}
    return Refusal(HTTPStatus.TOO_MANY_REQUESTS, f"{text}; try again in {error.wait_s} s", again)


def _busy(partner: Partner) -> Refusal:
    text = (
        f"each token is allowed {MOST_AT_ONCE} requests at a time, and this one has the id "
        f"{partner.token_id}; wait for their answers"
    )
    return Refusal(HTTPStatus.TOO_MANY_REQUESTS, text, {"Retry-After": "1"})


def _bearer_token(request: web.Request) -> str:
    """Return the token of the ``Authorization`` header; without one, the empty string."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def _body(request: web.Request) -> bytes:
    """Return the body as it was sent.

    Raises:
        RefusedError: it is too large, did not arrive in time or not to its end.
    """
    if (request.content_length or 0) > MAX_BODY:
        raise too_large()
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the response begins after that
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise too_large() from None
    except BodyTimeoutError as error:
        raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, str(error)) from None
    except (web.RequestPayloadError, OSError) as error:  # OSError: the client has disconnected
        raise unreadable(str(error)) from None
