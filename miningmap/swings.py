"""The events of swings, ``swing/1``: a place's share or a pool's hashrate that moves.

Unknown figures are null (``None``). Shares and deltas are fractions of 1, times are UTC. A swing is
told from others by its pair, its place or its pool and source, and the time at which it started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

# The types of fields are needed at run time.
from miningmap.api.models import Hashrate, Instant, KindSplit, Ratio
from miningmap.inputs import decode_json
from miningmap.messages import Kind

if TYPE_CHECKING:
    from datetime import datetime

SwingState: TypeAlias = Literal["firing", "resolved", "lost"]
SwingSubject: TypeAlias = Literal["place", "pool"]
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
    ``annotations`` are the ids of the calendars that concern it; left out if there are none.
    ``muted`` is true if the operator mutes one of them and no earlier event of the swing was told;
    else it is left out.
    """

    schema: Literal["swing/1"] = "swing/1"
    pair: Annotated[
        str,
        Meta(description="The windows that are compared, such as `1h/24h`, the short one first."),
    ]
    state: Annotated[
        SwingState,
        Meta(
            description="`firing` when the swing begins and when its severity rises, `resolved`, "
            "or `lost` because nothing can be compared any more."
        ),
    ]
    severity: Annotated[
        int,
        Meta(
            description="The highest level that the swing has reached: 1, 3 or 5 percentage points "
            "of a share, or 10, 25 or 50 percent of a pool's hashrate."
        ),
    ]
    started: Annotated[Instant, Meta(description="When the swing began to fire.")]
    at: Annotated[Instant, Meta(description="When this event happened.")]
    delta: Annotated[
        Ratio | None,
        Meta(description="`short - long` of a share, or `short / long - 1` of a pool's hashrate."),
    ]
    threshold: Annotated[
        Ratio | None, Meta(description="The size of a delta that makes a swing fire.")
    ]
    simulated: Annotated[bool, Meta(description="Whether simulated reports are in the figures.")]
    annotations: Annotated[
        tuple[str, ...] | msgspec.UnsetType,
        Meta(description="The ids of the calendars that concern it; left out if there are none."),
    ] = msgspec.UNSET
    muted: Annotated[
        bool | msgspec.UnsetType,
        Meta(description="True if the operator mutes one of these calendars, else left out."),
    ] = msgspec.UNSET


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


def swing_subject(swing: Swing) -> SwingSubject:
    """Return what an event is about."""
    return "pool" if isinstance(swing, PoolSwing) else "place"


def swing_id(swing: Swing) -> str:
    """Return the id of the swing that an event belongs to; all its events have the same."""
    if isinstance(swing, PoolSwing):
        return pool_swing_id(swing.pair, swing.pool, swing.source, swing.started)
    return place_swing_id(swing.pair, swing.place, swing.started)


def place_swing_id(pair: str, place: str, started: datetime) -> str:
    """Return the id of a swing of a place."""
    return f"{pair} place {place} {started:%Y-%m-%dT%H:%MZ}"


def pool_swing_id(pair: str, pool: str, source: str, started: datetime) -> str:
    """Return the id of a swing of a pool."""
    return f"{pair} pool {pool} {source} {started:%Y-%m-%dT%H:%MZ}"


def encode_swing(swing: Swing) -> bytes:
    """Return the JSON of an event."""
    return msgspec.json.encode(swing)


def decode_swing(encoded: bytes | msgspec.Raw) -> Swing:
    """Return the event of its JSON.

    Raises:
        msgspec.DecodeError: it is not such an event.
    """
    decode = _decode_pool_swing if is_of_pool(encoded) else _decode_place_swing
    try:
        return decode(encoded)
    except (UnicodeDecodeError, RecursionError) as error:  # not UTF-8, or nested too deeply
        raise msgspec.DecodeError(str(error)) from None


def is_of_pool(encoded: bytes | msgspec.Raw) -> bool:
    """Return whether the JSON of an event is that of a pool.

    Raises:
        msgspec.DecodeError: it is no JSON object, or its pool is no text.
    """
    return decode_json(bytes(encoded), _Subject).pool is not None


class _Subject(msgspec.Struct):
    """The field that tells the events of pools from those of places."""

    pool: str | None = None


_decode_place_swing: Final = msgspec.json.Decoder(PlaceSwing).decode
_decode_pool_swing: Final = msgspec.json.Decoder(PoolSwing).decode


# --- what swings now ------------------------------------------------------------------------------


class PlaceStatus(msgspec.Struct, frozen=True):
    """How far the share of a place is from its recent past."""

    pair: str
    place: str
    delta: Ratio


class PoolStatus(msgspec.Struct, frozen=True):
    """How far the hashrate of a pool is from its recent past, as a fraction of that."""

    pair: str
    pool: str
    source: str
    delta: Ratio


class SwingStatus(msgspec.Struct, frozen=True):
    """What the evaluation of one minute found.

    ``at`` is that minute. ``places`` and ``pools`` are all that can be compared, and ``firing`` has
    the newest event of each swing that fires. :func:`decode_status` reads its JSON.
    """

    at: Instant
    places: tuple[PlaceStatus, ...] = ()
    pools: tuple[PoolStatus, ...] = ()
    firing: tuple[Swing, ...] = ()


def encode_status(status: SwingStatus) -> bytes:
    """Return the JSON of a status."""
    return msgspec.json.encode(status)


def decode_status(encoded: bytes) -> SwingStatus:
    """Return the status of its JSON.

    Raises:
        msgspec.DecodeError: it is not a status.
    """
    try:
        status = _decode_status(encoded)
    except (UnicodeDecodeError, RecursionError) as error:  # as above
        raise msgspec.DecodeError(str(error)) from None
    firing = tuple(map(decode_swing, status.firing))
    return SwingStatus(status.at, status.places, status.pools, firing)


class _EncodedStatus(msgspec.Struct):
    """A status whose events are not decoded yet: only their fields tell of which type they are."""

    at: Instant
    places: tuple[PlaceStatus, ...]
    pools: tuple[PoolStatus, ...]
    firing: tuple[msgspec.Raw, ...]


_decode_status: Final = msgspec.json.Decoder(_EncodedStatus).decode
