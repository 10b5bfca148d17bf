"""Live rows over HTTP (:mod:`miningmap.live_rows`): each row is a whole report of the pool.

So they need no ledger, and a row that is sent twice changes nothing. All errors are problem
documents (RFC 9457) in the form of the rest of the project.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

import msgspec
from aiohttp import web

from collector.intake.body import decode_body, decode_lines
from collector.intake.handler import TIMEOUT_S, Gate, RowsHandler
from collector.intake.refusals import cut
from miningmap.http.problems import problem
from miningmap.live_rows import read
from miningmap.retention import horizon
from miningmap.rows import MAX_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from collector.intake.handler import Known, Publish, ReadRows
    from collector.intake.partners import Partner
    from collector.intake.refusals import Refusal
    from miningmap.rows import RowError
    from miningmap.settings import Retention


def _document(body: bytes) -> list[object]:
    document = decode_body(body)
    return document if isinstance(document, list) else [document]


class LiveHandler(RowsHandler):
    """Handles the requests with live rows."""

    readers: ClassVar[Mapping[str, ReadRows]] = {
        "application/json": _document,
        "application/x-ndjson": decode_lines,
        "application/jsonl": decode_lines,
    }

    def __init__(
        self,
        gate: Gate,
        publish: Publish,
        known: Known,
        retention: Retention,
        now: Callable[[], datetime],
        *,
        simulated: bool,
    ) -> None:
        super().__init__(gate)
        self._publish = publish
        self._known = known
        self._retention = retention
        self._now = now
        self._simulated = simulated

    async def store(self, partner: Partner, rows: Sequence[object]) -> int:
        """Publish the report that each row is."""
        async with asyncio.timeout(TIMEOUT_S):
            known = await self._known()
        # After the wait, so that the clock is the one of the publication.
        now = self._now()
        # In a thread, because thousands of rows take long, and pollers share this event loop.
        kept = horizon(self._retention, now)
        reports = await asyncio.to_thread(
            read,
            rows,
            partner.pool,
            now,
            simulated=self._simulated,
            kept=kept,
            known=known,
            most_errors=MAX_ERRORS,
        )
        if reports:
            with self._gate.budget.spent(partner.pool, reports, kept):
                async with asyncio.timeout(TIMEOUT_S):
                    await self._publish(reports)
        return len(reports)

    def accepted(self, partner: Partner, rows: Sequence[object]) -> web.Response:  # noqa: ARG002 - the other form needs the partner
        """Return how many rows were accepted: all of them."""
        return web.Response(
            body=msgspec.json.encode({"accepted": len(rows)}), content_type="application/json"
        )

    def refused(self, refusal: Refusal) -> web.Response:
        """Return a problem document; ``errors`` has the errors of the rows."""
        status, errors = refusal.status, refusal.errors
        if not errors:
            return problem(status, status.phrase, refusal.error)
        return problem(status, status.phrase, cut(_first_of(errors)), errors=refusal.listed)


def _first_of(errors: Sequence[RowError]) -> str:
    """Return the first error with its row, for people who read no further."""
    first = errors[0]
    field = "" if first.field is None else f"{first.field}: "
    more = f" (the first of {len(errors)} errors)" if len(errors) > 1 else ""
    return f"row {first.index}: {field}{first.error}{more}"
