"""The types of the API's responses, for the services and for the client.

Unknown figures are null (``None``). Shares, coverages and bounds are fractions of 1, hashrates are
in H/s, times are UTC.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from miningmap.api.columns import cells, columns, figures
from miningmap.messages import Basis, Kind
from miningmap.places import Place

if TYPE_CHECKING:
    from collections.abc import Mapping

Level: TypeAlias = Literal["country", "subdivision"]
Adjust: TypeAlias = Literal["published", "none"]
Step: TypeAlias = Literal["hour", "day", "month"]
State: TypeAlias = Literal["live", "stale", "thin", "off"]
BeliefKind: TypeAlias = Literal["declared", "prior", "rule", "part", "annotation"]
FigureUnit: TypeAlias = Literal["ratio", "H/s"]

# ``unit`` is for descriptions of tables; JSON Schemas have it in words.
Ratio: TypeAlias = Annotated[
    float, Meta(description="A fraction: 1 is the whole.", extra={"unit": "ratio"})
]
Instant: TypeAlias = Annotated[datetime, Meta(tz=True)]
Hashrate: TypeAlias = Annotated[
    float, Meta(description="Hashes per second.", extra={"unit": "H/s"})
]


class Table(msgspec.Struct, frozen=True):
    """A response with rows, which are one of its fields.

    In a table each row also has some of the response's other fields (``repeated_fields``): who has
    only the rows must know what they are about.
    """

    rows_field: ClassVar[str]
    row_type: ClassVar[type[msgspec.Struct]]
    repeated_fields: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def table_fields(cls) -> tuple[str, ...]:
        """Return the names of the fields of the rows of a table."""
        return cls.row_type.__struct_encode_fields__ + cls.repeated_fields

    @classmethod
    def table_rows(cls, document: Mapping[str, Any]) -> list[dict[str, object]]:
        """Return the rows of a table.

        Args:
            document: the response in built-in types, as decoded from JSON.
        """
        repeated = {name: document[name] for name in cls.repeated_fields}
        return [row | repeated for row in document[cls.rows_field]]

    def to_pandas(self) -> Any:  # noqa: ANN401 - pandas is optional
        """Return the rows as a ``pandas.DataFrame`` with the columns of the CSV twin.

        Its ``attrs`` are the other fields of the response, as in JSON, because pandas writes them
        into files as JSON. Figures are floats, unknown ones are NaN.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415 - optional
        except ImportError:
            raise ImportError("to_pandas() needs pandas: pip install 'miningmap[pandas]'") from None
        names = self.table_fields()
        document = msgspec.to_builtins(self, builtin_types=(datetime,))
        rows = [cells(names, row) for row in self.table_rows(document)]
        frame = pd.DataFrame(rows, columns=columns(names))
        # pandas takes a column of no known value for text, and adding or comparing figures fails.
        frame = frame.astype(dict.fromkeys(figures(self.row_type), float))
        described = msgspec.to_builtins(self)
        del described[self.rows_field]
        frame.attrs = described
        return frame


class NetworkHashrate(msgspec.Struct, frozen=True):
    """The network's hashrate (H/s) and its source."""

    hashrate: Hashrate
    source: str


class CohortPool(msgspec.Struct, frozen=True):
    """A pool of the cohort, and the source that represents it."""

    pool: str
    source: str


class ExcludedPool(msgspec.Struct, frozen=True):
    """A pool outside the cohort: ``thin`` (too few minutes) or ``stale`` (none)."""

    pool: str
    reason: str


class PlacedByBelief(msgspec.Struct, frozen=True):
    """How much hashrate (H/s) one belief placed, and of which kind that is."""

    id: str
    kind: Kind
    hashrate: Hashrate


class KindSplit(msgspec.Struct, frozen=True):
    """A hashrate (H/s) split by how its place is known."""

    measured: Annotated[Hashrate, Meta(description="What pools or their partners measured there.")]
    declared: Annotated[
        Hashrate, Meta(description="What a filing, an operator or a utility declares, with a date.")
    ]
    estimated: Annotated[
        Hashrate, Meta(description="What is inferred from servers or from a pool's last 30 days.")
    ]
    prior: Annotated[
        Hashrate, Meta(description="What is only assumed, by a published distribution.")
    ]


class ShareRow(msgspec.Struct, frozen=True, kw_only=True):
    """The row of a country. Shares and bounds are fractions, hashrates are in H/s.

    ``low`` and ``high`` rest on measured places alone, ``declared_low`` and ``declared_high`` on
    declared ones too. ``sensitivity`` is the range without any one pool, ``belief`` the range over
    all network priors in force. ``hashrate`` is what something says is there, without what is
    assumed, and ``evidence`` its fraction of what is located there.
    """

    code: Annotated[
        str, Meta(description="The place: its ISO 3166 code, `OTHER`, or `XX-OTHER` in a country.")
    ]
    name: Annotated[str, Meta(description="The name of the place in English.")]
    share: Annotated[Ratio, Meta(description="Its part of all hashrate that could be located.")]
    low: Annotated[
        Ratio | None,
        Meta(description="The least that it can have of the network, by measured hashrate alone."),
    ]
    high: Annotated[
        Ratio | None,
        Meta(description="The most that it can have of the network, by measured hashrate alone."),
    ]
    declared_low: Annotated[
        Ratio | None, Meta(description="As `low`, if what is declared is right too.")
    ]
    declared_high: Annotated[
        Ratio | None, Meta(description="As `high`, if what is declared is right too.")
    ]
    sensitivity: Annotated[
        tuple[Ratio, Ratio] | None,
        Meta(description="The range of the share over all cohorts with one pool left out."),
    ]
    belief: Annotated[
        tuple[Ratio, Ratio] | None,
        Meta(description="The range of the share over all network priors in force."),
    ]
    hashrate: Annotated[
        Hashrate,
        Meta(description="What something says is there; what a prior only assumes is left out."),
    ]
    network_hashrate: Annotated[
        Hashrate | None,
        Meta(description="The share times the network's hashrate: extrapolated to all miners."),
    ]
    evidence: Annotated[
        Ratio | None,
        Meta(description="The part of what is located there that is more than a prior."),
    ]
    kinds: KindSplit
    flags: Annotated[
        tuple[str, ...],
        Meta(description="Warnings, such as `proxy_suspected`: servers there hide other places."),
    ]


class SubdivisionRow(ShareRow, frozen=True, kw_only=True):
    """The row of a subdivision, with its share of the world and of its country."""

    share_of_country: Annotated[
        Ratio, Meta(description="Its part of what is located in subdivisions of its country.")
    ]


class Answer(Table, frozen=True, kw_only=True):
    """A response of ``/api/v1/shares`` for one window. Unknown figures are null."""

    rows_field: ClassVar[str] = "shares"
    row_type: ClassVar[type[msgspec.Struct]] = ShareRow
    repeated_fields: ClassVar[tuple[str, ...]] = ("window", "as_of", "simulated")

    window: str
    level: Level
    country: str | None
    as_of: Instant
    adjust: Adjust
    prior: str
    rules: tuple[str, ...]
    simulated: bool
    network: NetworkHashrate | None
    coverage: Ratio | None
    located: Ratio | None
    measured_coverage: Ratio | None
    declared_coverage: Ratio | None
    evidence: Ratio | None
    beliefs: tuple[PlacedByBelief, ...]
    cohort: tuple[CohortPool, ...]
    excluded: tuple[ExcludedPool, ...]
    shares: tuple[ShareRow, ...]


class SubdivisionAnswer(Answer, frozen=True, kw_only=True):
    """A response of ``/api/v1/shares`` with the subdivisions of a country."""

    row_type: ClassVar[type[msgspec.Struct]] = SubdivisionRow

    shares: tuple[SubdivisionRow, ...]


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One bucket of a history: the figures of a place, and what all places in it rest on.

    The fields from ``share`` to ``kinds`` are those of the place's row in ``/api/v1/shares`` for
    this ``window``, null if it has none. The others are the same for all places: ``pools`` are the
    cohort, ``rules`` and ``beliefs`` the ids of what was applied and of what placed hashrate, and
    ``overall_evidence`` is the evidence of all that is located. Without a cohort they are null or
    empty.
    """

    at: Instant
    share: Ratio | None
    low: Ratio | None
    high: Ratio | None
    declared_low: Ratio | None
    declared_high: Ratio | None
    sensitivity: tuple[Ratio, Ratio] | None
    belief: tuple[Ratio, Ratio] | None
    hashrate: Hashrate | None
    network_hashrate: Hashrate | None
    evidence: Ratio | None
    kinds: KindSplit | None
    coverage: Ratio | None
    measured_coverage: Ratio | None
    declared_coverage: Ratio | None
    overall_evidence: Ratio | None
    pools: tuple[str, ...]
    rules: tuple[str, ...]
    beliefs: tuple[str, ...]
    window: str
    simulated: bool


class HistorySeries(msgspec.Struct, frozen=True):
    """The history of one of several places: every bucket, in the order of time."""

    code: str
    name: str
    points: tuple[Point, ...]


class Histories(Table, frozen=True, kw_only=True):
    """A response of ``/api/v1/history`` about several places, each with every bucket.

    The largest come first, by the sum of their shares over all buckets, then by code. As a table,
    it has one row for each place and bucket. ``as_of`` is the minute of the answer: the bucket that
    contains it is not complete.
    """

    rows_field: ClassVar[str] = "series"
    row_type: ClassVar[type[msgspec.Struct]] = Point
    repeated_fields: ClassVar[tuple[str, ...]] = ("as_of",)

    step: Step
    as_of: Instant
    adjust: Adjust
    prior: str
    simulated: bool
    series: tuple[HistorySeries, ...]

    @classmethod
    def table_fields(cls) -> tuple[str, ...]:
        """Return the names of the fields of the rows of a table, those of the place first."""
        return ("code", "name", *super().table_fields())

    @classmethod
    def table_rows(cls, document: Mapping[str, Any]) -> list[dict[str, object]]:
        """Return the rows of a table: the points of the first place, then those of the next.

        Args:
            document: the response in built-in types, as decoded from JSON.
        """
        repeated = {name: document[name] for name in cls.repeated_fields}
        return [
            {"code": series["code"], "name": series["name"], **point, **repeated}
            for series in document["series"]
            for point in series["points"]
        ]


class History(Table, frozen=True, kw_only=True):
    """A response of ``/api/v1/history`` about one place: every bucket, in the order of time.

    ``as_of`` is the minute of the answer: the bucket that contains it is not complete.
    """

    rows_field: ClassVar[str] = "points"
    row_type: ClassVar[type[msgspec.Struct]] = Point
    repeated_fields: ClassVar[tuple[str, ...]] = ("as_of",)

    code: str
    name: str
    step: Step
    as_of: Instant
    adjust: Adjust
    prior: str
    simulated: bool
    points: tuple[Point, ...]

    @classmethod
    def table_fields(cls) -> tuple[str, ...]:
        """Return the names of the fields of the rows of a table, as of :class:`Histories`."""
        return Histories.table_fields()

    @classmethod
    def table_rows(cls, document: Mapping[str, Any]) -> list[dict[str, object]]:
        """Return the rows of a table, as of :class:`Histories` with this place alone.

        Args:
            document: the response in built-in types, as decoded from JSON.
        """
        return Histories.table_rows({**document, "series": [document]})


class PoolContribution(msgspec.Struct, frozen=True, kw_only=True):
    """What one pool contributes to the share of a place.

    ``share`` is the part of the place's share that is from this pool; those of all pools add up to
    it. ``share_against`` is the same in the other window, and ``delta`` the first minus the second;
    null without another window, or if the place is not listed there. ``source`` represents the pool
    in the window, null if the pool is not in its cohort. ``kinds`` is the pool's hashrate at the
    place in the window (H/s).
    """

    pool: str
    name: str
    source: str | None
    share: Ratio
    share_against: Ratio | None
    delta: Ratio | None
    kinds: KindSplit


class WindowShare(msgspec.Struct, frozen=True):
    """The share of a place in a window; null if the place is not listed there."""

    window: str
    share: Ratio | None


class Contributions(Table, frozen=True, kw_only=True):
    """A response of ``/api/v1/contributions``: the pools that a place's share is made of.

    The largest contribution comes first, then by pool. ``share`` is that of ``/api/v1/shares``,
    null if the place is not listed in the window; then there are no pools. ``against`` is the share
    in the other window, and ``delta`` is ``share`` minus that; null if one of them is unknown. Each
    window has a cohort of its own, so a pool that enters or leaves it changes the share, too.
    """

    rows_field: ClassVar[str] = "pools"
    row_type: ClassVar[type[msgspec.Struct]] = PoolContribution
    repeated_fields: ClassVar[tuple[str, ...]] = (
        "code",
        "against",
        "window",
        "as_of",
        "simulated",
    )

    code: str
    name: str
    window: str
    as_of: Instant
    adjust: Adjust
    prior: str
    simulated: bool
    share: Ratio | None
    against: WindowShare | None
    delta: Ratio | None
    pools: tuple[PoolContribution, ...]

    @classmethod
    def table_rows(cls, document: Mapping[str, Any]) -> list[dict[str, object]]:
        """Return the rows of a table, in which ``against`` is the name of the other window.

        Args:
            document: the response in built-in types, as decoded from JSON.
        """
        against = document["against"]
        name = None if against is None else against["window"]
        return super().table_rows({**document, "against": name})


class Refusal(msgspec.Struct, frozen=True):
    """A rejected reading: when, from which source if that is known, and why."""

    at: Instant
    source: str | None
    reason: str
    error: str


class SourceState(msgspec.Struct, frozen=True):
    """One source of a pool: its last report, and whether that was simulated.

    ``hashrate`` is its mean in the window ``now`` (H/s), null if it has no report there.
    ``basis`` says who the hashrate is from, null if the source has no report in the last 30 days.
    ``blocks`` is the number of blocks that the hashrate is computed from, null if it is not.
    """

    source: str
    last_report: Instant
    simulated: bool
    hashrate: Hashrate | None
    basis: Basis | None
    blocks: int | None


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A pool's reported hashrate (mean of 24 h) compared with the one that its blocks imply (H/s).

    ``ratio`` is the reported divided by the mined hashrate, minus 1. ``error`` is the standard
    error of the number of blocks, 1/sqrt(blocks): a smaller ratio can be chance.
    """

    reported: Hashrate
    reported_by: str
    mined: Hashrate
    mined_by: str
    blocks: int
    ratio: Ratio
    error: Ratio


class PoolState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a pool. Hashrates are in H/s; unknown figures are null.

    ``live``: it is in the cohort. ``thin``: it has too few minutes for the cohort. ``stale``: it
    has only older reports. ``off``: it has not reported for 30 days. ``basis`` and
    ``blocks`` are those of its ``source``, which represents it. ``refused`` is its newest rejected
    reading of the last day.
    """

    pool: str
    name: str
    state: State
    reason: str | None
    source: str | None
    basis: Basis | None
    last_report: Instant | None
    hashrate: Hashrate | None
    located: Hashrate | None
    kinds: KindSplit | None
    gap: Gap | None
    refused: Refusal | None
    blocks: int | None
    simulated: bool
    sources: tuple[SourceState, ...]


class PoolList(Table, frozen=True):
    """The pools in a state, or all that are not off, by hashrate, then name."""

    rows_field: ClassVar[str] = "pools"
    row_type: ClassVar[type[msgspec.Struct]] = PoolState

    pools: tuple[PoolState, ...]


class PlaceList(Table, frozen=True):
    """Every place that a report can name, by code."""

    rows_field: ClassVar[str] = "places"
    row_type: ClassVar[type[msgspec.Struct]] = Place

    places: tuple[Place, ...]


class BeliefRow(msgspec.Struct, frozen=True, kw_only=True, rename={"start": "from"}):
    """Something that is believed: who says so, and from when to when (``until`` is excluded).

    ``kind``: a ``declared`` or assumed (``prior``) distribution, a ``declared`` floor, a ``rule``
    that moves hashrate from a place, a ``part``, a pool that is ``part_of`` another one, or an
    ``annotation``: a ``calendar`` that is shown on the swings of ``places`` and ``pools``.
    ``figures`` are by place: fractions of the whole network or pool (``ratio``), or a floor (H/s).
    ``pools`` are the pools that it is about or that the machines mine at; null if it is about all
    pools, or if these are not known. ``stated`` is the figure as the source states it, and
    ``converted`` how ``figures`` were made from it. Texts are empty where nothing is known.
    """

    id: Annotated[str, Meta(description="The name of the belief.")]
    kind: Annotated[
        BeliefKind,
        Meta(
            description="A declared or assumed distribution, a declared floor, a rule, a part, "
            "or an annotation."
        ),
    ]
    subject: Annotated[str, Meta(description="Whom or what it is about, for people.")]
    figures: Annotated[
        dict[str, float], Meta(description="By place: parts of the whole, or a floor.")
    ]
    unit: Annotated[FigureUnit | None, Meta(description="The unit of the figures.")]
    pools: Annotated[
        tuple[str, ...] | None,
        Meta(description="The pools that it is about; null for all, or if they are not known."),
    ]
    place: Annotated[str | None, Meta(description="The place of a floor or a rule.")]
    places: Annotated[
        tuple[str, ...] | None, Meta(description="The places that an annotation concerns.")
    ]
    within: Annotated[str | None, Meta(description="The floor that contains this one.")]
    part_of: Annotated[str | None, Meta(description="The pool that contains this one.")]
    calendar: Annotated[
        str | None,
        Meta(description="When an annotation is on: days of the year, hours, weekdays, time zone."),
    ]
    text: Annotated[str | None, Meta(description="What an annotation says.")]
    start: Annotated[date | None, Meta(description="The first day on which it counts.")]
    until: Annotated[date | None, Meta(description="The day from which on it does not count.")]
    source: Annotated[str, Meta(description="The address of the source, or what identifies it.")]
    publisher: Annotated[str, Meta(description="Who published it.")]
    published: Annotated[date | None, Meta(description="When it was published.")]
    primary: Annotated[
        bool | None, Meta(description="Whether the source is the one that knows, not the press.")
    ]
    licence: Annotated[str, Meta(description="The licence of the source, where it is known.")]
    checked: Annotated[date | None, Meta(description="When somebody last read the source.")]
    stated: Annotated[str, Meta(description="The figure as the source states it.")]
    converted: Annotated[str, Meta(description="How `figures` were made from what is stated.")]
    note: Annotated[str, Meta(description="What else a reader should know.")]


class BeliefList(Table, frozen=True):
    """What is believed on a day: network priors, the default first, then pools, claims, rules."""

    rows_field: ClassVar[str] = "beliefs"
    row_type: ClassVar[type[msgspec.Struct]] = BeliefRow

    on: date
    beliefs: tuple[BeliefRow, ...]


BUSY: Final = "busy"
"""The reason of a problem document for what can be asked again in a moment."""
PROBLEM_CONTENT_TYPE: Final = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem document (RFC 9457): what is wrong, and what to do about it.

    ``title`` is the kind of problem and the same at each occurrence. ``parameter`` is the name of
    the invalid parameter, if there is one. If the rate limit is exceeded, ``client`` may make
    ``limit`` requests in ``window_s`` seconds; it is an address, or a network of them. ``cost`` is
    then what the answer costs beyond the request, in requests, if it costs more. ``reason`` is
    ``busy`` if too much is being computed: the same request can be answered later. While the cells
    are rebuilt from Kafka, ``done`` of ``total`` messages are processed.
    """

    type: str
    title: str
    status: int
    detail: str
    parameter: str | None = None
    limit: int | None = None
    window_s: int | None = None
    client: str | None = None
    done: int | None = None
    total: int | None = None
    cost: int | None = None
    reason: str | None = None
