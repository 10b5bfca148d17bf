"""The partners' HTTP service: accepts rows in CBECI's format and publishes them as reports.

A client of the Cambridge Bitcoin Mining Map's API works with a new base URL and token. The service
differs from that API in three ways: an error never has the status 200, all errors of all rows are
listed, and a row counts once for its partner, period and place, however often it is sent
(:mod:`collector.intake.ledger`).

All errors of the handler have CBECI's form ``{"error": ...}``; a wrong path or method is a problem
document (RFC 9457).
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import defaultdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from aiohttp import web

from miningmap.cbeci import contribution_rows
from miningmap.cbeci.contribution import MAX_BODY, PATH
from miningmap.cbeci.contribution_rows import Excess, InvalidRowsError
from miningmap.http.problems import problem_middleware
from miningmap.inputs import decode_json, without_mark
from miningmap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from structlog.typing import FilteringBoundLogger as BoundLogger

    from collector.intake.ledger import Ledger
    from collector.intake.partners import Partner
    from collector.intake.rate_limit import RateLimiter
    from collector.metrics import Metrics
    from miningmap.cbeci.contribution_rows import Period, Rows
    from miningmap.messages import Message, Report
    from miningmap.plausibility import KnownFigures

    Authenticate = Callable[[str], Partner | None]
    Publish = Callable[[Sequence[Message]], Awaitable[None]]
    Known = Callable[[], Awaitable[KnownFigures]]

RETRY_AFTER_S: Final = 30
TIMEOUT_S: Final = 25.0
"""How long a request may wait for Redis and Kafka, in seconds; less than clients usually wait."""

_WHOLE_BODY: Final = "the body"
_LONGEST_KEY: Final = 64

_log = structlog.get_logger(__name__)


class _BodyError(Exception):
    """A request body that cannot be read as rows, and the status of the response."""

    def __init__(self, status: HTTPStatus, error: str) -> None:
        super().__init__(error)
        self.status = status


def intake_app(
    authenticate: Authenticate,
    publish: Publish,
    ledger: Ledger,
    limiter: RateLimiter,
    *,
    known: Known,
    metrics: Metrics,
    simulated: bool,
    now: Callable[[], datetime] = utc_now,
) -> web.Application:
    """Return the app, which runs on a port of its own.

    Args:
        authenticate: returns the partner that a token belongs to.
        publish: returns when Kafka has acknowledged the messages, and raises if it has not.
        ledger: the rows that partners have sent so far.
        limiter: limits how often a token may be used.
        known: returns what is known of the network, once its past is.
        metrics: where requests and rows are counted by partner.
        simulated: whether all reports are marked as simulated.
        now: the wall clock, UTC.
    """
    publisher = ReportPublisher(publish, ledger, known, now, simulated=simulated)
    handler = ContributionHandler(authenticate, limiter, publisher, metrics, now)
    app = web.Application(middlewares=[problem_middleware], client_max_size=MAX_BODY)
    app.router.add_post(PATH, handler.contribute)
    return app


class ContributionHandler:
    """Handles the requests that contribute rows."""

    def __init__(
        self,
        authenticate: Authenticate,
        limiter: RateLimiter,
        publisher: ReportPublisher,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._authenticate = authenticate
        self._limiter = limiter
        self._publisher = publisher
        self._metrics = metrics
        self._now = now

    async def contribute(self, request: web.Request) -> web.Response:
        """Return 200 if all rows are in Kafka and in the ledger, else an error.

        After a 503 some rows may be in Kafka already; sending all of them again is harmless.
        """
        partner = self._authenticate(_bearer_token(request))
        if partner is None:  # without authentication the body is not read
            return _error(
                HTTPStatus.UNAUTHORIZED, "Invalid bearer token", {"WWW-Authenticate": "Bearer"}
            )
        response = await self._respond(request, partner)
        self._metrics.intake_requests.labels(partner.name, response.status).inc()
        return response

    async def _respond(self, request: web.Request, partner: Partner) -> web.Response:
        if wait_s := self._limiter.wait_s(partner.token_id):
            # Counted but not logged: a client that ignores the limit would fill the log.
            document = {
                # CBECI's text, which its clients know, although here the address does not matter.
                "error": "Too many requests from your IP, try again later",
                "detail": f"each token is allowed {self._limiter.described}, and this one has the "
                f"id {partner.token_id}; try again in {wait_s} s",
            }
            return _json(HTTPStatus.TOO_MANY_REQUESTS, document, {"Retry-After": str(wait_s)})
        try:
            rows = _rows(await _body(request))
        except _BodyError as error:
            _log.warning("intake_rejected", partner=partner.name, error=str(error))
            return _error(error.status, str(error))
        response = await self._accept(partner, rows)
        result = "accepted" if response.status == HTTPStatus.OK else "rejected"
        self._metrics.intake_rows.labels(partner=partner.name, result=result).inc(len(rows))
        return response

    async def _accept(self, partner: Partner, rows: Sequence[object]) -> web.Response:
        """Validate the rows, publish them, and return the response."""
        log = _log.bind(partner=partner.name, pool=partner.pool, rows=len(rows))
        now = self._now()
        try:
            # In a thread, because suggestions for thousands of misspelt names take seconds, and
            # pollers share this event loop.
            by_period = await asyncio.to_thread(contribution_rows.read, rows, now)
        except InvalidRowsError as error:
            return _invalid(log, error)
        try:
            if by_period:
                async with asyncio.timeout(TIMEOUT_S):
                    await self._publisher.publish(partner, by_period)
        except ImplausibleError as error:
            return _invalid(log, contribution_rows.excess_error(rows, now, error.excesses))
        except Exception:  # after any error the partner has to send the rows again
            log.exception("intake_failed")
            return _error(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the rows could not be stored; send all of them again later",
                {"Retry-After": str(RETRY_AFTER_S)},
            )
        log.info("intake_accepted", reports=len(by_period))
        # read() has checked that every row is an object; the condition tells the type checker.
        echo = [row | {"api_token_id": partner.token_id} for row in rows if isinstance(row, dict)]
        return _json(HTTPStatus.OK, {"data": echo, "status": "success"})


class ImplausibleError(Exception):
    """Rows that make a pool larger than it can have been; none was published."""

    def __init__(self, excesses: Mapping[Period, Excess]) -> None:
        super().__init__(f"{len(excesses)} periods exceed their limits")
        self.excesses = excesses


class ReportPublisher:
    """Merges a partner's new rows with those in the ledger, and publishes them as reports."""

    def __init__(
        self,
        publish: Publish,
        ledger: Ledger,
        known: Known,
        now: Callable[[], datetime],
        *,
        simulated: bool,
    ) -> None:
        self._publish = publish
        self._ledger = ledger
        self._known = known
        self._simulated = simulated
        self._now = now
        # Concurrent requests of one pool would invalidate each other's versions and retry, so they
        # queue within this process.
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def publish(self, partner: Partner, rows: Mapping[Period, Rows]) -> None:
        """Return when the reports are in Kafka and the rows (H/s by place) are in the ledger.

        In this order, because rows that are only in the ledger would be missing on the map. If the
        process ends in between, the reports hold rows that the ledger lacks until the partner, who
        got no 200, sends them again.

        Raises:
            ImplausibleError: with these rows the pool is larger than it can have been.
            BrokerError: Kafka did not acknowledge the reports.
            redis.RedisError: Redis is unavailable.
        """
        known = await self._known()
        async with self._locks[partner.pool]:
            while True:
                version = await self._ledger.next_version(partner.pool, self._now())
                before = await self._ledger.read(partner, rows)
                reports = await asyncio.to_thread(
                    self._reports, partner.pool, before, rows, version
                )
                _check_totals(reports, known)
                await self._publish(list(reports.values()))
                if await self._ledger.write(partner, rows, version):
                    return
                # Another collector has taken a later version meanwhile, and read the ledger
                # without these rows.

    def _reports(
        self,
        pool: str,
        before: Mapping[Period, Rows],
        rows: Mapping[Period, Rows],
        version: datetime,
    ) -> dict[Period, Report]:
        return {
            period: contribution_rows.report(
                period,
                contribution_rows.merged(before[period], places),
                pool,
                fetched_at=version,  # of two reports on a period, the later version wins
                simulated=self._simulated,
            )
            for period, places in rows.items()
        }


def _check_totals(reports: Mapping[Period, Report], known: KnownFigures) -> None:
    """Check the pool's totals, not single rows, against what is known of their time.

    Raises:
        ImplausibleError: a total exceeds its limit.
    """
    excesses = {
        period: Excess(report.hashrate, limit)
        for period, report in reports.items()
        if (limit := known.exceeded(report))
    }
    if excesses:
        raise ImplausibleError(excesses)


def _invalid(log: BoundLogger, error: InvalidRowsError) -> web.Response:
    log.warning("intake_rejected", error=str(error), errors=len(error.errors))
    return _json(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error), "errors": error.errors})


def _bearer_token(request: web.Request) -> str:
    """Return the token of the ``Authorization`` header; without one, the empty string."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def _body(request: web.Request) -> bytes:
    if request.content_type != "application/json":
        raise _BodyError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type should be application/json"
        )
    too_large = _BodyError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body is over {MAX_BODY} bytes; send the rows in several requests",
    )
    if (request.content_length or 0) > MAX_BODY:
        raise too_large
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise too_large from None
    except (web.RequestPayloadError, OSError) as error:  # OSError: the client has disconnected
        text = f"the body could not be read to its end: {error}"
        raise _BodyError(HTTPStatus.BAD_REQUEST, text) from None


def _rows(body: bytes) -> list[object]:
    try:
        document = decode_json(body, object)
    except msgspec.ValidationError:  # JSON, but a number in it is out of range
        position = _position_of_infinite(body)
        text = f"{position}: the number is out of range; expected a finite number"
        raise _BodyError(HTTPStatus.UNPROCESSABLE_ENTITY, text) from None
    except msgspec.DecodeError as error:
        raise _BodyError(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from None
    if not isinstance(document, dict) or "data" not in document:
        raise _BodyError(HTTPStatus.UNPROCESSABLE_ENTITY, "Missing key: data")
    rows = document["data"]
    if not isinstance(rows, list):
        raise _BodyError(HTTPStatus.UNPROCESSABLE_ENTITY, "data should be a list of rows")
    return rows


def _position_of_infinite(body: bytes) -> str:
    """Return where the first number is that no float holds, such as ``data[0].average_hashrate``.

    msgspec names the numbers of lists only.
    """
    try:
        document = json.loads(without_mark(body), parse_int=float)
    except (ValueError, RecursionError):  # msgspec stopped at the number, before this
        return _WHOLE_BODY
    positions = [("", document)]
    while positions:
        position, value = positions.pop()
        match value:
            case float() if not math.isfinite(value):
                return position.removeprefix(".") or _WHOLE_BODY
            case dict():
                inside = [(f"{position}.{key[:_LONGEST_KEY]}", item) for key, item in value.items()]
                positions += reversed(inside)
            case list():
                inside = [(f"{position}[{index}]", item) for index, item in enumerate(value)]
                positions += reversed(inside)
    return _WHOLE_BODY


def _error(
    status: HTTPStatus, error: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    return _json(status, {"error": error}, headers)


def _json(
    status: HTTPStatus, document: object, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        status=status,
        body=msgspec.json.encode(document),
        content_type="application/json",
        headers=headers,
    )
