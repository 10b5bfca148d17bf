"""A partner's rows to reports: pure, all or nothing.

A row is CBECI's: the average hashrate of a pool in one country or province over one period. The
rows of one POST with the same start and period form one :class:`Report`, kind ``measured``: the
partner looked up where its miners are.

Rows are parts: they add up, as at CBECI. A row without a province is all of a country, or, beside
rows with provinces of that country, what is there in none of them; never their total.

The same rows form the same report again (but for ``fetched_at``), so a retry is harmless: a cell is
the maximum of the claims on it, set and never added to (method.md 3).

Known limit: rows have no pool total, so one POST must carry all rows of a period. A later POST for
the same period replaces the earlier one.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec

from miningmap import places
from miningmap.messages import Located, Report
from miningmap.times import add_months
from miningmap.units import HashrateError, parse_hashrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

SOURCE: Final = "partner"
FIELDS: Final = (
    "period_start_date",
    "period",
    "country",
    "province",
    "average_hashrate",
    "unit",
)
UNITS: Final = ("th/s", "ph/s", "eh/s")
DAYS: Final = {"daily": 1, "weekly": 7, "biweekly": 14}
MONTHLY: Final = "monthly"
PERIODS: Final = (*DAYS, MONTHLY)

FIRST_BLOCK: Final = datetime(2009, 1, 3, tzinfo=UTC)
# A thousand times the network of 2026. More is a figure sent with the wrong unit.
MAX_HASHRATE: Final = 1e24

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

T = TypeVar("T")


class RowError(msgspec.Struct, frozen=True):
    """What is wrong with ``data[index]``; ``field`` is null where it is the row as a whole."""

    index: int
    field: str | None
    error: str


class InvalidRowsError(ValueError):
    """Rows of which none was used; ``errors`` lists what is wrong with each bad one."""

    def __init__(self, errors: Sequence[RowError]) -> None:
        super().__init__(errors[0].error)
        self.errors = tuple(errors)


class _Period(NamedTuple):
    start: datetime
    name: str


@dataclass(frozen=True)
class _Row:
    """A row that is right by itself; hashrate in H/s."""

    index: int
    period: _Period
    code: str
    # Two names can be one code, which is no mistake only for what has none of its own (OTHER).
    said: str
    hashrate: float


def reports(
    rows: Sequence[object], pool: str, *, fetched_at: datetime, simulated: bool
) -> list[Report]:
    """The reports that a partner's rows are, by start and period; none of no rows.

    Args:
        rows: what stood in ``data``, decoded but not checked.
        pool: the slug of the pool that they are about.
        fetched_at: when they came; no period may end later.
        simulated: whether the partner is.

    Raises:
        InvalidRowsError: a row is wrong, or two rows of one period say the same place.
    """
    errors: list[RowError] = []
    by_period: defaultdict[_Period, list[_Row]] = defaultdict(list)
    for index, row in enumerate(rows):
        fields = _Fields(index, row)
        if read := _read(fields, fetched_at):
            by_period[read.period].append(read)
        errors += fields.errors
    for members in by_period.values():
        errors += _duplicates(members)
    if errors:
        raise InvalidRowsError(sorted(errors, key=lambda error: error.index))
    return [
        _report(period, by_period[period], pool, fetched_at=fetched_at, simulated=simulated)
        for period in sorted(by_period)
    ]


def period_end(start: datetime, period: str) -> datetime:
    """When a period that begins at ``start`` is over; ``period`` is one of ``PERIODS``."""
    return add_months(start, 1) if period == MONTHLY else start + timedelta(days=DAYS[period])


def _report(
    period: _Period, rows: Sequence[_Row], pool: str, *, fetched_at: datetime, simulated: bool
) -> Report:
    by_code: defaultdict[str, list[float]] = defaultdict(list)
    for row in rows:
        by_code[row.code].append(row.hashrate)
    # fsum: the order of the rows changes nothing.
    return Report(
        pool=pool,
        source=SOURCE,
        start=period.start,
        end=period_end(*period),
        hold_s=0,
        hashrate=math.fsum(row.hashrate for row in rows),
        places=tuple(
            Located(code, math.fsum(hashrates), "measured")
            for code, hashrates in sorted(by_code.items())
        ),
        fetched_at=fetched_at,
        simulated=simulated,
    )


def _duplicates(rows: Iterable[_Row]) -> Iterator[RowError]:
    """Rows of one period that say the same place: only the partner knows which one is right."""
    first: dict[tuple[str, str], _Row] = {}
    for row in rows:
        before = first.setdefault((row.code, row.said), row)
        if before is not row:
            yield RowError(
                row.index,
                "country",
                f"data[{before.index}] and data[{row.index}] are the same place, {row.code}, "
                "in the same period",
            )


class _Fields:
    """The fields of one row, and the errors found in them."""

    def __init__(self, index: int, row: object) -> None:
        self.index = index
        self.errors: list[RowError] = []
        self._row: Mapping[str, object] = row if isinstance(row, dict) else {}
        if not isinstance(row, dict):
            self._refuse(None, f"a row is an object with {', '.join(FIELDS)}")
            return
        for field in FIELDS:
            if field not in self._row:
                self._refuse(field, f"Missing key: {field}")

    def read(self, field: str, check: Callable[[object], T]) -> T | None:
        """The checked value, or ``None`` and an error."""
        if field not in self._row:
            return None
        try:
            return check(self._row[field])
        except ValueError as error:
            self._refuse(field, str(error))
            return None

    def _refuse(self, field: str | None, error: str) -> None:
        self.errors.append(RowError(self.index, field, error))


def _read(fields: _Fields, now: datetime) -> _Row | None:
    """The row, or ``None`` if there is anything wrong with it."""
    period = fields.read("period", _period)
    start = fields.read("period_start_date", partial(_start, period=period, now=now))
    country = fields.read("country", _country)
    code = fields.read("province", partial(_place, country=country))
    unit = fields.read("unit", _unit)
    hashrate = fields.read("average_hashrate", partial(_hashrate, unit=unit))
    if (
        fields.errors
        or start is None
        or period is None
        or country is None
        or code is None
        or hashrate is None
    ):
        return None
    said = country.casefold() if code == places.OTHER else ""
    return _Row(fields.index, _Period(start, period), code, said, hashrate)


def _period(value: object) -> str:
    if not isinstance(value, str) or value not in PERIODS:
        raise ValueError(f"period should be one of {', '.join(PERIODS)}")
    return value


def _start(value: object, *, period: str | None, now: datetime) -> datetime:
    try:
        if not isinstance(value, str) or not _DATE.fullmatch(value):
            raise ValueError
        start = datetime.fromisoformat(value).replace(tzinfo=UTC)
    except ValueError:
        raise ValueError('date should be in "YYYY-MM-DD" format') from None
    if start < FIRST_BLOCK:
        raise ValueError(f"{value} is before Bitcoin's first block, {FIRST_BLOCK:%Y-%m-%d}")
    # The start first: there is no month after December 9999.
    if start > now or (period is not None and period_end(start, period) > now):
        raise ValueError(f"the period that starts on {value} has not ended yet (UTC)")
    return start


def _country(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("country should be a string")  # noqa: TRY004 - errors of fields are values
    places.resolve(value)
    return value


def _place(value: object, *, country: str | None) -> str | None:
    if not isinstance(value, str | None):
        raise ValueError("province should be a string, or null for the whole country")  # noqa: TRY004 - as above
    return None if country is None else places.resolve(country, value)


def _unit(value: object) -> str:
    if not isinstance(value, str) or value not in UNITS:
        raise ValueError(f"unit should be one of {', '.join(UNITS)}")
    return value


def _hashrate(value: object, *, unit: str | None) -> float:
    """In H/s. Without a unit, which is an error of its own, only the number is checked."""
    wrong = "average_hashrate should be a finite number, 0 or more"
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(wrong)
    try:
        hashrate = parse_hashrate(value, unit or UNITS[0])
    except HashrateError:
        raise ValueError(wrong) from None
    if hashrate is None:  # pragma: no cover - only a negative number means unknown
        raise ValueError(wrong)
    if hashrate > MAX_HASHRATE:
        raise ValueError(
            f"average_hashrate is over {MAX_HASHRATE:g} H/s, a thousand times the network of 2026; "
            "is the unit right?"
        )
    return hashrate
