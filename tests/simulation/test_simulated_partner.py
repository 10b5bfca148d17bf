from __future__ import annotations

import asyncio
import contextlib
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web
from aiohttp.test_utils import TestServer

from launch.simulation.partner import PUSHED_POOL, daily_rows, push_daily, push_live
from launch.simulation.pools import MEASURED
from miningmap.cbeci.contribution import FIELDS
from miningmap.partner.http import intake_client
from miningmap.places import resolve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from launch.simulation import World

DAY = date(2026, 11, 21)
TOKEN = "a-partners-token"

# The World Bank's names of the simulated countries; some differ from the usual ones.
WORLD_BANK = {
    "China",
    "Russian Federation",
    "Iran, Islamic Rep.",
    "Hong Kong SAR, China",
    "Kazakhstan",
    "Malaysia",
    "United States",
    "Canada",
    "Ethiopia",
    "United Arab Emirates",
    "Germany",
    "Ireland",
    "Norway",
    "Sweden",
    "Oman",
    "Brazil",
    "Paraguay",
}


class Intake:
    """An intake like CBECI's; responds with ``answers`` in turn, then with success."""

    def __init__(self, *answers: tuple[int, dict[str, Any]]) -> None:
        self.answers = list(answers)
        self.bodies: list[Any] = []
        self.tokens: list[str | None] = []
        self.changed = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        self.tokens.append(request.headers.get("Authorization"))
        self.bodies.append(await request.json())
        self.changed.set()
        success = {"status": "success", "accepted": len(self.bodies[-1])}
        status, body = self.answers.pop(0) if self.answers else (200, success)
        return web.json_response(body, status=status)

    async def received(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.bodies) < count:
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def served(intake: Intake) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/{path:.*}", intake.handle)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


@contextlib.asynccontextmanager
async def pushing(url: str, world: World, clock: list[datetime]) -> AsyncIterator[None]:
    async with intake_client() as client, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(
            push_daily(
                client, url, TOKEN, world, clock=lambda: clock[0], every_s=0.01, retry_s=0.01
            )
        )
        yield
        task.cancel()


@contextlib.asynccontextmanager
async def pushing_live(url: str, world: World, clock: list[datetime]) -> AsyncIterator[None]:
    async with intake_client() as client, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(
            push_live(client, url, TOKEN, world, clock=lambda: clock[0], every_s=0.01)
        )
        yield
        task.cancel()


def test_rows_have_the_fields_of_cbeci(texas: World) -> None:
    for row in daily_rows(texas, PUSHED_POOL, DAY):
        assert tuple(row) == FIELDS
        assert row["period_start_date"] == "2026-11-21"
        assert row["period"] == "daily"
        assert row["unit"] == "ph/s"
        assert row["average_hashrate"] > 0


def test_rows_use_the_country_names_of_the_world_bank(texas: World) -> None:
    for pool in MEASURED:
        rows = daily_rows(texas, pool.slug, DAY)
        assert {row["country"] for row in rows} <= WORLD_BANK
        codes = {resolve(row["country"], row["province"]) for row in rows}
        assert codes == set(pool.places)


def test_rows_use_the_names_of_provinces(texas: World) -> None:
    provinces = {
        row["province"] for row in daily_rows(texas, PUSHED_POOL, DAY) if row["country"] == "China"
    }
    assert {"Sichuan", "Xinjiang", "Inner Mongolia", "Yunnan", "Zhejiang", "Other"} <= provinces


def test_rows_are_the_same_each_time_and_differ_by_day(texas: World) -> None:
    rows = daily_rows(texas, PUSHED_POOL, DAY)
    assert rows == daily_rows(texas, PUSHED_POOL, DAY)
    assert rows != daily_rows(texas, PUSHED_POOL, DAY - timedelta(days=1))


async def test_yesterday_is_pushed_at_once_and_again_when_a_day_begins(
    texas: World, origin: datetime
) -> None:
    clock = [origin]
    intake = Intake()
    async with served(intake) as url, pushing(url, texas, clock):
        await intake.received(1)
        clock[0] += timedelta(days=1)
        await intake.received(2)
    days = [body["data"][0]["period_start_date"] for body in intake.bodies]
    assert days == ["2026-11-21", "2026-11-22"]


async def test_a_failed_push_is_retried_until_it_succeeds_and_logged_once(
    texas: World, origin: datetime
) -> None:
    broken = (503, {"error": "no broker"})
    intake = Intake(broken, broken, broken)
    with structlog.testing.capture_logs() as logged:
        clock = [origin]
        async with served(intake) as url, pushing(url, texas, clock):
            await intake.received(4)
            clock[0] += timedelta(days=1)
            await intake.received(5)
    assert [line["log_level"] for line in logged[:2]] == ["warning", "info"]
    assert "no broker" in logged[0]["error"]
    assert intake.bodies[0] == intake.bodies[3]


async def test_each_minute_is_pushed_once_it_is_over_from_five_minutes_before_the_start(
    texas: World, origin: datetime
) -> None:
    clock = [origin]
    intake = Intake()
    async with served(intake) as url, pushing_live(url, texas, clock):
        await intake.received(1)
        clock[0] += timedelta(minutes=1)
        await intake.received(2)
    first, second = ([row["start"][11:16] for row in body] for body in intake.bodies)
    assert first == ["14:55", "14:56", "14:57", "14:58", "14:59"]
    assert second == ["15:00"]


async def test_live_rows_that_failed_are_pushed_with_the_next_ones_as_far_as_an_hour_back(
    texas: World, origin: datetime
) -> None:
    broken = (503, {"detail": "no broker"})
    intake = Intake(broken, broken)
    clock = [origin]
    with structlog.testing.capture_logs() as logged:
        async with served(intake) as url, pushing_live(url, texas, clock):
            await intake.received(2)
            clock[0] += timedelta(hours=2)
            await intake.received(3)
            clock[0] += timedelta(minutes=1)
            await intake.received(4)
    assert intake.bodies[0] == intake.bodies[1]
    assert [len(body) for body in intake.bodies[2:]] == [60, 1]
    assert [line["event"] for line in logged] == [
        "partner_live_push_failed",
        "partner_live_push_recovered",
    ]
    assert "no broker" in logged[0]["error"]
