"""The swings that a request asks for, of those that are stored."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, cast, get_args

from msgspec import Meta

from miningmap.swing_list import ListedPlaceSwing, ListedPoolSwing, SwingList
from miningmap.swings import (
    PlaceSwing,
    PoolSwing,
    SwingState,
    SwingSubject,
    swing_id,
    swing_subject,
)
from streams.method.comparison import Subject
from streams.method.swings import subject_of
from streams.queries.parameters import TIME, Parameters, one_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from miningmap.swing_list import ListedSwing
    from miningmap.swings import Swing, SwingStatus
    from streams.method.beliefs import Ratio
    from streams.redis.swing_store import SwingStore

DEFAULT_PERIOD: Final = timedelta(days=30)
"""How far back swings are listed if the request does not say it."""


@dataclass(frozen=True, kw_only=True)
class SwingsQuery:
    """A query for swings.

    Attributes:
        since: the least time of a swing's newest event.
        with_all_firing: whether swings that fire are listed however long ago that event was.
        state: the state that they are in; ``None`` for all.
        subject: what swings; ``None`` for places and pools.
    """

    since: datetime
    with_all_firing: bool
    state: SwingState | None = None
    subject: SwingSubject | None = None

    def asks_for(self, newest: Swing) -> bool:
        """Return whether a swing is asked for, by its newest event."""
        if self.state not in {None, newest.state}:
            return False
        if self.subject not in {None, swing_subject(newest)}:
            return False
        return newest.at >= self.since or (self.with_all_firing and newest.state == "firing")


class SwingsParameters(Parameters, frozen=True, kw_only=True):
    """The parameters of ``/api/v1/swings``."""

    state: Annotated[
        str | None,
        one_of(get_args(SwingState)),
        Meta(description="The state that a swing is in now; without it, all are listed."),
    ] = None
    since: Annotated[
        datetime | None,
        TIME,
        Meta(
            description="The swings that began to fire, rose in severity or ended at or after "
            "this time. Without it, those of the last 30 days and all that are firing.",
            examples=["2026-11-01T00:00:00Z"],
        ),
    ] = None
    subject: Annotated[
        str | None,
        one_of(get_args(SwingSubject)),
        Meta(description="Swings of the share of a `place`, or of the hashrate of a `pool`."),
    ] = None

    def query(self, now: datetime) -> SwingsQuery:
        """Return the query at ``now`` (UTC)."""
        return SwingsQuery(
            since=self.since or now - DEFAULT_PERIOD,
            with_all_firing=self.since is None,
            state=cast("SwingState | None", self.state),
            subject=cast("SwingSubject | None", self.subject),
        )


async def compute_swings(store: SwingStore, query: SwingsQuery) -> SwingList:
    """Return the swings that a query asks for, from Redis; damaged ones are left out."""
    status = await store.status()
    found = list((await store.since(query.since)).swings)
    if status and query.with_all_firing:
        recent = {swing_id(history[-1]) for history in found}
        earlier = [each for each in map(swing_id, status.firing) if each not in recent]
        found += (await store.swings(earlier)).swings
    # In a thread: a year of swings would block the event loop.
    return await asyncio.to_thread(swing_list, found, status, query)


def swing_list(
    histories: Iterable[Sequence[Swing]], status: SwingStatus | None, query: SwingsQuery
) -> SwingList:
    """Return those swings that a query asks for, the one with the newest event first. Pure.

    Args:
        histories: the events of each swing, the oldest first.
        status: of the minute that was evaluated last.
        query: what is asked for.
    """
    deltas = {} if status is None else _deltas(status)
    asked = [_listed(history, deltas) for history in histories if query.asks_for(history[-1])]
    return SwingList(
        as_of=None if status is None else status.at, swings=tuple(sorted(asked, key=_order))
    )


def _deltas(status: SwingStatus) -> dict[Subject, Ratio]:
    """Return the deltas of all that is compared."""
    places = {Subject(p.pair, is_pool=False, name=p.place): p.delta for p in status.places}
    return places | {
        Subject(p.pair, is_pool=True, name=p.pool, source=p.source): p.delta for p in status.pools
    }


def _listed(history: Sequence[Swing], deltas: Mapping[Subject, Ratio]) -> ListedSwing:
    *earlier, newest = history
    fields = {name: getattr(newest, name) for name in newest.__struct_fields__}
    current = deltas.get(subject_of(newest)) if newest.state == "firing" else None
    if isinstance(newest, PoolSwing):
        of_pool = tuple(event for event in earlier if isinstance(event, PoolSwing))
        return ListedPoolSwing(**fields, current_delta=current, earlier=of_pool)
    of_place = tuple(event for event in earlier if isinstance(event, PlaceSwing))
    return ListedPlaceSwing(**fields, current_delta=current, earlier=of_place)


def pools_in(swings: Iterable[ListedSwing]) -> set[str]:
    """Return the pools whose figures are in swings."""
    return {pool for swing in swings for event in (swing, *swing.earlier) for pool in _pools(event)}


def _pools(event: Swing) -> Iterable[str]:
    if isinstance(event, PoolSwing):
        return (event.pool,)
    return (contribution.pool for contribution in event.pools)


def _order(swing: ListedSwing) -> tuple[object, ...]:
    """Order by the newest event; those of one minute as they are evaluated."""
    return -swing.at.timestamp(), subject_of(swing), -swing.started.timestamp()
