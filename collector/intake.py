"""The partners' HTTP service: rows in CBECI's shape in, reports out to Kafka.

A client that pushed to the Cambridge Bitcoin Mining Map works with a new base address and token.
Two things are kept better than there: an error is never a 200, and a retry counts nothing twice
(the identical rows are the identical report; see :mod:`collector.rows`, and its known limit).

Errors of the pushed rows come as CBECI's ``{"error": ...}``, those of a wrong path or method as
problem documents.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from aiohttp import web

from collector.rows import InvalidRowsError, reports
from miningmap.problems import problem_middleware
from miningmap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from collector.metrics import Metrics
    from collector.partners import Partner, Partners
    from miningmap.messages import Message

PATH: Final = "/cbeci/api/contribute/miners_geo_distribution"
MAX_BODY: Final = 1024 * 1024
"""Bytes, uncompressed: some 7,000 rows."""
RETRY_AFTER_S: Final = 30

_log = structlog.get_logger(__name__)


class _RefusedError(Exception):
    """A body that cannot be read as rows."""

    def __init__(self, status: HTTPStatus, error: str) -> None:
        super().__init__(error)
        self.status = status


def intake_app(
    partners: Partners,
    publish: Callable[[Sequence[Message]], Awaitable[None]],
    *,
    metrics: Metrics,
    simulated: bool,
    now: Callable[[], datetime] = utc_now,
) -> web.Application:
    """The service, to be run on a port of its own.

    Args:
        partners: who may push.
        publish: returns when Kafka has acknowledged the messages, raises when it has not.
        metrics: where rows are counted, by partner.
        simulated: whether all reports are marked so.
        now: the clock, UTC.
    """
    intake = _Intake(partners, publish, metrics=metrics, simulated=simulated, now=now)
    app = web.Application(middlewares=[problem_middleware], client_max_size=MAX_BODY)
    app.router.add_post(PATH, intake.contribute)
    return app


class _Intake:
    def __init__(
        self,
        partners: Partners,
        publish: Callable[[Sequence[Message]], Awaitable[None]],
        *,
        metrics: Metrics,
        simulated: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._partners = partners
        self._publish = publish
        self._metrics = metrics
        self._simulated = simulated
        self._now = now

    async def contribute(self, request: web.Request) -> web.Response:
        """Take rows: 200 when all of them are in Kafka, else none was used."""
        partner = self._partners.authenticate(_bearer_token(request))
        if partner is None:  # before a byte of the body is read
            return _error(
                HTTPStatus.UNAUTHORIZED, "Invalid bearer token", {"WWW-Authenticate": "Bearer"}
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
            messages = await asyncio.to_thread(
                reports, rows, partner.pool, fetched_at=self._now(), simulated=self._simulated
            )
        except InvalidRowsError as error:
            log.warning("intake refused", error=str(error), errors=len(error.errors))
            return _json(
                HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error), "errors": error.errors}
            )
        try:
            if messages:
                await self._publish(messages)
        except Exception:  # whatever it was, the rows are not in Kafka, and the partner must know
            log.exception("intake failed")
            return _error(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the rows could not be stored; send all of them again later",
                {"Retry-After": str(RETRY_AFTER_S)},
            )
        log.info("intake accepted", reports=len(messages))
        # All rows are objects by now: reports() refuses anything else.
        echo = [row | {"api_token_id": partner.token_id} for row in rows if isinstance(row, dict)]
        return _json(HTTPStatus.OK, {"data": echo, "status": "success"})


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
        f"the body is over {MAX_BODY} bytes; send the rows in several requests, those of one "
        "period in one",
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
