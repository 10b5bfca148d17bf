"""The simulated partner, which pushes a pool's daily rows to the real intake.

Its rows have the form of CCAF's partners, with the World Bank's names of countries.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from launch.simulation.world import day_mean
from miningmap.cbeci import contribution_rows
from miningmap.partner.http import ContributeError, contribute
from miningmap.places import OTHER_SUFFIX, country_of, name_of, world_bank_name
from miningmap.times import DAY_S, bucket, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpx

    from launch.simulation.world import World
    from miningmap.cbeci.contribution import Row
    from miningmap.messages import Report

PUSHED_POOL: Final = "viabtc"
"""The pool whose partner pushes live; the other partners' rows are only in the history."""

UNIT: Final = "ph/s"
_H_PER_UNIT: Final = 1e15
_DECIMALS: Final = 3

_log = structlog.get_logger(__name__)


def daily_rows(world: World, pool: str, day: date) -> list[Row]:
    """Return the partner's rows for one UTC day, one for each place."""
    number = bucket(datetime(day.year, day.month, day.day, tzinfo=UTC), DAY_S)
    return [
        {
            "period_start_date": day.isoformat(),
            "period": "daily",
            "country": world_bank_name(country_of(code)),
            "province": _province(code),
            "average_hashrate": round(hashrate / _H_PER_UNIT, _DECIMALS),
            "unit": UNIT,
        }
        for code, hashrate in sorted(day_mean(world, pool, number).items())
    ]


def report(pool: str, rows: Sequence[Row], fetched_at: datetime) -> Report:
    """Return the report that the intake makes from one day's rows; its places are ``measured``.

    Args:
        pool: slug.
        rows: of one day, at least one.
        fetched_at: when they arrived.
    """
    ((period, places),) = contribution_rows.read(rows, fetched_at).items()
    return contribution_rows.report(period, places, pool, fetched_at=fetched_at, simulated=True)


async def push_daily(
    client: httpx.AsyncClient,
    url: str,
    token: str,
    world: World,
    *,
    clock: Callable[[], datetime] = utc_now,
    every_s: float = 60,
    retry_s: float = 2,
) -> None:
    """Push yesterday's rows of :data:`PUSHED_POOL` now, and again after each midnight UTC.

    Runs until it is cancelled, and checks every ``every_s`` seconds whether a new day has begun. A
    push that fails is repeated after ``retry_s`` seconds, and logged once until one succeeds.
    """
    pushed: date | None = None
    failing = False
    while True:
        yesterday = clock().date() - timedelta(days=1)
        if yesterday != pushed:
            log = _log.bind(pool=PUSHED_POOL, day=str(yesterday))
            rows = daily_rows(world, PUSHED_POOL, yesterday)
            try:
                await contribute(client, url, token, rows)
            except ContributeError as error:
                if not failing:
                    log.warning("partner_push_failed", error=str(error))
                failing = True
            else:
                log.info("partner_pushed", rows=len(rows))
                pushed, failing = yesterday, False
        await asyncio.sleep(every_s if pushed == yesterday else retry_s)


def _province(code: str) -> str | None:
    if code == country_of(code):
        return None
    return "Other" if code.endswith(OTHER_SUFFIX) else name_of(code)
