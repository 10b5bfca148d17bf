"""Editions of the map: the rows of every window in a range, as tables (docs/dataset.md). Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta

from miningmap.api.models import (
    Adjust,
    BeliefRow,
    Hashrate,
    Instant,
    Level,
    Ratio,
    ShareRow,
    SubdivisionRow,
)
from miningmap.messages import Kind
from miningmap.places import country_of
from miningmap.times import DAY_S, FIRST_BLOCK, bucket_start, rfc3339
from streams.method.observations import observe, spans_of
from streams.method.windows import parse_window
from streams.queries.history import buckets_between
from streams.queries.parameters import SharesQuery
from streams.queries.shares import answer, shares_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from miningmap.api.models import Answer
    from streams.method.beliefs import Beliefs
    from streams.method.observations import CellReader
    from streams.method.windows import Window
    from streams.queries.history import Bucket

Step: TypeAlias = Literal["month", "day"]
Row: TypeAlias = "Mapping[str, Any]"
"""A row in built-in types, as JSON has it, by the names of the fields."""

_EPOCH: Final = date(1970, 1, 1)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)
_FIRST_MONTH: Final = FIRST_BLOCK.replace(day=1)


# --- the range ------------------------------------------------------------------------------------


class RangeError(ValueError):
    """No edition has this range: ``parameter`` is what is wrong, the text says what is allowed."""

    def __init__(self, parameter: str, error: str) -> None:
        super().__init__(error)
        self.parameter = parameter


class Range(NamedTuple):
    """The windows of an edition, and the time that its messages are about.

    Attributes:
        step: the length of a window.
        windows: in the order of time.
        since: the first moment that a figure depends on: that of the first window's profile.
        until: the end of the last window.
    """

    step: Step
    windows: tuple[Window, ...]
    since: datetime
    until: datetime

    @property
    def names(self) -> str:
        """The first and the last window, such as ``2025-01 to 2025-12``."""
        first, last = self.windows[0].name, self.windows[-1].name
        return first if first == last else f"{first} to {last}"


def range_of(step: Step, start: datetime, to: datetime, now: datetime) -> Range:
    """Return the range of every window that ``[start, to)`` touches.

    Raises:
        RangeError: it is empty, begins before Bitcoin, or has a window that is not over at ``now``.
    """
    if start >= to:
        raise RangeError("from", f"{rfc3339(start)} must be before --to {rfc3339(to)}")
    if start < _FIRST_MONTH:
        raise RangeError("from", f"expected {_FIRST_MONTH:%Y-%m}, Bitcoin's first month, or later")
    windows = []
    for bucket in _buckets(step, start, to):
        if end_of(bucket.window) > now:
            latest = next(_buckets(step, now, _LATEST)).window.name
            raise RangeError(
                "to", f"{bucket.window.name} is not over; the latest possible is --to {latest}"
            )
        windows.append(bucket.window)
    return Range(step, tuple(windows), since_of(windows[0]), end_of(windows[-1]))


def _buckets(step: Step, start: datetime, to: datetime) -> Iterator[Bucket]:
    # Seen from the end of time all windows are over: their figures are those of whole days.
    return buckets_between(step, start, to, _LATEST)


def window_named(name: str) -> Window:
    """Return the month or day of a name, as it is when it is over.

    Raises:
        streams.method.windows.WindowError: the name is not that of a window.
    """
    return parse_window(name, _LATEST)


def since_of(window: Window) -> datetime:
    """Return the first moment that figures of a month or day depend on: that of its profile."""
    return bucket_start(min(span.buckets.start for span in spans_of([window])), DAY_S)


def start_of(window: Window) -> datetime:
    """Return the first moment of a month or day."""
    return bucket_start(window.span.buckets.start, DAY_S)


def end_of(window: Window) -> datetime:
    """Return the first moment after a month or day."""
    return bucket_start(window.span.buckets.stop, DAY_S)


def day_of(window: Window) -> date:
    """Return the day whose beliefs count in a window."""
    return _EPOCH + timedelta(days=window.span.buckets[-1])


# --- rows -----------------------------------------------------------------------------------------

_WindowName: TypeAlias = Annotated[
    str, Meta(description="The month (`2025-01`) or the day (`2025-01-31`), in UTC.")
]


class PlaceRow(ShareRow, frozen=True, kw_only=True):
    """One place in one window."""

    window: _WindowName
    start: Annotated[Instant, Meta(description="The first moment of the window.")]
    end: Annotated[Instant, Meta(description="The first moment after the window.")]
    level: Annotated[Level, Meta(description="Whether the place is a country or a subdivision.")]
    country: Annotated[str, Meta(description="The country of the place; of a country itself.")]
    share_of_country: Annotated[
        Ratio | None,
        Meta(description="A subdivision's part of what is located in those of its country."),
    ]
    simulated: Annotated[
        bool, Meta(description="Whether any of the window's data is made up by a simulation.")
    ]


class WindowRow(msgspec.Struct, frozen=True, kw_only=True):
    """What all places of a window share."""

    window: _WindowName
    start: Annotated[Instant, Meta(description="The first moment of the window.")]
    end: Annotated[Instant, Meta(description="The first moment after the window.")]
    network: Annotated[Hashrate | None, Meta(description="The hashrate of the whole network.")]
    network_source: Annotated[str | None, Meta(description="The source of `network`.")]
    coverage: Annotated[
        Ratio | None,
        Meta(description="The part of the network that the cohort is; it can be above 1."),
    ]
    located: Annotated[
        Ratio | None, Meta(description="The part of the cohort's hashrate that has a place.")
    ]
    measured_coverage: Annotated[
        Ratio | None, Meta(description="The part of the network with a measured place.")
    ]
    declared_coverage: Annotated[
        Ratio | None, Meta(description="The part of the network with a measured or declared place.")
    ]
    evidence: Annotated[
        Ratio | None, Meta(description="The part of all that is located that is more than a prior.")
    ]
    adjust: Annotated[Adjust, Meta(description="`published`: the rules are applied.")]
    prior: Annotated[
        str, Meta(description="`default`: the first network prior in force on the last day.")
    ]
    rules: Annotated[tuple[str, ...], Meta(description="The ids of the rules that are applied.")]
    simulated: Annotated[
        bool, Meta(description="Whether any of the window's data is made up by a simulation.")
    ]


class CohortRow(msgspec.Struct, frozen=True):
    """A pool that counts in a window."""

    window: _WindowName
    pool: Annotated[str, Meta(description="The slug of the pool.")]
    source: Annotated[str, Meta(description="The source that represents it.")]


class ExcludedRow(msgspec.Struct, frozen=True):
    """A pool that does not count in a window."""

    window: _WindowName
    pool: Annotated[str, Meta(description="The slug of the pool.")]
    reason: Annotated[
        str,
        Meta(description="`thin`: values for less than half of the window; `stale`: older ones."),
    ]


class PlacedRow(msgspec.Struct, frozen=True):
    """What a belief placed in a window."""

    window: _WindowName
    belief_id: Annotated[str, Meta(description="The id of the belief.")]
    kind: Annotated[Kind, Meta(description="The kind that the hashrate got by it.")]
    hashrate: Annotated[Hashrate, Meta(description="How much of the cohort's hashrate it placed.")]


class Table(NamedTuple):
    """A table of an edition.

    Attributes:
        name: of its file, without the ending.
        title: what it has, in words.
        row: the type of its rows.
        fields: of the rows, in the order of the columns.
        key: the columns that no two rows have the same values in.
        references: the column of another table, as ``TABLE.COLUMN``, that a column's values are in.
    """

    name: str
    title: str
    row: type[msgspec.Struct]
    fields: tuple[str, ...]
    key: tuple[str, ...]
    references: Mapping[str, str] = {}


_OF_WINDOW: Final = {"window": "windows.window"}
_SHARE_FIELDS: Final = (
    *("window", "start", "end", "level", "country"),
    *ShareRow.__struct_encode_fields__,
    *("share_of_country", "simulated"),
)


def _table(
    name: str,
    title: str,
    row: type[msgspec.Struct],
    key: tuple[str, ...],
    references: Mapping[str, str],
) -> Table:
    return Table(name, title, row, row.__struct_encode_fields__, key, references)


SHARES: Final = Table(
    "shares",
    "The share of every place in every window",
    PlaceRow,
    _SHARE_FIELDS,
    ("window", "level", "code"),
    _OF_WINDOW,
)
WINDOWS: Final = _table(
    "windows", "What all places of a window share", WindowRow, ("window",), references={}
)
COHORT: Final = _table(
    "cohort", "The pools that count in a window", CohortRow, ("window", "pool"), _OF_WINDOW
)
EXCLUDED: Final = _table(
    "excluded",
    "The pools that do not count in a window, and why",
    ExcludedRow,
    ("window", "pool"),
    _OF_WINDOW,
)
PLACED: Final = _table(
    "placed",
    "The hashrate that each belief placed in a window",
    PlacedRow,
    ("window", "belief_id"),
    _OF_WINDOW | {"belief_id": "beliefs.id"},
)
BELIEFS: Final = _table(
    "beliefs",
    "What was believed in any of the windows, and who says so",
    BeliefRow,
    ("id", "from"),
    references={},
)
TABLES: Final = (SHARES, WINDOWS, COHORT, EXCLUDED, PLACED, BELIEFS)


def rows_of(cells: CellReader, window: Window, beliefs: Beliefs) -> dict[str, list[Row]]:
    """Return the rows of one window by the name of their table, each in a fixed order."""
    shares = shares_of(window, observe(cells, window), beliefs)
    rules = [rule.id for rule in beliefs.rules]
    query = SharesQuery(window=window, as_of=end_of(window))
    whole = answer(query, shares, rules)
    places = [_place(window, whole, row) for row in _by_code(whole.shares)]
    for country in shares.divided:
        inside = answer(replace(query, level="subdivision", country=country), shares, rules)
        places += [_place(window, inside, row) for row in _by_code(inside.shares)]
    name = window.name
    return {
        SHARES.name: _rows(places),
        WINDOWS.name: _rows([_window(window, whole)]),
        COHORT.name: _rows(CohortRow(name, each.pool, each.source) for each in whole.cohort),
        EXCLUDED.name: _rows(ExcludedRow(name, each.pool, each.reason) for each in whole.excluded),
        PLACED.name: _rows(
            PlacedRow(name, each.id, each.kind, each.hashrate)
            for each in sorted(whole.beliefs, key=lambda placed: placed.id)
        ),
    }


def _rows(structs: Iterable[msgspec.Struct]) -> list[Row]:
    return [msgspec.to_builtins(struct) for struct in structs]


def _by_code(rows: Iterable[ShareRow]) -> list[ShareRow]:
    return sorted(rows, key=lambda row: row.code)


def _place(window: Window, found: Answer, row: ShareRow) -> PlaceRow:
    figures = {name: getattr(row, name) for name in ShareRow.__struct_fields__}
    return PlaceRow(
        **figures,
        window=window.name,
        start=start_of(window),
        end=end_of(window),
        level=found.level,
        country=country_of(row.code),
        share_of_country=row.share_of_country if isinstance(row, SubdivisionRow) else None,
        simulated=found.simulated,
    )


def _window(window: Window, found: Answer) -> WindowRow:
    network = found.network
    return WindowRow(
        window=window.name,
        start=start_of(window),
        end=end_of(window),
        network=None if network is None else network.hashrate,
        network_source=None if network is None else network.source,
        coverage=found.coverage,
        located=found.located,
        measured_coverage=found.measured_coverage,
        declared_coverage=found.declared_coverage,
        evidence=found.evidence,
        adjust=found.adjust,
        prior=found.prior,
        rules=found.rules,
        simulated=found.simulated,
    )
