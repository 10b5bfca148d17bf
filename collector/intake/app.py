"""The partners' HTTP service: rows in CBECI's shape in, reports out to Kafka.

A client that pushed to the Cambridge Bitcoin Mining Map works with a new base address and token.
Kept better than there: an error is never a 200, all errors of all rows are told, and a row counts
once per partner, period and place, however often it comes (:mod:`collector.intake.ledger`).

Errors of the pushed rows come as CBECI's ``{"error": ...}``, those of a wrong path or method as
problem documents.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from aiohttp import web

from miningmap.cbeci.contribution import MAX_BODY, PATH
from miningmap.cbeci.contribution_rows import InvalidRowsError, merged, read, report
from miningmap.http.problems import problem_middleware
from miningmap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from collector.intake.ledger import Ledger
    from collector.intake.partners import Partner
    from collector.intake.rate_limit import RateLimiter
    from collector.metrics import Metrics
    from miningmap.cbeci.contribution_rows import Period, Rows
    from miningmap.messages import Message, Report

    Authenticate = Callable[[str], Partner | None]
    Publish = Callable[[Sequence[Message]], Awaitable[None]]

RETRY_AFTER_S: Final = 30
PATIENCE_S: Final = 25.0
"""How long a request may wait for Redis and Kafka; less than clients wait for their answer."""

_log = structlog.get_logger(__name__)


class _RefusedError(Exception):
    """A body that cannot be read as rows."""

    def __init__(self, status: HTTPStatus, error: str) -> None:
        super().__init__(error)
        self.status = status


def intake_app(
    authenticate: Authenticate,
    publish: Publish,
    ledger: Ledger,
    limiter: RateLimiter,
    *,
    metrics: Metrics,
    simulated: bool,
    now: Callable[[], datetime] = utc_now,
) -> web.Application:
    """The service, to be run on a port of its own.

    Args:
        authenticate: whose a token is.
        publish: returns when Kafka has acknowledged the messages, raises when it has not.
        ledger: what partners have said so far.
        limiter: how often a token may be used.
        metrics: where requests and rows are counted, by partner.
        simulated: whether all reports are marked so.
        now: the clock, UTC.
    """
    desk = _Desk(publish, ledger, now, simulated=simulated)
    intake = _Intake(authenticate, limiter, desk, metrics, now)
    app = web.Application(middlewares=[problem_middleware], client_max_size=MAX_BODY)
    app.router.add_post(PATH, intake.contribute)
    return app


class _Intake:
    """From a request to an answer."""

    def __init__(
        self,
        authenticate: Authenticate,
        limiter: RateLimiter,
        desk: _Desk,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._authenticate = authenticate
        self._limiter = limiter
        self._desk = desk
        self._metrics = metrics
        self._now = now

    async def contribute(self, request: web.Request) -> web.Response:
        """Take rows: 200 when all of them are in Kafka, else none was used."""
        partner = self._authenticate(_bearer_token(request))
        if partner is None:  # before a byte of the body is read
            return _error(
                HTTPStatus.UNAUTHORIZED, "Invalid bearer token", {"WWW-Authenticate": "Bearer"}
            )
        answer = await self._answer(request, partner)
        self._metrics.intake_requests.labels(partner.name, answer.status).inc()
        return answer

    async def _answer(self, request: web.Request, partner: Partner) -> web.Response:
        if wait_s := self._limiter.wait_s(partner.token_id):
            # Not logged: a client that does not stop would fill the log. The metric tells of it.
            return _error(
                HTTPStatus.TOO_MANY_REQUESTS,
                # CBECI's words; here it is the token that counts.
                "Too many requests from your IP, try again later",
                {"Retry-After": str(wait_s)},
            )
        try:
            rows = _rows(await _body(request))
        except _RefusedError as error:
            _log.warning("intake refused", partner=partner.name, error=str(error))
            return _error(error.status, str(error))
        answer = await self._take(partner, rows)
        result = "accepted" if answer.status == HTTPStatus.OK else "rejected"
        self._metrics.intake_rows.labels(partner=partner.name, result=result).inc(len(rows))
        return answer

    async def _take(self, partner: Partner, rows: Sequence[object]) -> web.Response:
        log = _log.bind(partner=partner.name, pool=partner.pool, rows=len(rows))
        try:
            # In a thread: thousands of misspelt names take seconds, and pollers share this loop.
            said = await asyncio.to_thread(read, rows, self._now())
        except InvalidRowsError as error:
            log.warning("intake refused", error=str(error), errors=len(error.errors))
            return _json(
                HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error), "errors": error.errors}
            )
        try:
            if said:
                async with asyncio.timeout(PATIENCE_S):
                    await self._desk.submit(partner, said)
        except Exception:  # whatever it was, the rows do not count, and the partner must know
            log.exception("intake failed")
            return _error(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the rows could not be stored; send all of them again later",
                {"Retry-After": str(RETRY_AFTER_S)},
            )
        log.info("intake accepted", reports=len(said))
        # All rows are objects by now: read() refuses anything else.
        echo = [row | {"api_token_id": partner.token_id} for row in rows if isinstance(row, dict)]
        return _json(HTTPStatus.OK, {"data": echo, "status": "success"})


class _Desk:
    """Where what a partner says is put to what it has said before, and both become reports."""

    def __init__(
        self, publish: Publish, ledger: Ledger, now: Callable[[], datetime], *, simulated: bool
    ) -> None:
        self._publish = publish
        self._ledger = ledger
        self._simulated = simulated
        self._now = now
        # In this process nobody begins a turn while another one's is under way: it would be lost.
        self._free: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def submit(self, partner: Partner, said: Mapping[Period, Rows]) -> None:
        """Return when the reports are in Kafka and what was said is in the ledger.

        In this order: what is in the ledger alone would be on no map. If it ends in between, the
        reports hold rows that the ledger lacks; they are replaced by those of the partner's retry.

        Raises:
            BrokerError: Kafka did not acknowledge.
            redis.RedisError: Redis is away.
        """
        async with self._free[partner.pool]:
            while True:
                turn = await self._ledger.begin(partner.pool, self._now())
                before = await self._ledger.read(partner, said)
                await self._publish(
                    await asyncio.to_thread(self._reports, partner.pool, before, said, turn)
                )
                if await self._ledger.write(partner, said, turn):
                    return
                # Another collector has begun a turn meanwhile, without these rows.

    def _reports(
        self, pool: str, before: Mapping[Period, Rows], said: Mapping[Period, Rows], turn: datetime
    ) -> list[Report]:
        return [
            report(
                period,
                merged(before[period], now),
                pool,
                fetched_at=turn,
                simulated=self._simulated,
            )
            for period, now in said.items()
        ]


def _bearer_token(request: web.Request) -> str:
    """The token of the ``Authorization`` header; empty, which is nobody's, if there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def _body(request: web.Request) -> bytes:
    if request.content_type != "application/json":
        raise _RefusedError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type should be application/json"
        )
    too_large = _RefusedError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body is over {MAX_BODY} bytes; send the rows in several requests",
    )
    if (request.content_length or 0) > MAX_BODY:
        raise too_large
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise too_large from None
    except (web.RequestPayloadError, OSError) as error:  # OSError: the client has left
        raise _RefusedError(HTTPStatus.BAD_REQUEST, f"the body broke off: {error}") from None


def _rows(body: bytes) -> list[object]:
    try:
        document = msgspec.json.decode(body)
    except msgspec.ValidationError as error:  # JSON, but for a number that no computer holds
        raise _RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from None
    if not isinstance(document, dict) or "data" not in document:
        raise _RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "Missing key: data")
    rows = document["data"]
    if not isinstance(rows, list):
        raise _RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "data should be a list of rows")
    return rows


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
