"""Live rows: what a partner's pool has where, from one minute up. Wire types and their rules. Pure.

A row is a whole report of the pool, so it needs no ledger: its total and all its places over one
period. The server is :mod:`collector.intake.live`, the client :mod:`miningmap.partner`.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import TYPE_CHECKING, Final, NotRequired, TypedDict

from miningmap.messages import Located, Report, check_place
from miningmap.plausibility import KnownFigures, future, impossible, too_large
from miningmap.retention import TooLateError, kept_buckets
from miningmap.rows import SOURCE, Fields, InvalidRowsError, RowError
from miningmap.times import HOUR_S, MINUTE_S, parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence
    from datetime import datetime

    from miningmap.plausibility import Rejection
    from miningmap.retention import Horizon

PATH: Final = "/api/v1/reports"

MAX_HOLD_S: Final = 7200
"""The longest hold: twice the longest row that may have one. A pool that stops sending is shown as
it was for no longer than this."""
HELD_LENGTHS: Final = 2
"""How many times its own length a row without ``hold_s`` is held, as with polled sources."""


class LivePlace(TypedDict):
    """The part of a row's hashrate (H/s) that is at a place, by its ISO 3166 code."""

    code: str
    hashrate: float


class LiveRow(TypedDict):
    """One row: what the pool had over ``[start, end)``, times in RFC 3339, hashrates in H/s.

    ``places`` add up to ``hashrate`` at most; the rest is not located.
    """

    start: str
    end: str
    hold_s: NotRequired[int]
    hashrate: float
    places: list[LivePlace]


_REQUIRED: Final = ("start", "end", "hashrate", "places")
_FIELDS: Final = (*_REQUIRED, "hold_s")
_OF_THE_TOKEN: Final = ("schema", "pool", "source", "basis", "kind", "fetched_at", "simulated")
_PLACE_FIELDS: Final = ("code", "hashrate")
_LONGEST_NAME: Final = 64


def read(
    rows: Sequence[object],
    pool: str,
    now: datetime,
    *,
    simulated: bool = False,
    kept: Horizon | None = None,
    known: KnownFigures | None = None,
    most_errors: int | None = None,
) -> list[Report]:
    """Return the report that each row is, in their order.

    Args:
        rows: decoded but not checked.
        pool: the slug of the pool that the rows are about.
        now: the clock, UTC; the time at which the rows arrived.
        simulated: whether the partner is simulated.
        kept: the oldest cells that are kept; without it, all are.
        known: what is known of the network and of the pool's blocks.
        most_errors: how many errors end the search for more; without it, all are found.

    Raises:
        InvalidRowsError: a row is invalid or cannot be true, or two rows contradict each other.
    """
    known = known or KnownFigures()
    errors: list[RowError] = []
    reports: list[tuple[int, Report]] = []
    for index, row in enumerate(rows):
        fields = _Row(index, row)
        report = fields.report(pool, now, kept, simulated=simulated)
        if report is not None:
            fields.judge(report, known)
            reports.append((index, report))
        errors += fields.errors
        if most_errors is not None and len(errors) >= most_errors:
            raise InvalidRowsError(errors)
    errors += _contradictions(reports)
    if errors:
        raise InvalidRowsError(sorted(errors, key=lambda error: error.index))
    return [report for _, report in reports]


class _Row(Fields):
    """The fields of one live row, and the errors found in them."""

    def __init__(self, index: int, row: object) -> None:
        super().__init__(index, row, _REQUIRED)
        for name in self.names:
            if name not in _FIELDS and not self.is_full:
                self.reject(name[:_LONGEST_NAME], _unknown(name))

    def report(
        self, pool: str, now: datetime, kept: Horizon | None, *, simulated: bool
    ) -> Report | None:
        """Return the report that the row is, or ``None`` if the row has errors."""
        period = self._period(now, kept)
        hashrate = self.read("hashrate", _total)
        places = self.read("places", self._places)
        if self.errors or period is None or hashrate is None or places is None:
            return None
        start, end, hold_s = period
        try:
            return Report(
                pool=pool,
                source=SOURCE,
                start=start,
                end=end,
                hold_s=hold_s,
                hashrate=hashrate,
                places=tuple(sorted(places)),
                fetched_at=now,
                simulated=simulated,
            )
        except ValueError as error:
            self.reject(None, str(error))
            return None

    def judge(self, report: Report, known: KnownFigures) -> None:
        """Note why a report cannot be true that breaks no rule."""
        self._reject_if(None, impossible(report))
        self._reject_if("hashrate", known.rejected(report))

    def _period(self, now: datetime, kept: Horizon | None) -> tuple[datetime, datetime, int] | None:
        """Return start, end and ``hold_s``."""
        start = self.read("start", _time)
        end = self.read("end", partial(_end, now=now))
        hold_s = self.read("hold_s", _hold)
        if start is None or end is None:
            return None
        length_s = (end - start).total_seconds()
        if length_s < MINUTE_S:
            self.reject("end", "expected a time at least a minute after start")
            return None
        if hold_s is None:
            hold_s = math.ceil(HELD_LENGTHS * length_s) if length_s < HOUR_S else 0
        try:
            kept_buckets(start, end, hold_s, kept)
        except TooLateError as error:
            self.reject("end", str(error))
        return start, end, hold_s

    def _reject_if(self, field: str | None, rejection: Rejection | None) -> None:
        if rejection is not None:
            self.reject(field, rejection.error)

    def _places(self, value: object) -> list[Located]:
        if not isinstance(value, list):
            raise ValueError("expected a list of places, each with code and hashrate")  # noqa: TRY004 - errors of fields are values
        return [
            place
            for number, item in enumerate(value)
            if not self.is_full and (place := self._place(number, item))
        ]

    def _place(self, number: int, item: object) -> Located | None:
        fields = Fields(self.index, item, _PLACE_FIELDS, "a place")
        for name in fields.names:
            if name not in _PLACE_FIELDS:
                fields.reject(name[:_LONGEST_NAME], _unknown(name, _PLACE_FIELDS))
        code = fields.read("code", _code)
        hashrate = fields.read("hashrate", _hashrate)
        for error in fields.errors:
            inside = "" if error.field is None else f".{error.field}"
            self.reject(f"places[{number}]{inside}", error.error)
        if code is None or hashrate is None:
            return None
        return Located(code, hashrate, "measured")


def _unknown(name: str, known: Sequence[str] = _FIELDS) -> str:
    """Return what is wrong with a field that no row has.

    A field that is ignored could be a misspelt one, such as ``hold``.
    """
    if name in _OF_THE_TOKEN:
        return "not a field of a row; the token decides the pool, and all places are measured"
    return f"unknown field; expected one of: {', '.join(known)}"


def _time(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("expected a time such as 2026-11-22T15:00:00Z")  # noqa: TRY004 - as above
    return parse_rfc3339(value)


def _end(value: object, *, now: datetime) -> datetime:
    end = _time(value)
    if rejection := future(end, now):
        raise ValueError(rejection.error)
    return end


def _hold(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_HOLD_S:
        raise ValueError(f"expected whole seconds, 0 to {MAX_HOLD_S}")
    return value


def _total(value: object) -> float:
    hashrate = _hashrate(value)
    if rejection := too_large(hashrate):
        raise ValueError(rejection.error)
    return hashrate


def _hashrate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("expected a number of H/s, 0 or more")  # noqa: TRY004 - as above
    if not 0 <= value <= sys.float_info.max:
        raise ValueError("expected a finite number of H/s, 0 or more")
    return float(value)


def _code(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a code of ISO 3166-1 or 3166-2")  # noqa: TRY004 - as above
    check_place(value)
    return value


def _contradictions(reports: Sequence[tuple[int, Report]]) -> Iterator[RowError]:
    """Yield errors of rows of one request where the larger hashrate would decide (method.md 3).

    The same row twice is harmless. Of two rows that differ in what comes before the hashrate in
    the rank of claims, one is meant to replace the other.
    """
    first: dict[Hashable, tuple[int, Report]] = {}
    for index, report in reports:
        short = report.length_s < HOUR_S
        period = (report.end, None if short else report.start)
        earlier, same = first.setdefault(period, (index, report))
        if same != report:
            both = "end at the same time" if short else "are about the same period"
            yield RowError(
                index,
                "end",
                f"rows {earlier} and {index} {both} and differ; send only the one that is right",
            )
