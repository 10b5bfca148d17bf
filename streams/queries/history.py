"""Histories: one place's share hour by hour, day by day or month by month. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from miningmap import places
from miningmap.api.models import Adjust, History, Point, Step
from miningmap.times import add_months, parse_rfc3339, rfc3339
from streams.method import placing, shares
from streams.method.observations import observe
from streams.method.windows import Window, parse_window
from streams.queries.parameters import QuestionError, check_known, one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from streams.method.observations import CellReader
    from streams.method.placing import Beliefs, Cohort
    from streams.method.shares import Share

PARAMETERS: Final = ("code", "step", "from", "to", "adjust")
MAX_POINTS: Final = 1000

_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class _Stepping(NamedTuple):
    """How buckets are named, the first letters of their time, where they begin, and the default."""

    named: int
    begin: Callable[[datetime], datetime]
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
    """One point of a history: when it begins, and what it covers."""

    at: datetime
    window: Window


@dataclass(frozen=True)
class HistoryQuestion:
    """What is asked: a country's or a subdivision's share, bucket by bucket."""

    code: str
    step: Step
    adjust: Adjust
    buckets: tuple[Bucket, ...]


def parse_history(asked: Mapping[str, str], now: datetime) -> HistoryQuestion:
    """The history that parameters ask for.

    ``from`` and ``to`` select the buckets that ``[from, to)`` touches; left out, they are the last
    48 hours, 30 days or 12 months.

    Raises:
        QuestionError: a parameter is unknown or wrong, or the range is too long or upside down.
    """
    check_known(asked, PARAMETERS)
    step = cast("Step", one_of(asked, "step", Step))
    stepping = _STEPS[step]
    to = _time(asked, "to") or now
    start = _time(asked, "from")
    if start is None:
        start = _default_start(stepping, to)
    if start >= to:
        raise QuestionError("from", f"from ({rfc3339(start)}) is not before to ({rfc3339(to)})")
    buckets: list[Bucket] = []
    for at in _begins(stepping, start, to):
        if len(buckets) == MAX_POINTS:
            most = f"more than {MAX_POINTS} points; ask for them range by range, this one"
            raise QuestionError("from", f"{most} until to={rfc3339(at)}, the next from there")
        buckets.append(Bucket(at, parse_window(at.isoformat()[: stepping.named], now)))
    return HistoryQuestion(
        _code(asked.get("code", "")),
        step,
        cast("Adjust", one_of(asked, "adjust", Adjust)),
        tuple(buckets),
    )


def history(cells: CellReader, question: HistoryQuestion, beliefs: Beliefs) -> History:
    """Return a place's share in every bucket, from cells that were read."""
    applied = beliefs if question.adjust == "published" else beliefs.without_rules()
    simulated = False
    points = []
    for bucket in question.buckets:
        observed = observe(cells, bucket.window)
        cohort = placing.cohort_of(*observed, bucket.window.span.minutes, applied)
        simulated |= cohort.simulated
        points.append(_point(bucket.at, question.code, cohort))
    name = places.name_of(question.code)
    return History(question.code, name, question.step, question.adjust, simulated, tuple(points))


def _point(at: datetime, code: str, cohort: Cohort) -> Point:
    share = _share(code, cohort)
    coverage = shares.coverage(cohort) if cohort.members else None
    if share is None:
        return Point(at, None, None, None, None, None, coverage)
    network = None if cohort.network is None else share.share * cohort.network
    return Point(at, share.share, share.low, share.high, sum(share.kinds), network, coverage)


def _share(code: str, cohort: Cohort) -> Share | None:
    country = places.country_of(code)
    inside = country != code
    every = shares.subdivision_shares(cohort, country) if inside else shares.country_shares(cohort)
    return next((share for share in every if share.code == code), None)


def _code(code: str) -> str:
    if not code:
        raise QuestionError("code", "a place is wanted, such as code=US or code=CN-SC")
    if not places.is_locatable(code):
        raise QuestionError("code", f"no place {code[:32]!r}: {places.hint(code[:32])}")
    return code


def _time(asked: Mapping[str, str], name: str) -> datetime | None:
    """A time with a zone, or a date, which is that day's beginning in UTC."""
    text = asked.get(name, "")
    if not text:
        return None
    try:
        if len(text) == len("2026-11-22"):
            return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        # In a query string a "+" that was not escaped arrives as a blank.
        return parse_rfc3339(text.replace(" ", "+"))
    except (ValueError, OverflowError) as error:
        wanted = "2026-11-22 or 2026-11-22T15:00:00Z"
        raise QuestionError(name, f"{error}; wanted is a time such as {wanted}") from None


def _default_start(stepping: _Stepping, to: datetime) -> datetime:
    try:
        if stepping.begin is _month:
            return add_months(_month(to), 1 - stepping.default)
        length = stepping.following(_EPOCH) - _EPOCH
        return to - stepping.default * length
    except (ValueError, OverflowError):
        return _FIRST


def _begins(stepping: _Stepping, start: datetime, to: datetime) -> Iterator[datetime]:
    at = stepping.begin(start)
    while at < to:
        yield at
        try:
            at = stepping.following(at)
        except (ValueError, OverflowError):
            return  # this was the calendar's last
