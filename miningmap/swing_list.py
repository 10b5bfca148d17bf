"""The response of ``/api/v1/swings``, its rows as a table, and how a client reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, TypeAlias

import msgspec
from msgspec import Meta

# The types of fields are needed at run time.
from miningmap.api.models import Instant, KindSplit, Ratio, Table
from miningmap.inputs import decode_json
from miningmap.swings import (
    Driver,
    PlaceSwing,
    PoolSwing,
    SwingState,
    SwingSubject,
    is_of_pool,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

CurrentDelta: TypeAlias = Annotated[
    Ratio | None,
    Meta(
        description="While the swing is firing, its delta in the minute that was evaluated last: "
        "`delta` is that of the newest event. Null once it is over, or if nothing can be compared."
    ),
]


class ListedPlaceSwing(PlaceSwing, frozen=True, kw_only=True):
    """A swing of a place: its newest event, as of ``PlaceSwing``, and the events before it.

    ``earlier`` has the oldest one first.
    """

    current_delta: CurrentDelta
    earlier: tuple[PlaceSwing, ...]


class ListedPoolSwing(PoolSwing, frozen=True, kw_only=True):
    """A swing of a pool: its newest event, as of ``PoolSwing``, and the events before it.

    ``earlier`` has the oldest one first.
    """

    current_delta: CurrentDelta
    earlier: tuple[PoolSwing, ...]


ListedSwing: TypeAlias = ListedPlaceSwing | ListedPoolSwing


class SwingRow(msgspec.Struct, frozen=True, kw_only=True):
    """A swing as the row of a table: its newest event, without the lists of that.

    The fields of places are ``None`` in the row of a pool, and the other way round.
    """

    subject: SwingSubject
    place: str | None
    pool: str | None
    source: str | None
    pair: str
    state: SwingState
    severity: int
    started: Instant
    at: Instant
    short: Annotated[
        float | None, Meta(description="A share (a fraction) or a pool's hashrate (H/s).")
    ]
    long: Annotated[float | None, Meta(description="The same in the long window.")]
    delta: Ratio | None
    current_delta: CurrentDelta
    largest_delta: Annotated[
        Ratio | None,
        Meta(
            description="The largest delta of its `firing` events: the direction and the size of a "
            "swing that is over, too. Between two events it can have been larger."
        ),
    ]
    threshold: Ratio | None
    own: Ratio | None
    driver: Driver | None
    kinds: KindSplit | None
    annotations: tuple[str, ...]
    muted: bool
    simulated: bool


class SwingList(Table, frozen=True, kw_only=True):
    """Swings, the one with the newest event first.

    ``as_of`` is the minute that was evaluated last, null if none was yet.
    """

    # msgspec cannot decode this type, which mixes two types of rows; ``decode`` can.

    rows_field: ClassVar[str] = "swings"
    row_type: ClassVar[type[msgspec.Struct]] = SwingRow
    repeated_fields: ClassVar[tuple[str, ...]] = ("as_of",)

    as_of: Instant | None
    swings: tuple[ListedSwing, ...]

    @classmethod
    def decode(cls, body: bytes) -> SwingList:
        """Return the list in a response.

        Raises:
            msgspec.DecodeError: it is not such a list.
        """
        raw = decode_json(body, _RawList)
        swings = tuple(_decode_listed(bytes(swing)) for swing in raw.swings)
        return cls(as_of=raw.as_of, swings=swings)

    @classmethod
    def table_rows(cls, document: Mapping[str, Any]) -> list[dict[str, object]]:
        """Return the rows of a table, as of :class:`SwingRow`.

        Args:
            document: the response in built-in types, as decoded from JSON.
        """
        repeated = {name: document[name] for name in cls.repeated_fields}
        return [_row(swing) | repeated for swing in document["swings"]]


_ABSENT: Final = {
    "place": None,
    "pool": None,
    "source": None,
    "own": None,
    "driver": None,
    "kinds": None,
    "annotations": (),
    "muted": False,
}
"""What a row has for the fields that an event can lack."""


def _row(swing: Mapping[str, Any]) -> dict[str, object]:
    events = (*swing["earlier"], swing)
    # A swing can resolve with a delta of the other sign.
    deltas = (event["delta"] for event in events if event["state"] == "firing")
    derived = {
        "subject": "pool" if "pool" in swing else "place",
        "largest_delta": max((d for d in deltas if d is not None), key=abs, default=None),
    }
    present = _ABSENT | {**swing} | derived
    return {name: present[name] for name in SwingRow.__struct_fields__}


# --- decoding -------------------------------------------------------------------------------------


class _RawList(msgspec.Struct):
    """A list whose swings are not decoded yet: only their fields tell of which type they are."""

    swings: tuple[msgspec.Raw, ...]
    as_of: Instant | None = None


def _decode_listed(raw: bytes) -> ListedSwing:
    if is_of_pool(raw):
        return decode_json(raw, ListedPoolSwing)
    return decode_json(raw, ListedPlaceSwing)
