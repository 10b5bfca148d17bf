"""The events of the topic, as far as it matters for sending them. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from miningmap.swings import PoolSwing, decode_swing, swing_id, swing_subject

if TYPE_CHECKING:
    from miningmap.swings import Driver, SwingState, SwingSubject


class InvalidEventError(ValueError):
    """A message is not an event of a swing; the text says why."""


class Event(NamedTuple):
    """An event, and its body as it is sent.

    Attributes:
        id: the same whenever this event is sent, so that a receiver recognises a repetition.
        swing: the id of the swing, which all its events share.
        subject: whether it is about a place or a pool.
        state: what happened to the swing.
        driver: who moved a place; ``None`` for pools, and once a swing is lost.
        is_muted: whether the operator mutes an annotation that concerns it.
        body: the JSON, as it is in Kafka.
    """

    id: str
    swing: str
    subject: SwingSubject
    state: SwingState
    driver: Driver | None
    is_muted: bool
    body: bytes

    @property
    def is_end(self) -> bool:
        """Whether the swing is over."""
        return self.state != "firing"


def event_of(value: bytes) -> Event:
    """Return the event of a message.

    Raises:
        InvalidEventError: it is none.
    """
    try:
        swing = decode_swing(value)
    except msgspec.DecodeError as error:
        raise InvalidEventError(str(error)) from None
    id_ = swing_id(swing)
    # A swing has at most one event of a state in a minute.
    named = f"{id_} {swing.state} {swing.at.isoformat()}"
    return Event(
        id=f"swing_{hashlib.sha256(named.encode()).hexdigest()[:32]}",
        swing=id_,
        subject=swing_subject(swing),
        state=swing.state,
        driver=None if isinstance(swing, PoolSwing) else swing.driver,
        is_muted=swing.muted is True,
        body=value,
    )
