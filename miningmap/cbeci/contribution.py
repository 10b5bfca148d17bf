"""CBECI's contribution API, as both of its ends know it: rows of one pool, place by place.

The names are CBECI's own (docs/partners.md). One end is :mod:`collector.intake.app`, the other
:mod:`miningmap.partner`.
"""

from __future__ import annotations

from typing import Final, TypedDict

import msgspec

PATH: Final = "/cbeci/api/contribute/miners_geo_distribution"
PARTNER_TOKEN: Final = "MININGMAP_PARTNER_TOKEN"  # noqa: S105 - a name, not a token
"""The environment variable from which ``miningmap partner push`` takes the token. Not a setting."""
MAX_BODY: Final = 1024 * 1024
"""Bytes that the intake reads of a body, uncompressed: some 7,000 rows."""


class Row(TypedDict):
    """One row of the body; ``province`` is null for a country as a whole."""

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
    """What is wrong with ``data[index]``; ``field`` is null where it is the row as a whole."""

    index: int
    field: str | None
    error: str
