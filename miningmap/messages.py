"""The messages in Kafka, ``report/1`` and ``network/1``, and every rule that they keep.

A message is what one source said, nothing more; interpretation happens when a question is asked.
Decoding validates in one pass: what comes out of :func:`decode_report` keeps all rules of
``docs/method.md``, so nothing behind it checks them again.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeAlias

import msgspec

from miningmap import places
from miningmap.times import HOUR_S, add_months, as_utc

Kind: TypeAlias = Literal["measured", "estimated", "prior"]
"""How a hashrate got its place: said by the pool, inferred, or spread over a distribution."""

KINDS: tuple[Kind, ...] = ("measured", "estimated", "prior")
"""From best to worst."""

SLUG = r"^[a-z0-9][a-z0-9._-]{0,63}$(?!\n)"  # in Python $ alone lets a newline pass
FIGURE = r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?"
"""A figure as tables print it."""

# Bounds that no honest report meets; they keep one message from filling Redis with cells.
MAX_HOLD_S = 86_400
MAX_LENGTH_S = 366 * 86_400
MAX_BLOCKS = 100_000  # more than are found in 366 days
MAX_FIGURE = 64  # characters of a figure as it was printed; a float needs 24
MAX_HASHRATE = 1e30  # a thousand million times the network of 2026; sums of it stay finite
# Sums of a pool's places are floats of 1e20: equal means equal but for their rounding.
SUM_TOLERANCE = 1e-9

Slug: TypeAlias = Annotated[str, msgspec.Meta(pattern=SLUG)]
Hashrate: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=MAX_HASHRATE)]
Figure: TypeAlias = Annotated[
    str, msgspec.Meta(pattern=rf"^{FIGURE}$(?!\n)", max_length=MAX_FIGURE)
]
Instant: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
Hold: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MAX_HOLD_S)]

_INSTANTS = ("start", "end", "fetched_at")
_LONGEST_QUOTE = 64

Reason: TypeAlias = Literal["undecodable", "schema", "invalid", "too_late"]
"""Why a message became a dead letter."""


class InvalidMessageError(ValueError):
    """A message that cannot be used: ``reason`` is from a short list, the text says why."""

    def __init__(self, reason: Reason, error: str) -> None:
        super().__init__(error)
        self.reason: Reason = reason


class Located(msgspec.Struct, frozen=True, order=True):
    """The part of a pool's hashrate (H/s) that is at ``code``, and how that is known."""

    code: str
    hashrate: Hashrate
    kind: Kind


class Published(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the table that a report was made from: its figures as they were printed.

    ``share`` is in percent: of the world, or of its country where ``code`` is a subdivision.
    ``hashrate`` is in EH/s. What the table does not have is ``None``.
    """

    code: str
    share: Figure | None = None
    hashrate: Figure | None = None


class _Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What both messages say: a hashrate over ``[start, end)``, held for ``hold_s`` after it."""

    source: Slug
    start: Instant
    end: Instant
    hold_s: Hold
    hashrate: Hashrate
    fetched_at: Instant
    simulated: bool

    @property
    def length_s(self) -> float:
        """How long the claimed interval is, in seconds."""
        return (self.end - self.start).total_seconds()

    def __post_init__(self) -> None:
        for name in _INSTANTS:
            at = getattr(self, name)
            if at.tzinfo is not UTC:  # so that it goes on with Z, in whatever zone it came
                msgspec.structs.force_setattr(self, name, as_utc(at))
        if not math.isfinite(self.hashrate):
            raise ValueError("hashrate is not finite")
        if not self.start < self.end:
            raise ValueError("start is not before end")
        if self.length_s > MAX_LENGTH_S:
            raise ValueError("longer than 366 days")
        if self.length_s >= HOUR_S:
            if self.start.timestamp() % HOUR_S or self.end.timestamp() % HOUR_S:
                raise ValueError("an hour or longer, but does not start and end on whole hours")
            if self.hold_s:
                raise ValueError("an hour or longer, so hold_s must be 0")


class Report(
    _Claim, frozen=True, kw_only=True, omit_defaults=True, tag_field="schema", tag="report/1"
):
    """What one source says of one pool (method.md 2). Hashrates in H/s.

    ``blocks`` is how many blocks the hashrate follows from. Left out where the pool reports it: no
    share depends on it, it only says how sure a figure by blocks is.

    ``published`` is the table of a calendar month that the report was made from, line by line. The
    hashrates follow from it, but not the other way: its figures are rounded, and zero is spelt in
    more than one way. It is left out of what was made from no table.
    """

    pool: Slug
    places: tuple[Located, ...]
    blocks: Annotated[int, msgspec.Meta(ge=0, le=MAX_BLOCKS)] | None = None
    published: tuple[Published, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        seen: set[tuple[str, Kind]] = set()
        total = 0.0
        for place in self.places:
            if not math.isfinite(place.hashrate):
                raise ValueError(f"hashrate of {place.code} is not finite")
            _check_place(place.code)
            if (place.code, place.kind) in seen:
                raise ValueError(f"{place.code} is listed twice as {place.kind}")
            seen.add((place.code, place.kind))
            total += place.hashrate
        if total > self.hashrate * (1 + SUM_TOLERANCE):
            raise ValueError(f"places add up to {total:g} H/s, more than the {self.hashrate:g} H/s")
        if self.published:
            self._check_published()

    def _check_published(self) -> None:
        first = self.start.replace(day=1, hour=0)
        if self.start != first or self.end != add_months(first, 1):
            raise ValueError("published figures are of a calendar month, and this is none")
        seen = set()
        for line in self.published:
            _check_place(line.code)
            if line.code in seen:
                raise ValueError(f"{line.code} is published twice")
            if line.share is None and line.hashrate is None:
                raise ValueError(f"nothing is published of {line.code}")
            seen.add(line.code)


def _check_place(code: str) -> None:
    if not places.is_locatable(code):
        quoted = repr(code[:_LONGEST_QUOTE])
        raise ValueError(f"{quoted} is no place: {places.hint(code)}")


class Network(_Claim, frozen=True, kw_only=True, tag_field="schema", tag="network/1"):
    """What one source says of the whole network's hashrate (H/s)."""


Message: TypeAlias = Report | Network

NETWORK_KEY = "bitcoin"


class _Envelope(msgspec.Struct):
    schema: str


_envelope = msgspec.json.Decoder(_Envelope)
_decoders: dict[str, msgspec.json.Decoder[Message]] = {
    "report/1": msgspec.json.Decoder(Report),
    "network/1": msgspec.json.Decoder(Network),
}
_encoder = msgspec.json.Encoder()


def decode(raw: bytes) -> Message:
    """One message of either schema.

    Raises:
        InvalidMessageError: not JSON (``undecodable``), another schema (``schema``), or a rule of
            method.md 2 is broken (``invalid``).
    """
    try:
        schema = _envelope.decode(raw).schema
    except msgspec.ValidationError as error:
        raise InvalidMessageError("schema", f"no schema: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessageError("undecodable", str(error)) from None
    decoder = _decoders.get(schema)
    if decoder is None:
        known = ", ".join(_decoders)
        quoted = repr(schema[:_LONGEST_QUOTE])
        raise InvalidMessageError("schema", f"unknown schema {quoted}; known are {known}")
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidMessageError("invalid", str(error)) from None


def encode(message: Message) -> bytes:
    """The message as the UTF-8 JSON that goes on the wire."""
    return _encoder.encode(message)


def key(message: Message) -> bytes:
    """The Kafka key: all messages of one pool are in one partition, in order."""
    return (message.pool if isinstance(message, Report) else NETWORK_KEY).encode()
