"""CBECI's contribution API, for both its server and its client: rows of one pool, by place.

The names are CBECI's (docs/partners.md). The server is :mod:`collector.intake.app`, the client
:mod:`miningmap.partner`.
"""

from __future__ import annotations

from typing import Final, TypedDict

import msgspec

PATH: Final = "/cbeci/api/contribute/miners_geo_distribution"
MAX_BODY: Final = 1024 * 1024
"""The most bytes of a request body, uncompressed: about 7,000 rows."""


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


class RowError(msgspec.Struct, frozen=True):
    """An error in ``data[index]``; ``field`` is null if it concerns the whole row."""

    index: int
    field: str | None
    error: str
