"""The events of swings, ``swing/1``: a place's share or a pool's hashrate that moves.

Unknown figures are null (``None``). Shares and deltas are fractions of 1, times are UTC.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

# The types of fields are needed at run time.
from miningmap.api.models import Hashrate, Instant, KindSplit, Ratio
from miningmap.messages import Kind

SwingState: TypeAlias = Literal["firing", "resolved", "lost"]
Driver: TypeAlias = Literal["own", "others"]


class PoolDelta(msgspec.Struct, frozen=True):
    """What one pool adds to the delta of a place."""

    pool: str
    delta: Ratio


class PoolPart(msgspec.Struct, frozen=True):
    """The part of a pool at a place, and how it is known."""

    code: str
    kind: Kind
    part: Ratio


class _Swing(msgspec.Struct, frozen=True, kw_only=True):
    """What the events of places and pools have in common.

    ``pair`` names the windows that are compared, ``started`` is the time at which the swing first
    fired and ``at`` that of this event. A swing that fires has further events when its severity
    rises. Once it is ``lost``, because nothing can be compared any more, it has no figures.
    ``annotations`` are the ids of the calendars that concern it at ``at``; left out if there are
    none. ``muted`` is true if the operator mutes one of them, and else left out.
    """

    schema: Literal["swing/1"] = "swing/1"
    pair: str
    state: SwingState
    severity: int
    started: Instant
    at: Instant
    delta: Ratio | None
    threshold: Ratio | None
    simulated: bool
    annotations: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    muted: bool | msgspec.UnsetType = msgspec.UNSET


class PlaceSwing(_Swing, frozen=True, kw_only=True):
    """An event of the share of a place.

    ``short`` and ``long`` are its shares in the two windows, over the same pools by the same
    sources. ``own`` is what ``delta`` would be, had only the hashrate at this place changed, and
    ``driver`` says whether that explains it. ``pools`` add up to ``delta``, and ``kinds`` is the
    hashrate at the place in the short window.
    """

    place: str
    short: Ratio | None
    long: Ratio | None
    own: Ratio | None
    driver: Driver | None
    pools: tuple[PoolDelta, ...]
    kinds: KindSplit | msgspec.UnsetType = msgspec.UNSET


class PoolSwing(_Swing, frozen=True, kw_only=True):
    """An event of the hashrate of a pool, as one source reports it.

    ``short`` and ``long`` are its means in the two windows, ``delta`` is the change as a fraction
    of ``long``. ``places`` says where the pool is thought to be in the long window, as far as
    anything but a distribution of the whole network says.
    """

    pool: str
    source: str
    short: Hashrate | None
    long: Hashrate | None
    places: tuple[PoolPart, ...]


Swing: TypeAlias = PlaceSwing | PoolSwing
