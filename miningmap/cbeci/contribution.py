"""CBECI's contribution API, for both its server and its client: rows of one pool, by place.

The names are CBECI's (docs/partners.md). The server is
:mod:`collector.intake.contributions`, the client :mod:`miningmap.partner`.
"""

from __future__ import annotations

from typing import Final, TypedDict

PATH: Final = "/cbeci/api/contribute/miners_geo_distribution"


class Row(TypedDict):
    """One row of the request body; ``province`` is null for a whole country."""

    period_start_date: str
    period: str
    country: str
    province: str | None
    average_hashrate: float
    unit: str


FIELDS: Final = tuple(Row.__annotations__)
UNITS: Final = ("th/s", "ph/s", "eh/s")
DAYS: Final = {"daily": 1, "weekly": 7, "biweekly": 14}
MONTHLY: Final = "monthly"
PERIODS: Final = (*DAYS, MONTHLY)
