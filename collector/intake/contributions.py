"""Rows in CBECI's format over HTTP: rows of one period become one report.

A client of the Cambridge Bitcoin Mining Map's API works with a new base URL and token. The service
differs from that API in three ways: an error never has the status 200, all errors of all rows are
listed, and a row counts once for its pool, period and place, however often it is sent
(:mod:`collector.intake.ledger`). All errors of the handler have CBECI's form ``{"error": ...}``.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

import msgspec
from aiohttp import web

from collector.intake.body import decode_body
from collector.intake.handler import TIMEOUT_S, Gate, RefusedError, RowsHandler
from collector.outbox import ReportWithRows
from miningmap.cbeci import contribution_rows
from miningmap.cbeci.contribution_rows import Excess
from miningmap.retention import horizon

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from collector.intake.follower import Follows
    from collector.intake.handler import Known, Publish, ReadRows, Refusal
    from collector.intake.ledger import Ledger
    from collector.intake.partners import Partner
    from miningmap.cbeci.contribution_rows import Period, Rows
    from miningmap.messages import Report
    from miningmap.plausibility import KnownFigures
    from miningmap.settings import Retention


def _data(body: bytes) -> list[object]:
    document = decode_body(body)
    if not isinstance(document, dict) or "data" not in document:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "Missing key: data")
    rows = document["data"]
    if not isinstance(rows, list):
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "data should be a list of rows")
    return rows


class ContributionHandler(RowsHandler):
    """Handles the requests that contribute rows in CBECI's format."""

    readers: ClassVar[Mapping[str, ReadRows]] = {"application/json": _data}

    def __init__(
        self,
        gate: Gate,
        publisher: ReportPublisher,
        retention: Retention,
        now: Callable[[], datetime],
    ) -> None:
        super().__init__(gate)
        self._publisher = publisher
        self._retention = retention
        self._now = now

    async def store(self, partner: Partner, rows: Sequence[object]) -> int:
        """Add the rows to those of their periods, and publish the reports."""
        now = self._now()
        # In a thread, because suggestions for thousands of misspelt names take seconds, and
        # pollers share this event loop.
        kept = horizon(self._retention, now)
        by_period = await asyncio.to_thread(contribution_rows.read, rows, now, kept)
        try:
            if by_period:
                async with asyncio.timeout(TIMEOUT_S):
                    await self._publisher.publish(partner, by_period)
        except ImplausibleError as error:
            raise contribution_rows.excess_error(rows, now, error.excesses) from None
        return len(by_period)

    def accepted(self, partner: Partner, rows: Sequence[object]) -> web.Response:
        """Return the rows with the token's id, as CBECI's API does."""
        # read() has checked that every row is an object; the condition tells the type checker.
        echo = [row | {"api_token_id": partner.token_id} for row in rows if isinstance(row, dict)]
        return _json(HTTPStatus.OK, {"data": echo, "status": "success"})

    def refused(self, refusal: Refusal) -> web.Response:
        """Return CBECI's ``{"error": ...}``; ``errors`` has the errors of the rows."""
        document: dict[str, object] = {"error": refusal.error}
        if refusal.status == HTTPStatus.TOO_MANY_REQUESTS:
            # CBECI's text, which its clients know, although here the address does not matter.
            known = "Too many requests from your IP, try again later"
            document = {"error": known, "detail": refusal.error}
        if refusal.errors:
            document["errors"] = refusal.listed
        return _json(refusal.status, document)


class ImplausibleError(Exception):
    """Rows that make a pool larger than it can have been; none was published."""

    def __init__(self, excesses: Mapping[Period, Excess]) -> None:
        super().__init__(f"{len(excesses)} periods exceed their limits")
        self.excesses = excesses


class ReportPublisher:
    """Merges new rows with those in the ledger, and publishes them as reports."""

    def __init__(
        self,
        publish: Publish,
        ledger: Ledger,
        follows: Follows,
        known: Known,
        now: Callable[[], datetime],
        *,
        simulated: bool,
    ) -> None:
        self._publish = publish
        self._ledger = ledger
        self._follows = follows
        self._known = known
        self._simulated = simulated
        self._now = now
        # Concurrent requests of one pool would invalidate each other's versions and retry, so they
        # queue within this process.
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def publish(self, partner: Partner, rows: Mapping[Period, Rows]) -> None:
        """Return when the reports are in Kafka and the rows (H/s by place) are in the ledger.

        In this order, because rows that are only in the ledger would be missing on the map. If the
        process ends in between, the ledger gets the rows from Kafka.

        Raises:
            LedgerNotReadyError: the rows that were sent before are not known yet.
            ImplausibleError: with these rows the pool is larger than it can have been.
            BrokerError: Kafka did not acknowledge the reports.
            redis.RedisError: Redis is unavailable.
        """
        known = await self._known()
        pool = partner.pool
        async with self._locks[pool]:
            while True:
                known_ledger = await self._follows.known(pool)
                turn = await self._ledger.begin(pool, self._now(), rows, known_ledger)
                if turn is None:  # Redis has lost the ledger since
                    self._follows.doubt(pool)
                    continue
                after = {
                    period: contribution_rows.merged(turn.before[period], places)
                    for period, places in rows.items()
                }
                reports = await asyncio.to_thread(self._reports, pool, after, turn.version)
                _check_totals(reports, known)
                await self._publish([_outgoing(reports[period], after[period]) for period in after])
                if await self._ledger.write(pool, after, turn.version, known_ledger):
                    self._follows.written(pool, turn.version)
                    return
                # Another collector has taken a later version meanwhile, and read the ledger
                # without these rows.

    def _reports(
        self, pool: str, rows: Mapping[Period, Rows], version: datetime
    ) -> dict[Period, Report]:
        return {
            period: contribution_rows.report(
                period,
                places,
                pool,
                fetched_at=version,  # of two reports on a period, the later version wins
                simulated=self._simulated,
            )
            for period, places in rows.items()
        }


def _outgoing(report: Report, rows: Rows) -> Report | ReportWithRows:
    headers = contribution_rows.rows_header(rows)
    return ReportWithRows(report, headers) if headers else report


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


def _json(status: HTTPStatus, document: object) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(document), content_type="application/json"
    )
