"""The shapes of the API's answers, for those who make them, who serve them and who read them.

What is unknown is null (``None``). Shares, coverages and bounds are ratios, hashrates are in H/s,
times are UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

import msgspec

from miningmap.api.columns import cells, columns
from miningmap.places import Place

Level: TypeAlias = Literal["country", "subdivision"]
Adjust: TypeAlias = Literal["published", "none"]
Step: TypeAlias = Literal["hour", "day", "month"]
State: TypeAlias = Literal["live", "stale", "thin", "off"]

Ratio: TypeAlias = Annotated[float, msgspec.Meta(description="A ratio: 1 is the whole.")]
Instant: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
Hashrate: TypeAlias = Annotated[float, msgspec.Meta(description="Hashes per second.")]


class Table(msgspec.Struct, frozen=True):
    """An answer with rows, one of its fields."""

    rows_field: ClassVar[str]
    row_type: ClassVar[type[msgspec.Struct]]

    def to_pandas(self) -> Any:  # noqa: ANN401 - pandas is not there for those who do not need it
        """The rows as a ``pandas.DataFrame``, with the columns of the CSV twin.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415 - optional
        except ImportError:
            raise ImportError("to_pandas() needs pandas: pip install 'miningmap[pandas]'") from None
        names = self.row_type.__struct_fields__
        rows = msgspec.to_builtins(getattr(self, self.rows_field), builtin_types=(datetime,))
        return pd.DataFrame([cells(names, row) for row in rows], columns=columns(names))


class NetworkHashrate(msgspec.Struct, frozen=True):
    """The network's hashrate (H/s) and who says so."""

    hashrate: Hashrate
    source: str


class CohortPool(msgspec.Struct, frozen=True):
    """A pool that counts, and the source that represents it."""

    pool: str
    source: str


class ExcludedPool(msgspec.Struct, frozen=True):
    """A pool that does not count: ``thin`` (too few minutes) or ``stale`` (none)."""

    pool: str
    reason: str


class KindSplit(msgspec.Struct, frozen=True):
    """A hashrate (H/s) by how its place is known; adds up to it."""

    measured: Hashrate
    estimated: Hashrate
    prior: Hashrate


class ShareRow(msgspec.Struct, frozen=True, kw_only=True):
    """One country's line. Shares and bounds are ratios, hashrates H/s."""

    code: str
    name: str
    share: Ratio
    low: Ratio | None
    high: Ratio | None
    sensitivity: tuple[Ratio, Ratio] | None
    hashrate: Hashrate
    network_hashrate: Hashrate | None
    kinds: KindSplit
    flags: tuple[str, ...]


class SubdivisionRow(ShareRow, frozen=True, kw_only=True):
    """One subdivision's line: its share of the world, and of its country."""

    share_of_country: Ratio


class Answer(Table, frozen=True, kw_only=True):
    """What ``/api/v1/shares`` says of one window. Unknown figures are null."""

    rows_field: ClassVar[str] = "shares"
    row_type: ClassVar[type[msgspec.Struct]] = ShareRow

    window: str
    level: Level
    country: str | None
    as_of: Instant
    adjust: Adjust
    rules: tuple[str, ...]
    simulated: bool
    network: NetworkHashrate | None
    coverage: Ratio | None
    located: Ratio | None
    measured_coverage: Ratio | None
    cohort: tuple[CohortPool, ...]
    excluded: tuple[ExcludedPool, ...]
    shares: tuple[ShareRow, ...]


class SubdivisionAnswer(Answer, frozen=True, kw_only=True):
    """The same of a country's subdivisions."""

    row_type: ClassVar[type[msgspec.Struct]] = SubdivisionRow

    shares: tuple[SubdivisionRow, ...]


class Point(msgspec.Struct, frozen=True):
    """One bucket. Without data, or where nobody looked, a figure is null."""

    at: Instant
    share: Ratio | None
    low: Ratio | None
    high: Ratio | None
    hashrate: Hashrate | None
    network_hashrate: Hashrate | None
    coverage: Ratio | None


class History(Table, frozen=True):
    """What ``/api/v1/history`` says: every bucket, in the order of time."""

    rows_field: ClassVar[str] = "points"
    row_type: ClassVar[type[msgspec.Struct]] = Point

    code: str
    name: str
    step: Step
    adjust: Adjust
    simulated: bool
    points: tuple[Point, ...]


class Refusal(msgspec.Struct, frozen=True):
    """When something was refused, who said it if that is known, and why."""

    at: Instant
    source: str | None
    reason: str
    error: str


class SourceState(msgspec.Struct, frozen=True):
    """One source of a pool: what it said last, and whether it was simulated.

    ``hashrate`` is its mean in the window ``now``, in H/s, null if it says nothing there.
    ``blocks`` is how many blocks it follows from, null where the pool reports it.
    """

    source: str
    last_report: Instant
    simulated: bool
    hashrate: Hashrate | None
    blocks: int | None


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """What a pool reports (its mean of 24 h) against what follows from its blocks. In H/s.

    ``ratio`` is the reported over the mined hashrate, less 1. ``error`` is what luck alone does to
    a count of so many blocks, 1/sqrt(blocks): a ratio within it says nothing.
    """

    reported: Hashrate
    reported_by: str
    mined: Hashrate
    mined_by: str
    blocks: int
    ratio: Ratio
    error: Ratio


class PoolState(msgspec.Struct, frozen=True, kw_only=True):
    """One pool. Hashrates in H/s; unknown is null.

    ``live``: it counts. ``thin``: it has too few minutes to count. ``stale``: it had some before.
    ``off``: nothing of it is kept but that it was there once. ``refused`` is the newest reading of
    the last day that could not be used.
    """

    pool: str
    name: str
    state: State
    reason: str | None
    source: str | None
    last_report: Instant | None
    hashrate: Hashrate | None
    located: Hashrate | None
    kinds: KindSplit | None
    gap: Gap | None
    refused: Refusal | None
    simulated: bool
    sources: tuple[SourceState, ...]


class PoolList(Table, frozen=True):
    """Every pool that was ever heard of, by hashrate, then name."""

    rows_field: ClassVar[str] = "pools"
    row_type: ClassVar[type[msgspec.Struct]] = PoolState

    pools: tuple[PoolState, ...]


class PlaceList(Table, frozen=True):
    """Every place that a report can name, by code."""

    rows_field: ClassVar[str] = "places"
    row_type: ClassVar[type[msgspec.Struct]] = Place

    places: tuple[Place, ...]


PROBLEM_CONTENT_TYPE: Final = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem document, as it is read: what is wrong, and what to do about it.

    ``title`` is the kind of problem, the same at each occurrence. ``parameter`` is the one that is
    wrong, if one is.
    """

    type: str
    title: str
    status: int
    detail: str
    parameter: str | None = None
