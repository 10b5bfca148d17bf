"""The cells that must be in Redis, computed from messages by method.md 3 alone.

It shares no code with ``streams``: each message claims buckets, the claim with the highest rank
wins, and what was claimed is added up into hours and days. Messages are decoded from their JSON
here too.

Two things it does not model, because the workload sends neither: a late day whose hours were partly
claimed directly, and inner subdivisions.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
MINUTES = {"minute": 1, "hour": 60, "day": 1440}
BASES = ("reported", "relayed", "mined")
MAX_AHEAD_S = 300.0

Places: TypeAlias = dict[tuple[str, str], float]
"""By code and kind: in a message H/s, in a cell H/s x minutes."""


@dataclass(frozen=True)
class Statement:
    """What a message says; times in seconds since the epoch, hashrates in H/s."""

    pool: str | None
    source: str
    start: float
    end: float
    hold_s: int
    hashrate: float
    places: Places = field(default_factory=dict)
    fetched_at: float = 0.0
    basis: int = 0

    @property
    def token(self) -> tuple[str | None, str, float]:
        """What identifies it: the workload sends no hashrate of a series twice."""
        return self.pool, self.source, self.hashrate

    @property
    def content(self) -> tuple[object, ...]:
        """All that its sender decides."""
        return (self.start, self.end, self.hold_s, sorted(self.places.items()), self.basis)


def statement_of(raw: bytes) -> Statement | None:
    """What the bytes of a message say, or ``None`` if they break a rule of method.md 2."""
    try:
        fields = json.loads(raw)
        return statement_from(fields)
    except (ValueError, KeyError, TypeError):
        return None


def statement_from(fields: dict[str, Any]) -> Statement | None:
    """What the fields of a message say, or ``None`` if they break a rule of method.md 2."""
    if fields.get("schema") not in {"report/1", "network/1"}:
        return None
    start, end = seconds(fields["start"]), seconds(fields["end"])
    places = {(p["code"], p["kind"]): float(p["hashrate"]) for p in fields.get("places", ())}
    default = "mined" if fields.get("blocks") is not None else "reported"
    found = Statement(
        pool=fields["pool"] if fields["schema"] == "report/1" else None,
        source=fields["source"],
        start=start,
        end=end,
        hold_s=fields["hold_s"],
        hashrate=float(fields["hashrate"]),
        places=places,
        fetched_at=seconds(fields["fetched_at"]) if "fetched_at" in fields else 0.0,
        basis=BASES.index(fields.get("basis", default)),
    )
    total = math.fsum(places.values())
    if start >= end or found.hashrate < 0 or total > found.hashrate * (1 + 1e-9):
        return None
    return found


def seconds(text: str) -> float:
    """A time of RFC 3339, in seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


class Name(NamedTuple):
    """Which value of which cell; ``form`` is ``claim``, or ``sum`` of the tier below."""

    pool: str | None
    source: str
    tier: str
    number: int
    form: str


@dataclass(frozen=True)
class Value:
    """Sums over minutes."""

    minutes: int
    total: float
    places: Places

    def is_near(self, other: Value) -> bool:
        """Whether both are the same but for the order in which floats were added."""
        return (
            self.minutes == other.minutes
            and math.isclose(self.total, other.total, rel_tol=1e-9)
            and self.places.keys() == other.places.keys()
            and all(
                math.isclose(value, other.places[place], rel_tol=1e-9)
                for place, value in self.places.items()
            )
        )


@dataclass(frozen=True)
class Arrived:
    """A statement, and when it arrived in Kafka, which decides what was still kept."""

    statement: Statement
    at: float


@dataclass(frozen=True)
class Kept:
    """For how long minutes and hours are kept (the settings of retention)."""

    minutes_h: int = 48
    hours_d: int = 35


def cells(arrived: Iterable[Arrived], kept: Kept = Kept()) -> dict[Name, Value]:
    """Every value that must be in Redis, in any order of the messages."""
    best: dict[Name, tuple[tuple[float, ...], Statement]] = {}
    for each in arrived:
        said = each.statement
        for tier, number, rank in claims(said, each.at, kept):
            name = Name(said.pool, said.source, tier, number, "claim")
            if name not in best or rank > best[name][0]:
                best[name] = rank, said
    values = {name: _value(said, MINUTES[name.tier]) for name, (_, said) in best.items()}
    values |= _sums(values, "minute", "hour", 60)
    return values | _sums(values, "hour", "day", 24)


def claims(
    said: Statement, arrived_at: float, kept: Kept
) -> Iterator[tuple[str, int, tuple[float, ...]]]:
    """Tier, number and rank of each bucket that a statement claims; none if it came too late."""
    rank = said.end, said.fetched_at, said.hashrate
    hours_from = int(arrived_at - kept.hours_d * DAY_S) // DAY_S * 24
    minutes_from = max(int(arrived_at - kept.minutes_h * HOUR_S) // HOUR_S, hours_from) * 60
    length = said.end - said.start
    if length < HOUR_S:
        covered = math.ceil(said.end / MINUTE_S)
        held = math.ceil((said.end + said.hold_s) / MINUTE_S)
        for number in range(max(int(said.start // MINUTE_S), minutes_from), max(covered, held)):
            yield "minute", number, (1.0 if number < covered else 0.0, *rank)
        return
    for number in range(max(int(said.start) // HOUR_S, hours_from), int(said.end) // HOUR_S):
        yield "hour", number, (-length, *rank)
    for number in range(math.ceil(said.start / DAY_S), int(said.end) // DAY_S):
        if number * 24 < hours_from:
            yield "day", number, (-length, *rank)


def is_future(said: Statement, clock: float) -> bool:
    """Whether it ends more than five minutes after the clock."""
    return said.end > clock + MAX_AHEAD_S


def _value(said: Statement, minutes: int) -> Value:
    places = {place: value * minutes for place, value in said.places.items()}
    return Value(minutes, said.hashrate * minutes, places)


def _sums(values: dict[Name, Value], below: str, tier: str, size: int) -> dict[Name, Value]:
    """The sums of a tier's values; an hour that is claimed directly wins over its minutes."""
    parts: dict[Name, dict[int, Value]] = defaultdict(dict)
    for name, value in sorted(values.items(), key=lambda item: item[0].form, reverse=True):
        if name.tier == below:  # sums come first, so that claims replace them
            whole = Name(name.pool, name.source, tier, name.number // size, "sum")
            parts[whole][name.number] = value
    return {name: _added(members[n] for n in sorted(members)) for name, members in parts.items()}


def _added(values: Iterable[Value]) -> Value:
    minutes, total, places = 0, 0.0, defaultdict[tuple[str, str], float](float)
    for value in values:
        minutes += value.minutes
        total += value.total
        for place, part in value.places.items():
            places[place] += part
    return Value(minutes, total, dict(places))
