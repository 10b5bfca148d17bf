"""Histories: one place's share hour by hour, day by day or month by month. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from miningmap import places
from miningmap.api.models import Adjust, History, Point, Step
from miningmap.times import add_months, rfc3339
from streams.method.observations import observe
from streams.method.windows import Window, parse_window
from streams.queries.parameters import (
    DATE_TIME,
    DEFAULT_PRIOR,
    MONTH,
    AdjustParameter,
    Format,
    ParameterError,
    Parameters,
    PriorParameter,
    parse_time,
    quoted,
)
from streams.queries.shares import shares_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streams.method.beliefs import Beliefs
    from streams.method.observations import CellReader
    from streams.method.shares import Share, Shares

MAX_POINTS: Final = 1000

_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class _Stepping(NamedTuple):
    """The buckets of a step.

    Attributes:
        name_length: how many characters of a bucket's time (RFC 3339) are the name of its window.
        start_of: returns the start of the bucket that contains a time.
        following: returns the start of the bucket after one.
        default: the number of buckets without a start in the question.
    """

    name_length: int
    start_of: Callable[[datetime], datetime]
    following: Callable[[datetime], datetime]
    default: int


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _day(at: datetime) -> datetime:
    return _hour(at).replace(hour=0)


def _month(at: datetime) -> datetime:
    return _day(at).replace(day=1)


_STEPS: Final[dict[str, _Stepping]] = {
    "hour": _Stepping(len("YYYY-MM-DDTHH"), _hour, lambda at: at + timedelta(hours=1), 48),
    "day": _Stepping(len("YYYY-MM-DD"), _day, lambda at: at + timedelta(days=1), 30),
    "month": _Stepping(len("YYYY-MM"), _month, lambda at: add_months(at, 1), 12),
}


@dataclass(frozen=True)
class Bucket:
    """One bucket of a history: when it begins, and the window that it covers."""

    at: datetime
    window: Window


@dataclass(frozen=True)
class HistoryQuery:
    """A query for the share of one place in each of some buckets."""

    code: str
    step: Step
    as_of: datetime
    adjust: Adjust
    buckets: tuple[Bucket, ...]
    prior: str = DEFAULT_PRIOR


_DATES: Final = {len("2026-11"): "%Y-%m", len("2026-11-22"): "%Y-%m-%d"}
"""The forms of months and dates, by their length."""


def _place(text: str) -> str:
    if not places.is_locatable(text):
        raise ValueError(f"unknown place {quoted(text)}: {places.hint(text[:32])}")
    return places.outermost(text)


def date_or_time(text: str) -> datetime:
    """Return a time in UTC; a month or a date is its first moment.

    Raises:
        ValueError: the text is none of these; the error says what is expected.
    """
    try:
        if form := _DATES.get(len(text)):
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        return parse_time(text)
    except ValueError:
        raise ValueError(
            f"{quoted(text)} is no month, no date and no time with a time zone (RFC 3339); "
            "expected a value such as 2026-11, 2026-11-22 or 2026-11-22T15:00:00Z"
        ) from None


_PLACE: Final = Format(
    _place,
    {"type": "string", "pattern": "^(?:OTHER|[A-Z]{2}(?:-(?:OTHER|[A-Z0-9]{1,3}))?)$"},
)
_DATE_OR_TIME: Final = Format(
    date_or_time, {"anyOf": [{"type": "string", "format": "date"}, DATE_TIME, MONTH]}
)


class HistoryParameters(Parameters, frozen=True, kw_only=True):
    """The parameters of ``/api/v1/history``."""

    code: Annotated[
        str,
        _PLACE,
        Meta(
            description="The place: a code of `/api/v1/places`, or `XX-OTHER` for all other places "
            "of a country. Of nested subdivisions the outermost is answered: `FR-IDF` for "
            "`FR-75C`.",
            examples=["US", "CN-SC"],
        ),
    ]
    step: Annotated[
        Step, Meta(description="The length of a bucket. By default, hours are stored for 35 days.")
    ] = "hour"
    start: Annotated[
        datetime | None,
        _DATE_OR_TIME,
        Meta(
            description="The first bucket is the one that contains this time; a month or a date "
            "is its first moment. If left out, the history covers 48 hours, 30 days or 12 months.",
            examples=["2026-11-01", "2019-09"],
        ),
    ] = msgspec.field(name="from", default=None)
    to: Annotated[
        datetime | None,
        _DATE_OR_TIME,
        Meta(
            description="The end of the last bucket, or a time in it; now, if left out. It must be "
            f"after `from`, by at most {MAX_POINTS} buckets.",
            examples=["2026-11-22T15:00:00Z", "2022-02"],
        ),
    ] = None
    adjust: AdjustParameter = "published"
    prior: PriorParameter = DEFAULT_PRIOR

    def query(self, now: datetime) -> HistoryQuery:
        """Return the query at ``now`` (UTC), with the buckets that ``[from, to)`` touches.

        Raises:
            ParameterError: the range is empty, reversed or too long.
        """
        stepping = _STEPS[self.step]
        to = self.to or now
        start = self.start or _default_start(stepping, to)
        if start >= to:
            raise ParameterError("from", f"{rfc3339(start)} must be before to={rfc3339(to)}")
        buckets: list[Bucket] = []
        for bucket in buckets_between(self.step, start, to, now):
            if len(buckets) == MAX_POINTS:
                raise ParameterError(
                    "from",
                    f"the range has more than {MAX_POINTS} points; divide it: request this range "
                    f"with to={rfc3339(bucket.at)}, then the remainder from there",
                )
            buckets.append(bucket)
        # In whole minutes: a response that has not changed keeps its ETag for that long.
        as_of = now.replace(second=0, microsecond=0)
        return HistoryQuery(self.code, self.step, as_of, self.adjust, tuple(buckets), self.prior)


def history(cells: CellReader, query: HistoryQuery, beliefs: Beliefs) -> History:
    """Return the share of a place in each bucket, from cells that were read."""
    simulated = False
    points = []
    for bucket in query.buckets:
        observed = observe(cells, bucket.window)
        shares = shares_of(bucket.window, observed, beliefs, adjust=query.adjust, prior=query.prior)
        simulated |= shares.placement.cohort.simulated
        points.append(_point(bucket, query.code, shares))
    return History(
        query.code,
        places.name_of(query.code),
        query.step,
        query.as_of,
        query.adjust,
        simulated,
        tuple(points),
    )


def _point(bucket: Bucket, code: str, shares: Shares) -> Point:
    share = _share(code, shares)
    coverage = shares.coverage if shares.placement.pools else None
    simulated = shares.placement.cohort.simulated
    if share is None:
        return Point(bucket.at, *(None,) * 8, coverage, bucket.window.name, simulated)
    return Point(
        at=bucket.at,
        share=share.share,
        low=share.low,
        high=share.high,
        declared_low=share.declared_low,
        declared_high=share.declared_high,
        evidence=share.evidence,
        hashrate=share.kinds.evidence,
        network_hashrate=None if shares.network is None else share.share * shares.network,
        coverage=coverage,
        window=bucket.window.name,
        simulated=simulated,
    )


def _share(code: str, shares: Shares) -> Share | None:
    country = places.country_of(code)
    rows = shares.countries() if code == country else shares.subdivisions(country)
    return next((row for row in rows if row.code == code), None)


def _default_start(stepping: _Stepping, to: datetime) -> datetime:
    try:
        if stepping.start_of is _month:
            return add_months(_month(to), 1 - stepping.default)
        length = stepping.following(_EPOCH) - _EPOCH
        return to - stepping.default * length
    except (ValueError, OverflowError):
        return _EARLIEST


def buckets_between(step: Step, start: datetime, to: datetime, as_of: datetime) -> Iterator[Bucket]:
    """Yield the buckets that ``[start, to)`` touches, as seen at ``as_of``."""
    stepping = _STEPS[step]
    for at in _bucket_starts(stepping, start, to):
        yield Bucket(at, parse_window(at.isoformat()[: stepping.name_length], as_of))


def _bucket_starts(stepping: _Stepping, start: datetime, to: datetime) -> Iterator[datetime]:
    at = stepping.start_of(start)
    while at < to:
        yield at
        try:
            at = stepping.following(at)
        except (ValueError, OverflowError):
            return  # that was the last bucket before the year 10000
