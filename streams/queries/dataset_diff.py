"""What differs between two editions of the map, and why (docs/dataset.md). Pure.

A reason is a finding: a difference between what the figures of one window were made from.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import msgspec

from miningmap.api.columns import figures
from miningmap.api.models import Hashrate, Level, Ratio
from miningmap.messages import Report, decode
from streams.queries.dataset import SHARES, WINDOWS, day_of, end_of, since_of

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import date, datetime

    from miningmap.api.models import BeliefRow
    from miningmap.messages import Message
    from streams.method.windows import Window
    from streams.queries.dataset import Table

RELATIVE_TOLERANCE: Final = 1e-9
"""Relative differences between figures up to this one are floating-point error."""

OTHER_FIGURES: Final = tuple(n for n in figures(SHARES.row) if n not in {"share", "hashrate"})
"""The columns of a place whose differences are only named."""
WINDOW_FIGURES: Final = tuple(figures(WINDOWS.row))
"""The columns of a window, whose differences are only named."""

Change: TypeAlias = Literal["added", "removed", "changed"]
Counts: TypeAlias = "Counter[tuple[str, str | None, str, Change]]"
"""How many messages differ, by window, pool (``None``: the network), source and change."""


class Place(NamedTuple):
    """A place in one window of an edition.

    Attributes:
        level: whether it is a country or a subdivision.
        name: of the place.
        share: a fraction.
        hashrate: in H/s.
        others: the figures of :data:`OTHER_FIGURES`; not a number if unknown. There are many rows.
    """

    level: Level
    name: str
    share: Ratio
    hashrate: Hashrate
    others: array[float]


class Edition(NamedTuple):
    """An edition, as far as it is compared.

    Attributes:
        windows: by name, in the order of time.
        of_windows: by window, the figures of :data:`WINDOW_FIGURES`; not a number if unknown.
        places: by window and code.
        pools: of each window, by slug: the source that represents it, or why it is excluded.
        believed_on: returns what counts on a day.
        method: the version of the method.
        software: the version of the software.
    """

    windows: Mapping[str, Window]
    of_windows: Mapping[str, array[float]]
    places: Mapping[tuple[str, str], Place]
    pools: Mapping[str, Mapping[str, str]]
    believed_on: Callable[[date], Sequence[BeliefRow]]
    method: str
    software: str


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """A place whose figures differ: before and after, ``None`` where it is not listed."""

    window: str
    level: Level
    code: str
    name: str
    share: tuple[Ratio | None, Ratio | None]
    hashrate: tuple[Hashrate | None, Hashrate | None]


class MessageChanges(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages of one source differ; of the network's hashrate ``pool`` is ``None``.

    Changed are those that say something else about the same pool and time.
    """

    pool: str | None
    source: str
    added: int
    removed: int
    changed: int


class IdChanges(msgspec.Struct, frozen=True, kw_only=True):
    """The ids of beliefs, or of rules, that differ in what they say."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


class PoolChange(msgspec.Struct, frozen=True, kw_only=True):
    """A pool that counts by another source, or not for the same reason; ``None``: not known."""

    pool: str
    before: str | None
    after: str | None


class Reasons(msgspec.Struct, frozen=True, kw_only=True):
    """What differs in a window besides shares and hashrates, and in what it was made from.

    ``columns`` are those of figures, such as ``shares.low`` and ``windows.coverage``.
    """

    window: str
    columns: tuple[str, ...]
    messages: tuple[MessageChanges, ...]
    beliefs: IdChanges
    rules: IdChanges
    cohort: tuple[PoolChange, ...]
    method: tuple[str, str] | None
    software: tuple[str, str] | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The difference of two editions.

    Attributes:
        compared: how many windows both have.
        only_before: the windows that only the first one has.
        only_after: the windows that only the second one has.
        revisions: the places whose figures differ, the largest change of a share first.
        windows: the reasons, for each window in which any figure differs.
    """

    compared: int
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    revisions: tuple[Revision, ...]
    windows: tuple[Reasons, ...]

    @property
    def equal(self) -> bool:
        """Whether both have the same windows with the same figures."""
        return not (self.only_before or self.only_after or self.windows)

    @property
    def appeared(self) -> int:
        """How many places are listed only after."""
        return sum(revision.share[0] is None for revision in self.revisions)

    @property
    def vanished(self) -> int:
        """How many places are listed only before."""
        return sum(revision.share[1] is None for revision in self.revisions)


def compare(before: Edition, after: Edition, messages: Counts) -> Comparison:
    """Return what differs.

    Args:
        before: the first edition.
        after: the second edition.
        messages: the messages that differ in the windows of both.
    """
    common = [name for name in before.windows if name in after.windows]
    revisions = sorted(_revisions(before, after, frozenset(common)), key=_order)
    columns = _columns(before, after)
    revised = columns.keys() | {revision.window for revision in revisions}
    return Comparison(
        compared=len(common),
        only_before=tuple(name for name in before.windows if name not in after.windows),
        only_after=tuple(name for name in after.windows if name not in before.windows),
        revisions=tuple(revisions),
        windows=tuple(
            _reasons(name, columns.get(name, ()), before, after, messages)
            for name in common
            if name in revised
        ),
    )


def _revisions(before: Edition, after: Edition, common: frozenset[str]) -> Iterator[Revision]:
    for key in before.places.keys() | after.places.keys():
        window, code = key
        old, new = before.places.get(key), after.places.get(key)
        listed = new or old
        if window in common and listed is not None and not _same(old, new):
            yield Revision(
                window=window,
                level=listed.level,
                code=code,
                name=listed.name,
                share=(old and old.share, new and new.share),
                hashrate=(old and old.hashrate, new and new.hashrate),
            )


def _same(old: Place | None, new: Place | None) -> bool:
    if old is None or new is None:
        return old is new
    return _close(old.share, new.share) and _close(old.hashrate, new.hashrate)


def _close(old: float, new: float) -> bool:
    both_unknown = math.isnan(old) and math.isnan(new)
    return both_unknown or math.isclose(old, new, rel_tol=RELATIVE_TOLERANCE)


def _columns(before: Edition, after: Edition) -> dict[str, tuple[str, ...]]:
    """Return the columns of other figures that differ, by window, of the windows that have any."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for window in before.of_windows.keys() & after.of_windows.keys():
        old, new = before.of_windows[window], after.of_windows[window]
        found[window].update(_differing(WINDOWS, WINDOW_FIGURES, old, new))
    for window, code in before.places.keys() & after.places.keys():
        old, new = before.places[window, code].others, after.places[window, code].others
        found[window].update(_differing(SHARES, OTHER_FIGURES, old, new))
    return {window: tuple(sorted(names)) for window, names in found.items() if names}


def _differing(
    table: Table, names: Sequence[str], old: Iterable[float], new: Iterable[float]
) -> Iterator[str]:
    for name, left, right in zip(names, old, new, strict=True):
        if not _close(left, right):
            yield f"{table.name}.{name}"


def _order(revision: Revision) -> tuple[float, str, str]:
    old, new = revision.share
    return -abs((new or 0.0) - (old or 0.0)), revision.window, revision.code


# --- reasons --------------------------------------------------------------------------------------


def _reasons(
    name: str, columns: tuple[str, ...], before: Edition, after: Edition, messages: Counts
) -> Reasons:
    day = day_of(before.windows[name])
    old, new = _in_force(before.believed_on(day)), _in_force(after.believed_on(day))
    return Reasons(
        window=name,
        columns=columns,
        messages=tuple(_of_window(name, messages)),
        beliefs=_id_changes(old.beliefs, new.beliefs),
        rules=_id_changes(old.rules, new.rules),
        cohort=tuple(_pool_changes(before.pools.get(name, {}), after.pools.get(name, {}))),
        method=None if before.method == after.method else (before.method, after.method),
        software=None if before.software == after.software else (before.software, after.software),
    )


def _of_window(name: str, messages: Counts) -> Iterator[MessageChanges]:
    found = {(pool, source) for window, pool, source, _ in messages if window == name}
    for pool, source in sorted(found, key=lambda series: (series[0] or "", series[1])):
        yield MessageChanges(
            pool=pool,
            source=source,
            added=messages[name, pool, source, "added"],
            removed=messages[name, pool, source, "removed"],
            changed=messages[name, pool, source, "changed"],
        )


class _InForce(NamedTuple):
    """What counts on a day, by id, as far as figures depend on it: who says so does not matter."""

    beliefs: Mapping[str, object]
    rules: Mapping[str, object]


def _in_force(rows: Sequence[BeliefRow]) -> _InForce:
    default = next((row.id for row in rows if row.kind == "prior" and row.pools is None), None)
    effects = {
        row.id: (
            *(row.kind, row.figures, row.pools, row.place, row.within, row.part_of),
            row.id == default,  # of several network priors the first counts
        )
        for row in rows
    }
    rules = {row.id for row in rows if row.kind == "rule"}
    return _InForce(
        {id_: effect for id_, effect in effects.items() if id_ not in rules},
        {id_: effect for id_, effect in effects.items() if id_ in rules},
    )


def _id_changes(old: Mapping[str, object], new: Mapping[str, object]) -> IdChanges:
    return IdChanges(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(sorted(id_ for id_ in old.keys() & new.keys() if old[id_] != new[id_])),
    )


def _pool_changes(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[PoolChange]:
    for pool in sorted(old.keys() | new.keys()):
        if old.get(pool) != new.get(pool):
            yield PoolChange(pool=pool, before=old.get(pool), after=new.get(pool))


# --- messages -------------------------------------------------------------------------------------


def differing_messages(
    before: Iterable[bytes], after: Iterable[bytes], windows: Sequence[Window]
) -> Counts:
    """Return how many messages differ, by window, pool, source and change.

    A message counts for a window if it is about its days or about those of its profile.

    Args:
        before: the messages of the first edition, sorted as editions have them.
        after: those of the second edition.
        windows: those to compare, in the order of time.
    """
    counts: Counts = Counter()
    starts, ends = [since_of(window) for window in windows], [end_of(window) for window in windows]
    for message, change in _changes(_differences(before, after)):
        last = message.end.timestamp() + message.hold_s
        pool = message.pool if isinstance(message, Report) else None
        touched = slice(
            bisect_right(ends, message.start),
            bisect_left(starts, last, key=lambda start: start.timestamp()),
        )
        counts.update((window.name, pool, message.source, change) for window in windows[touched])
    return counts


def _differences(
    before: Iterable[bytes], after: Iterable[bytes]
) -> Iterator[tuple[Message, Change]]:
    """Yield the messages that only one of them has, in the order of their starts."""
    old, new = iter(before), iter(after)
    left, right = next(old, None), next(new, None)
    while left is not None or right is not None:
        # Most lines are the same: only those that are not have to be decoded.
        if left == right:
            left, right = next(old, None), next(new, None)
        elif right is None or (left is not None and _key(left) < _key(right)):
            assert left is not None  # noqa: S101 - for mypy
            yield decode(left), "removed"
            left = next(old, None)
        else:
            yield decode(right), "added"
            right = next(new, None)


def _key(line: bytes) -> tuple[datetime, bytes]:
    return decode(line).start, line


def _changes(
    differences: Iterable[tuple[Message, Change]],
) -> Iterator[tuple[Message, Change]]:
    """Make one change of a removal and an addition that are about the same pool and time."""
    group: list[tuple[Message, Change]] = []
    for message, change in differences:
        if group and group[0][0].start != message.start:
            yield from _paired(group)
            group = []
        group.append((message, change))
    yield from _paired(group)


def _paired(group: Sequence[tuple[Message, Change]]) -> Iterator[tuple[Message, Change]]:
    about: dict[tuple[str | None, str, datetime], list[tuple[Message, Change]]] = {}
    for message, change in group:
        pool = message.pool if isinstance(message, Report) else None
        about.setdefault((pool, message.source, message.end), []).append((message, change))
    for members in about.values():
        removed = [member for member in members if member[1] == "removed"]
        added = [member for member in members if member[1] == "added"]
        pairs = min(len(removed), len(added))
        yield from ((message, "changed") for message, _ in added[:pairs])
        yield from removed[pairs:]
        yield from added[pairs:]
