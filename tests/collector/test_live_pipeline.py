"""Live rows from a partner's request to the answer of the API, through real Kafka and Redis."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientError, ClientSession
from aiohttp.test_utils import unused_port

from collector import service as collector
from collector.intake.tokens import add
from endpoint import service as endpoint
from miningmap.live_rows import PATH, LiveRow
from miningmap.partner.http import ContributeError, intake_client, send_reports
from miningmap.times import MINUTE_S, bucket, bucket_start, rfc3339, utc_now
from streams import service as streams
from tests.streams.processes import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

    from miningmap.settings import Settings

pytestmark = pytest.mark.usefixtures("clean_kafka")

MINUTE = timedelta(minutes=1)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[None]:
    """Run the three services in this process during the block."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for service in (collector, streams, endpoint):
            tasks.create_task(service.run(settings, stop))
        try:
            yield
        finally:
            stop.set()


def live_row(start: datetime) -> LiveRow:
    return {
        "start": rfc3339(start),
        "end": rfc3339(start + MINUTE),
        "hold_s": 600,
        "hashrate": 4e18,
        "places": [{"code": "US-TX", "hashrate": 3e18}, {"code": "NO", "hashrate": 1e18}],
    }


async def pushed(url: str, token: str, rows: list[LiveRow]) -> None:
    async with intake_client() as client, asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await send_reports(client, url, token, rows)
            except ContributeError as error:
                if error.retry_s is None:
                    raise
            await asyncio.sleep(0.05)  # the intake is not listening yet


async def measured(session: ClientSession, window: str) -> dict[str, float]:
    try:
        async with session.get(f"/api/v1/shares?window={window}") as response:
            document: dict[str, Any] = await response.json(content_type=None)
    except ClientError:  # the endpoint is not listening yet
        return {}
    return {share["code"]: share["kinds"]["measured"] for share in document.get("shares", [])}


async def test_the_places_of_live_rows_are_measured_in_now_and_the_last_hour(
    settings: Settings, tmp_path: Path
) -> None:
    settings.collector.sources = []
    settings.intake.port, settings.endpoint.port = unused_port(), unused_port()
    settings.intake.partners_file = tmp_path / "partners.json"
    token, _ = add(settings.intake.partners_file, "partner-1", "foundryusa")
    last = bucket(utc_now(), MINUTE_S)
    rows = [live_row(bucket_start(minute, MINUTE_S)) for minute in range(last - 60, last)]

    intake, api = (f"http://127.0.0.1:{each.port}" for each in (settings.intake, settings.endpoint))
    async with running(settings), ClientSession(api) as session:
        # Twice, and the second time in another order: a cell is set, never added to.
        for sent in (rows, rows[::-1]):
            await pushed(intake + PATH, token, sent)

        async def shown() -> bool:
            found = [await measured(session, window) for window in ("now", "1h")]
            return found == [{"US": 3e18, "NO": 1e18}] * 2

        await until(shown)
