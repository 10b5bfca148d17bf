"""Documents of beliefs, and how they are read from files (method.md 5.0).

A file is one document in TOML or JSON; a folder is all of its files together. Every part of a
document may be left out::

    [[network]]                      # a distribution of the whole network: `id` and `series`
    [[pools]]                        # of one pool: also `pool`, and `kind` (declared or prior)
    [[claims]]                       # a floor: `id`, `place`, `at_least` (H/s), `from`, `until`
    [part_of]                        # PART = "WHOLE", both slugs of pools
    [[rules]]                        # a relabelling: `id`, `place`, `applies_to`
    [[annotations]]                  # a calendar: `id`, `text`, `zone`, `places` or `pools`
"""

from __future__ import annotations

import tomllib
from collections import Counter
from datetime import date
from importlib.resources import files
from typing import (
    TYPE_CHECKING,
    Annotated,
    Final,
    Literal,
    NamedTuple,
    TypeAlias,
    TypeVar,
    get_args,
)

import msgspec

from miningmap.inputs import ENCODING, decode_json, decode_toml, in_words, matching
from miningmap.messages import MAX_HASHRATE, Slug

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

Weight: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=MAX_HASHRATE)]
"""A part of any scale, or a hashrate (H/s). Finite, so that their sums are."""

MonthAndDay: TypeAlias = Annotated[
    str, matching(r"^[0-9]{2}-[0-9]{2}$(?!\n)", "a day of the year as MM-DD, such as 06-01")
]
Weekday: TypeAlias = Literal[
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"
]
WEEKDAYS: Final[tuple[Weekday, ...]] = get_args(Weekday)
"""The days of the week, as Python numbers them."""

SHIPPED: Final = files("beliefs")
"""The folder of the beliefs of this package."""

SUFFIXES: Final = (".toml", ".json")


class BeliefsError(ValueError):
    """Beliefs cannot be used; the text names the file, the belief and the reason."""


# --- documents ------------------------------------------------------------------------------------


class Citation(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where a figure is from.

    Attributes:
        source: the address of the source, or what identifies it.
        publisher: who published it.
        published: when.
        primary: whether the source is the one that knows, and not the press.
        licence: the licence of the source, where it is known.
        checked: when somebody last read the source, or a copy of it.
        stated: the figure as the source states it, with its unit.
        converted: how the figure here was made from the one that is stated.
        note: anything else that a reader should know.
    """

    source: str = ""
    publisher: str = ""
    published: date | None = None
    primary: bool | None = None
    licence: str = ""
    checked: date | None = None
    stated: str = ""
    converted: str = ""
    note: str = ""


class Cited(Citation, kw_only=True, forbid_unknown_fields=True):
    """A belief, and where it is from.

    Attributes:
        id: its name, such as ``claims/cleanspark-us-ga``.
        subject: whom or what it is about, for people.
    """

    id: str
    subject: str = ""


C = TypeVar("C", bound=Cited)


class SeriesEntry(Citation, kw_only=True, forbid_unknown_fields=True):
    """The weights of a distribution, in any unit, from a day on.

    What its own citation leaves out is as in that of the distribution.
    """

    start: date = msgspec.field(name="from")
    until: date | None = None
    weights: dict[str, Weight]


class NetworkDistribution(Cited, kw_only=True, forbid_unknown_fields=True):
    """A distribution of the whole network."""

    series: list[SeriesEntry]


class PoolDistribution(NetworkDistribution, kw_only=True, forbid_unknown_fields=True):
    """A distribution of a whole pool."""

    pool: Slug
    kind: Literal["declared", "prior"]


class StatedClaim(Cited, kw_only=True, forbid_unknown_fields=True):
    """A floor: at least so much (H/s) operates at a place."""

    place: str
    at_least: Weight
    start: date = msgspec.field(name="from")
    until: date
    pools: list[Slug] | None = None
    within: str | None = None


class Relabelling(Cited, kw_only=True, forbid_unknown_fields=True):
    """A rule: hashrate at a place belongs to the country's other subdivisions."""

    place: str
    applies_to: list[Slug] | Literal["*"]


class StatedAnnotation(Cited, kw_only=True, forbid_unknown_fields=True):
    """A calendar that is shown on the swings of some places and pools; it changes no figure.

    Attributes:
        text: a sentence that says what happens then.
        zone: the time zone of all that follows, such as ``America/Chicago``.
        places: the places that it concerns.
        pools: the pools that it concerns.
        first_day: the first day of the year, such as ``06-01``; without it every day counts.
        last_day: the last day of the year, which is included.
        from_hour: the first hour of the day; without it every hour counts.
        until_hour: the hour from which on it is over.
        weekdays: the days of the week; without them all count.
        start: the first day on which the calendar counts.
        until: the day from which on it does not.
    """

    text: str
    zone: str
    places: list[str] = []
    pools: list[Slug] = []
    first_day: MonthAndDay | None = None
    last_day: MonthAndDay | None = None
    from_hour: Annotated[int, msgspec.Meta(ge=0, le=23)] | None = None
    until_hour: Annotated[int, msgspec.Meta(ge=1, le=24)] | None = None
    weekdays: list[Weekday] | None = None
    start: date | None = msgspec.field(name="from", default=None)
    until: date | None = None


class BeliefsDocument(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One file of beliefs, or several together."""

    network: list[NetworkDistribution] = []
    pools: list[PoolDistribution] = []
    claims: list[StatedClaim] = []
    part_of: dict[Slug, Slug] = {}
    rules: list[Relabelling] = []
    annotations: list[StatedAnnotation] = []

    def cited(self) -> Iterator[Cited]:
        """Yield everything that has an id."""
        yield from (*self.network, *self.pools, *self.claims, *self.rules, *self.annotations)


class Period(NamedTuple):
    """The days on which an entry of a series counts: from ``start`` to the day before ``until``."""

    entry: SeriesEntry
    start: date
    until: date | None

    def contains(self, day: date) -> bool:
        """Return whether the entry counts on a day."""
        return self.start <= day and (self.until is None or day < self.until)


def periods(series: Sequence[SeriesEntry]) -> list[Period]:
    """Return when each entry counts: until the next one, or until its own end if that is earlier.

    An entry that never counts is left out; of those from one day the first counts.
    """
    first: dict[date, SeriesEntry] = {}
    for entry in series:
        first.setdefault(entry.start, entry)
    entries = sorted(first.values(), key=lambda entry: entry.start)
    starts = [*(entry.start for entry in entries[1:]), None]
    found = []
    for entry, following in zip(entries, starts, strict=True):
        until = min((end for end in (entry.until, following) if end is not None), default=None)
        if until is None or entry.start < until:
            found.append(Period(entry, entry.start, until))
    return found


# --- reading --------------------------------------------------------------------------------------


def read(path: Path | Traversable) -> BeliefsDocument:
    """Return the document in a file, or in the files of a folder in the order of their names.

    Raises:
        BeliefsError: a file cannot be read or is not such a document, or an id occurs twice.
    """
    merged = BeliefsDocument()
    for file in belief_files(path):
        document = _read_file(file)
        merged.network += document.network
        merged.pools += document.pools
        merged.claims += document.claims
        merged.rules += document.rules
        merged.annotations += document.annotations
        merged.part_of |= document.part_of
    counts = Counter(each.id for each in merged.cited())
    twice = [id_ for id_, n in counts.items() if n > 1]
    if twice:
        raise BeliefsError(f"{path}: the id {twice[0]} occurs twice")
    return merged


def merge(documents: Sequence[BeliefsDocument]) -> BeliefsDocument:
    """Return documents as one; of beliefs with one id, that of the earliest document counts."""
    return BeliefsDocument(
        network=_by_id(document.network for document in documents),
        pools=_by_id(document.pools for document in documents),
        claims=_by_id(document.claims for document in documents),
        rules=_by_id(document.rules for document in documents),
        annotations=_by_id(document.annotations for document in documents),
        part_of={p: whole for d in reversed(documents) for p, whole in d.part_of.items()},
    )


def belief_files(path: Path | Traversable) -> Iterator[Path | Traversable]:
    """Yield a file, or the files of beliefs in a folder in the order of their names."""
    if not path.is_dir():
        yield path
        return
    for inner in sorted(path.iterdir(), key=lambda entry: entry.name):
        if inner.is_dir():
            yield from belief_files(inner)
        elif inner.name.endswith(SUFFIXES):
            yield inner


def _by_id(parts: Iterable[Iterable[C]]) -> list[C]:
    found: dict[str, C] = {}
    for part in parts:
        for cited in part:
            found.setdefault(cited.id, cited)
    return list(found.values())


def _read_file(path: Path | Traversable) -> BeliefsDocument:
    try:
        raw = path.read_bytes()
        if path.name.endswith(".toml"):
            return msgspec.convert(decode_toml(raw.decode(ENCODING)), BeliefsDocument)
        return decode_json(raw, BeliefsDocument)
    except OSError as error:
        raise BeliefsError(f"{path}: {error.strerror}") from None
    except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BeliefsError(f"{path}: {in_words(error)}") from None
