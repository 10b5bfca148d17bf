"""The simulated partner: pushes a pool's daily rows to the real intake, as CCAF's partners did.

A row is CBECI's: ``period_start_date``, ``period``, ``country`` (the World Bank's name),
``province`` (free text, or null for a country as a whole), ``average_hashrate``, ``unit``.
"""

from __future__ import annotations

import asyncio
import json
import math
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypedDict

import aiohttp
import structlog

from miningmap.messages import Located, Report
from miningmap.places import OTHER_SUFFIX, country_of, name_of, resolve
from miningmap.simulation.world import day_mean
from miningmap.times import DAY_S, bucket, utc_now
from miningmap.units import parse_hashrate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from miningmap.simulation.world import World

PATH: Final = "/cbeci/api/contribute/miners_geo_distribution"
PUSHED_POOL: Final = "viabtc"
"""The pool whose partner pushes live; the other partners' rows are in the history."""

UNIT: Final = "ph/s"
_H_PER_UNIT: Final = 1e15
_DECIMALS: Final = 3
_QUOTED: Final = 200
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)

# Where the World Bank's name is not the one that people use; only countries of this world.
_WORLD_BANK: Final = {
    "HK": "Hong Kong SAR, China",
    "IR": "Iran, Islamic Rep.",
    "RU": "Russian Federation",
}

_log = structlog.get_logger(__name__)


class Row(TypedDict):
    """One row of the body, CBECI's names."""

    period_start_date: str
    period: str
    country: str
    province: str | None
    average_hashrate: float
    unit: str


class PushError(Exception):
    """The intake did not take the rows; the text says why, and what it answered."""


def daily_rows(world: World, pool: str, day: date) -> list[Row]:
    """What the pool's partner says of one UTC day, place by place."""
    number = bucket(datetime(day.year, day.month, day.day, tzinfo=UTC), DAY_S)
    return [
        {
            "period_start_date": day.isoformat(),
            "period": "daily",
            "country": _world_bank(country_of(code)),
            "province": _province(code),
            "average_hashrate": round(hashrate / _H_PER_UNIT, _DECIMALS),
            "unit": UNIT,
        }
        for code, hashrate in sorted(day_mean(world, pool, number).items())
    ]


def report(pool: str, rows: Sequence[Row], fetched_at: datetime) -> Report:
    """What the intake makes of one day's rows: all of it measured, nothing unlocated.

    Args:
        pool: slug.
        rows: of one day, at least one.
        fetched_at: when they arrived.
    """
    start = datetime.fromisoformat(rows[0]["period_start_date"]).replace(tzinfo=UTC)
    places = tuple(
        Located(resolve(row["country"], row["province"]), hashrate, "measured")
        for row in rows
        if (hashrate := parse_hashrate(row["average_hashrate"], row["unit"])) is not None
    )
    return Report(
        pool=pool,
        source="partner",
        start=start,
        end=start + timedelta(days=1),
        hold_s=0,
        hashrate=math.fsum(place.hashrate for place in places),
        places=places,
        fetched_at=fetched_at,
        simulated=True,
    )


async def push(session: aiohttp.ClientSession, url: str, token: str, rows: Sequence[Row]) -> None:
    """Send ``rows`` to the intake at ``url`` (with :data:`PATH`), once.

    Raises:
        PushError: it cannot be reached, or answers anything but success.
    """
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with session.post(
            url, json={"data": rows}, headers=headers, timeout=_TIMEOUT
        ) as response:
            text = await response.text()
            status = response.status
    except (aiohttp.ClientError, TimeoutError) as error:
        raise PushError(f"no answer from {url}: {str(error) or type(error).__name__}") from None
    if status != HTTPStatus.OK or not _is_success(text):
        raise PushError(f"{url} answered {status}: {text[:_QUOTED]}")


async def push_daily(
    session: aiohttp.ClientSession,
    url: str,
    token: str,
    world: World,
    *,
    clock: Callable[[], datetime] = utc_now,
    every_s: float = 60,
    retry_s: float = 2,
) -> None:
    """Push yesterday's rows of :data:`PUSHED_POOL`: at once, and again as a new UTC day begins.

    Runs until it is cancelled. A push that fails is tried again after ``retry_s``, and logged once
    until the next one succeeds; whether a new day has begun is looked at every ``every_s``.
    """
    pushed: date | None = None
    failing = False
    while True:
        yesterday = clock().date() - timedelta(days=1)
        if yesterday != pushed:
            log = _log.bind(pool=PUSHED_POOL, day=str(yesterday))
            rows = daily_rows(world, PUSHED_POOL, yesterday)
            try:
                await push(session, url, token, rows)
            except PushError as error:
                if not failing:
                    log.warning("partner push failed, trying again", error=str(error))
                failing = True
            else:
                log.info("partner pushed", rows=len(rows))
                pushed, failing = yesterday, False
        await asyncio.sleep(every_s if pushed == yesterday else retry_s)


def _is_success(text: str) -> bool:
    """CBECI's intake says failure with status 200, too."""
    try:
        return bool(json.loads(text).get("status") == "success")
    except (ValueError, AttributeError):
        return False


def _world_bank(country: str) -> str:
    return _WORLD_BANK.get(country, name_of(country))


def _province(code: str) -> str | None:
    if code == country_of(code):
        return None
    return "Other" if code.endswith(OTHER_SUFFIX) else name_of(code)
