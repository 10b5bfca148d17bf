"""CBECI's contribution API, for both its server and its client: rows of one pool, by place.

The names are CBECI's (docs/partners.md). The server is
:mod:`collector.intake.contributions`, the client :mod:`miningmap.partner`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, TypedDict

PATH: Final = "/cbeci/api/contribute/miners_geo_distribution"


class Row(TypedDict):
    """One row of the request body; ``province`` is null for a whole country.

    ``period_start_date`` is a day, or an hour such as ``2026-11-22T15:00:00Z`` if ``period`` is
    ``hourly``.
    """

    period_start_date: str
    period: str
    country: str
    province: str | None
    average_hashrate: float
    unit: str


FIELDS: Final = tuple(Row.__annotations__)
UNITS: Final = ("th/s", "ph/s", "eh/s")
HOURLY: Final = "hourly"
"""A period of this project, which CBECI does not have; it begins with an hour, not a day."""
MONTHLY: Final = "monthly"
LENGTHS: Final = {
    HOURLY: timedelta(hours=1),
    "daily": timedelta(days=1),
    "weekly": timedelta(days=7),
    "biweekly": timedelta(days=14),
}
PERIODS: Final = (*LENGTHS, MONTHLY)
