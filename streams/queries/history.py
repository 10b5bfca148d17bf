"""Histories: shares of places hour by hour, day by day or month by month. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta

from miningmap import places
from miningmap.api.models import (
    Adjust,
    Histories,
    History,
    HistorySeries,
    Point,
    ShareRow,
    Step,
)
from miningmap.times import add_months, rfc3339
from streams.method.observations import observe
from streams.method.shares import in_order
from streams.method.windows import PROFILE_DAYS, Window, parse_window
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
from streams.queries.place_selection import ESTIMATE, ONE_PLACE, PLACES, PlaceSelection
from streams.queries.shares import applied, figures, placed_by_beliefs, rows_of, shares_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from streams.method.beliefs import Beliefs
    from streams.method.observations import CellReader

MAX_BUCKETS: Final = 1000
MAX_POINTS: Final = 12_500
"""Of all places together: about 10 MB of JSON, 1.5 MB compressed."""

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
    """A query for the shares of places in each of some buckets."""

    places: PlaceSelection
    step: Step
    as_of: datetime
    adjust: Adjust
    buckets: tuple[Bucket, ...]
    prior: str = DEFAULT_PRIOR


_DATES: Final = {len("2026-11"): "%Y-%m", len("2026-11-22"): "%Y-%m-%d"}
"""The forms of months and dates, by their length."""


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


_DATE_OR_TIME: Final = Format(
    date_or_time, {"anyOf": [{"type": "string", "format": "date"}, DATE_TIME, MONTH]}
)


class HistoryParameters(Parameters, frozen=True, kw_only=True):
    """The parameters of ``/api/v1/history``."""

    code: Annotated[
        PlaceSelection,
        PLACES,
        Meta(
            description=f"{ONE_PLACE} Or several places, separated by commas: `*` is every "
            "country that is listed in one of the buckets, `CN-*` every such subdivision of `CN`. "
            "The response is then a `Histories`, and so it is for `US,`, a list of one place.",
            examples=["US", "US,CN-SC", "*", "CN-*"],
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
            f"after `from`, by at most {MAX_BUCKETS} buckets, and for several places by fewer: "
            f"buckets x places is at most {MAX_POINTS}, where `*` and `CN-*` count as {ESTIMATE}.",
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
        limit = min(MAX_BUCKETS, MAX_POINTS // self.code.size)
        buckets: list[Bucket] = []
        for bucket in buckets_between(self.step, start, to, now):
            if len(buckets) == limit:
                raise ParameterError(
                    "from",
                    f"the range has more than {limit} buckets, the limit for this `code`; divide "
                    f"it: request this range with to={rfc3339(bucket.at)}, then the remainder from "
                    "there",
                )
            buckets.append(bucket)
        # In whole minutes: a response that has not changed keeps its ETag for that long.
        as_of = now.replace(second=0, microsecond=0)
        return HistoryQuery(self.code, self.step, as_of, self.adjust, tuple(buckets), self.prior)


def history(cells: CellReader, query: HistoryQuery, beliefs: Beliefs) -> History | Histories:
    """Return the shares of one place or of several in each bucket, from cells that were read."""
    return assembled(query, [bucket_shares(cells, each, query, beliefs) for each in query.buckets])


def assembled(query: HistoryQuery, buckets: Sequence[BucketShares]) -> History | Histories:
    """Return a history whose buckets have been computed."""
    listed = {code for bucket in buckets for code in bucket.rows}
    series = [_series(code, buckets) for code in query.places.among(listed)]
    about: dict[str, Any] = {
        "step": query.step,
        "as_of": query.as_of,
        "adjust": query.adjust,
        "prior": query.prior,
        "simulated": any(bucket.about["simulated"] for bucket in buckets),
    }
    if query.places.is_one:
        (one,) = series
        return History(code=one.code, name=one.name, points=one.points, **about)
    return Histories(series=tuple(in_order(series, _sum_of_shares, lambda s: s.code)), **about)


class BucketShares(NamedTuple):
    """One bucket of a history, computed.

    Attributes:
        about: the fields that the points of all places have in common.
        rows: the figures of each place that is listed, by code.
    """

    about: Mapping[str, Any]
    rows: Mapping[str, Mapping[str, Any]]


# A point has the same figures of its place as the place's row of shares.
_FIGURES: Final = frozenset(Point.__struct_fields__) & frozenset(ShareRow.__struct_fields__)
_UNKNOWN: Final[Mapping[str, None]] = dict.fromkeys(_FIGURES)
_FIGURES_OF_ALL: Final = ("coverage", "measured_coverage", "declared_coverage", "overall_evidence")


def with_data(query: HistoryQuery, days: range) -> list[Bucket]:
    """Return the buckets of a query that can have figures; for the others nothing is read.

    Args:
        query: the question.
        days: the days, numbered from the Unix epoch, on which any series can have a value.
    """
    # The profile of a bucket reaches back, and can have values although the bucket has none.
    reached = range(days.start, days.stop + PROFILE_DAYS)
    return [bucket for bucket in query.buckets if _overlap(bucket.window.days, reached)]


def _overlap(days: range, others: range) -> bool:
    return max(days.start, others.start) < min(days.stop, others.stop)


def without_data(bucket: Bucket, query: HistoryQuery, beliefs: Beliefs) -> BucketShares:
    """Return a bucket of which nothing is known: what is computed for one without any cell."""
    return _unknown(bucket, query, beliefs, simulated=False)


def _unknown(
    bucket: Bucket, query: HistoryQuery, beliefs: Beliefs, *, simulated: bool
) -> BucketShares:
    about = {
        "at": bucket.at,
        **dict.fromkeys(_FIGURES_OF_ALL),
        "pools": (),
        "rules": applied([rule.id for rule in beliefs.rules], query.adjust),
        "beliefs": (),
        "window": bucket.window.name,
        "simulated": simulated,
    }
    return BucketShares(about, {})


def bucket_shares(
    cells: CellReader, bucket: Bucket, query: HistoryQuery, beliefs: Beliefs
) -> BucketShares:
    """Return one bucket of a history, from cells that were read.

    A bucket in which no pool has a value takes a hundredth of the time.
    """
    if not _has_pools(cells, bucket.window):
        return _unknown(bucket, query, beliefs, simulated=_network_simulated(cells, bucket.window))
    observed = observe(cells, bucket.window)
    shares = shares_of(bucket.window, observed, beliefs, adjust=query.adjust, prior=query.prior)
    cohort = shares.placement.cohort
    about = {
        "at": bucket.at,
        "coverage": shares.coverage if cohort.members else None,
        "measured_coverage": shares.measured_coverage if cohort.members else None,
        "declared_coverage": shares.declared_coverage if cohort.members else None,
        "overall_evidence": shares.evidence,
        "pools": tuple(cohort.members),
        "rules": applied([rule.id for rule in beliefs.rules], query.adjust),
        "beliefs": tuple(placed.id for placed in placed_by_beliefs(shares)),
        "window": bucket.window.name,
        "simulated": cohort.simulated,
    }
    rows = {
        share.code: figures(share, cohort.network)
        for country in query.places.all_parents
        for share in rows_of(shares, country, query.places.of_parent(country))
    }
    return BucketShares(about, rows)


def _has_pools(cells: CellReader, window: Window) -> bool:
    return any(
        cells.sum(series, window.span).minutes
        for series in cells.series()
        if series.pool is not None
    )


def _network_simulated(cells: CellReader, window: Window) -> bool:
    """Return whether a figure of the network is simulated, as a cohort without pools has it."""
    return window.span.minutes > 0 and any(
        cells.sum(series, span).simulated
        for series in cells.series()
        if series.pool is None
        for span in (window.span, window.profile)
    )


def _series(code: str, buckets: Sequence[BucketShares]) -> HistorySeries:
    points = (Point(**bucket.about, **bucket.rows.get(code, _UNKNOWN)) for bucket in buckets)
    return HistorySeries(code, places.name_of(code), tuple(points))


def _sum_of_shares(series: HistorySeries) -> float:
    return math.fsum(point.share or 0.0 for point in series.points)


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
