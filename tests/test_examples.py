"""The scripts of docs/partners.md, run against the real intake."""

from __future__ import annotations

import asyncio
import itertools
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from collector.intake.app import intake_app
from collector.intake.ledger import Ledger
from collector.intake.partners import PartnersFile
from collector.intake.rate_limit import Rate, RateLimiter
from collector.intake.tokens import add
from collector.metrics import Metrics
from miningmap import settings as config
from miningmap.messages import Report
from miningmap.plausibility import KnownFigures
from miningmap.redis_client import connect
from miningmap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from collector.outbox import ReportWithRows
    from miningmap.messages import Message

EXAMPLES: Final = Path(__file__).resolve().parents[1] / "docs" / "examples"
DEADLINE_S: Final = 30


class Intake:
    """An intake: its address, the token of a partner, and the reports that it has published."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.address = ""
        self.reports: list[Report] = []
        # The clock advances 0.6 s with each request, so the second one exceeds the rate.
        self.times = itertools.count(0, 0.6)

    async def publish(self, messages: Sequence[Message | ReportWithRows]) -> None:
        self.reports += [message for message in messages if isinstance(message, Report)]

    async def run(self, script: str, token: str) -> tuple[int | None, str, str]:
        """Run a script; return its exit code, standard output and standard error."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(EXAMPLES / script),
            env={"MINING_MAP": self.address, "MININGMAP_PARTNER_TOKEN": token},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(DEADLINE_S):
            output, errors = await process.communicate()
        return process.returncode, output.decode(), errors.decode()


async def nothing_known() -> KnownFigures:
    return KnownFigures()


@pytest.fixture
async def intake(tmp_path: Path, redis_url: str) -> AsyncIterator[Intake]:
    partners = tmp_path / "partners.json"
    token, _ = add(partners, "partner-1", "foundryusa")
    intake = Intake(token)
    async with connect(config.Redis(url=SecretStr(redis_url)), patient=False) as redis:
        app = intake_app(
            PartnersFile(partners).authenticate,
            intake.publish,
            Ledger(redis),
            RateLimiter([Rate(1, 1)], intake.times.__next__),
            known=nothing_known,
            retention=config.Retention(),
            metrics=Metrics(CollectorRegistry()),
            simulated=True,
        )
        async with TestServer(app) as server:
            intake.address = str(server.make_url("")).rstrip("/")
            yield intake


async def test_repeated_runs_publish_the_same_rows(intake: Intake) -> None:
    before = utc_now()
    assert await intake.run("push_rows.py", intake.token) == (0, "3 rows accepted\n", "")
    # Exceeds the rate and waits.
    code, output, errors = await intake.run("push_rows.py", intake.token)
    assert (code, output) == (0, "3 rows accepted\n")
    assert errors.startswith("429 ")
    first, second = intake.reports
    assert first.places == second.places
    assert [place.code for place in first.places] == ["CN-NM", "NO", "US-TX"]
    assert before - timedelta(days=2) < first.start < before < first.end + timedelta(days=1)


async def test_the_live_row_is_of_the_last_minute(intake: Intake) -> None:
    before = utc_now()
    assert await intake.run("push_live.py", intake.token) == (0, "1 row accepted\n", "")
    code, output, errors = await intake.run("push_live.py", intake.token)
    assert (code, output) == (0, "1 row accepted\n")
    assert errors.startswith("429 ")
    for report in intake.reports:
        assert (report.length_s, report.hold_s) == (60, 120)
        assert before - timedelta(minutes=2) < report.start < before
        assert [place.code for place in report.places] == ["CN-NM", "NO", "US-TX"]


@pytest.mark.parametrize("script", ["push_rows.py", "push_live.py"])
async def test_an_unknown_token_is_an_error(intake: Intake, script: str) -> None:
    code, output, errors = await intake.run(script, "wrong")
    assert (code, output) == (1, "")
    assert errors.startswith("401 ")
    assert "Invalid bearer token" in errors
    assert intake.reports == []
