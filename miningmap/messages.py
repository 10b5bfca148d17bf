"""The messages in Kafka, ``report/1`` and ``network/1``, and all rules for them.

A message contains what one source reported and nothing else; it is interpreted when a question is
asked. :func:`decode` and the constructors check all rules of method.md 2, so no later code
checks them again.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, cast

import msgspec

from miningmap import places
from miningmap.inputs import in_words, matching, without_mark
from miningmap.times import HOUR_S, add_months, as_utc, parse_rfc3339
from miningmap.unambiguous import check_unambiguous, is_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Kind: TypeAlias = Literal["measured", "declared", "estimated", "prior"]
"""How the place of a hashrate is known: the pool sees it, a dated source states it, it is inferred,
or it is assumed."""

KINDS: tuple[Kind, ...] = ("measured", "declared", "estimated", "prior")
"""From best to worst."""

Basis: TypeAlias = Literal["reported", "relayed", "mined"]
"""Who a pool's hashrate is from: the pool or its partner, somebody who repeats it, its blocks."""

BASES: tuple[Basis, ...] = ("reported", "relayed", "mined")
"""From best to worst."""

SLUG_RULE = (
    "lower-case letters, digits, '.', '_' and '-', at most 64, the first one a letter or a digit"
)
SLUG = r"^[a-z0-9][a-z0-9._-]{0,63}$(?!\n)"  # in Python $ alone also matches before a newline
FIGURE = r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?"
"""The pattern of a figure as published tables print it."""

# Far beyond any plausible report; the limits keep one message from filling Redis with cells.
MAX_HOLD_S = 86_400
MAX_LENGTH_S = 366 * 86_400
MAX_BLOCKS = 100_000  # more than are found in 366 days
MAX_FIGURE = 64  # characters of a printed figure; a float needs 24
MAX_HASHRATE = 1e30  # a thousand million times the network of 2026; sums of it stay finite
# A pool's hashrates are floats around 1e20; sums that differ by less than this part are equal.
SUM_TOLERANCE = 1e-9

Slug: TypeAlias = Annotated[str, matching(SLUG, f"a slug ({SLUG_RULE})")]
Hashrate: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=MAX_HASHRATE)]
Figure: TypeAlias = Annotated[
    str,
    matching(rf"^{FIGURE}$(?!\n)", "a figure as a table prints it, such as 12.5 or 2e1"),
    msgspec.Meta(max_length=MAX_FIGURE),
]
Instant: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
Hold: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MAX_HOLD_S)]

_INSTANTS = ("start", "end", "fetched_at")
_usual_codes: set[str] = set()
"""The places that were checked once, and at which hashrate counts as it is: a test of all places of
a message at once is fast."""
_LONGEST_QUOTE = 64

Reason: TypeAlias = Literal["undecodable", "schema", "invalid", "key", "too_late"]
"""Why a message is a dead letter."""


class InvalidMessageError(ValueError):
    """A message cannot be used; ``reason`` classifies the error, and the text explains it."""

    def __init__(self, reason: Reason, error: str) -> None:
        super().__init__(error)
        self.reason: Reason = reason


class LineError(ValueError):
    """A line is not a valid message; the text has the number of the line and the reason."""


class Located(msgspec.Struct, frozen=True, order=True):
    """The part of a pool's hashrate (H/s) at the place ``code``, and how the place is known."""

    code: str
    hashrate: Hashrate
    kind: Kind


class Published(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the published table from which a report was made, with its figures as printed.

    ``share`` is in percent: of the world, or of its country if ``code`` is a subdivision.
    ``hashrate`` is in EH/s. A figure that the table does not have is ``None``.
    """

    code: str
    share: Figure | None = None
    hashrate: Figure | None = None


class _Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of both messages: a claim of a hashrate over ``[start, end)``.

    For ``hold_s`` seconds after ``end`` it stands in for the next claim, so that a late poll leaves
    no gap.
    """

    source: Slug
    start: Instant
    end: Instant
    hold_s: Hold
    hashrate: Hashrate
    fetched_at: Instant
    simulated: bool

    @property
    def length_s(self) -> float:
        """The length of the interval in seconds."""
        return (self.end - self.start).total_seconds()

    def is_about(self, since: datetime | None, until: datetime | None) -> bool:
        """Return whether any of it, its hold included, is in ``[since, until)``."""
        if since and self.end.timestamp() + self.hold_s <= since.timestamp():
            return False
        return until is None or self.start < until

    def __post_init__(self) -> None:
        if not (self.start.tzinfo is self.end.tzinfo is self.fetched_at.tzinfo is UTC):
            for name in _INSTANTS:  # encoded times end with Z, whatever zone they arrived in
                msgspec.structs.force_setattr(self, name, as_utc(getattr(self, name)))
        if not math.isfinite(self.hashrate):
            raise ValueError("hashrate is not finite")
        if not self.start < self.end:
            raise ValueError("start is not before end")
        length_s = self.length_s
        if length_s > MAX_LENGTH_S:
            raise ValueError("longer than 366 days")
        if length_s >= HOUR_S:
            if self.start.timestamp() % HOUR_S or self.end.timestamp() % HOUR_S:
                raise ValueError("an hour or longer, but does not start and end on whole hours")
            if self.hold_s:
                raise ValueError("an hour or longer, so hold_s must be 0")


class Report(
    _Claim, frozen=True, kw_only=True, omit_defaults=True, tag_field="schema", tag="report/1"
):
    """What one source reports about one pool (method.md 2). Hashrates are in H/s.

    ``basis`` says who the hashrate is from. A message without it is ``mined`` if it has ``blocks``
    and ``reported`` otherwise; every message that is written has it.

    ``blocks`` is the number of blocks from which the hashrate was estimated; ``None`` if it was not
    estimated from blocks, or from an unknown number of them. No share depends on it: it tells how
    uncertain the estimate is.

    Of nested subdivisions the outermost counts: ``places`` has their hashrates added up there,
    whichever of them the message named. A message itself lists each (code, kind) once.

    ``published`` has the lines of the monthly table from which the report was made, if any. The
    hashrates can be computed from the lines, but not the lines from the hashrates, because the
    printed figures are rounded and write zero in more than one way.
    """

    pool: Slug
    places: tuple[Located, ...]
    # Optional in messages, and never unset after the constructor.
    basis: Basis = cast("Basis", msgspec.UNSET)
    blocks: Annotated[int, msgspec.Meta(ge=0, le=MAX_BLOCKS)] | None = None
    published: tuple[Published, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_basis()
        total = sum([place.hashrate for place in self.places])
        codes = {place.code for place in self.places}
        is_usual = len(codes) == len(self.places) and codes <= _usual_codes
        if not (is_usual and math.isfinite(total)):
            self._check_places()
        if total > self.hashrate * (1 + SUM_TOLERANCE):
            raise ValueError(
                f"places add up to {total:.12g} H/s, more than the {self.hashrate:.12g} H/s"
            )
        if not is_usual and any(places.outermost(code) != code for code in codes):
            msgspec.structs.force_setattr(self, "places", tuple(_at_outermost(self.places)))
        if self.published:
            self._check_published()

    def _check_places(self) -> None:
        seen: set[tuple[str, Kind]] = set()
        for place in self.places:
            if not math.isfinite(place.hashrate):
                raise ValueError(f"hashrate of {place.code} is not finite")
            check_place(place.code)
            if (place.code, place.kind) in seen:
                raise ValueError(f"{place.code} is listed twice as {place.kind}")
            seen.add((place.code, place.kind))
            if places.outermost(place.code) == place.code:
                _usual_codes.add(place.code)

    def _check_basis(self) -> None:
        if cast("object", self.basis) is msgspec.UNSET:
            basis: Basis = "reported" if self.blocks is None else "mined"
            msgspec.structs.force_setattr(self, "basis", basis)
        elif self.blocks is not None and self.basis != "mined":
            raise ValueError(f"basis is {self.basis}, but a figure from blocks is mined")

    def _check_published(self) -> None:
        first = self.start.replace(day=1, hour=0)
        if self.start != first or self.end != add_months(first, 1):
            raise ValueError("published figures need the start and end of one calendar month")
        seen = set()
        for line in self.published:
            check_place(line.code)
            if line.code in seen:
                raise ValueError(f"{line.code} is published twice")
            if line.share is None and line.hashrate is None:
                raise ValueError(f"neither share nor hashrate is published for {line.code}")
            seen.add(line.code)


def _at_outermost(located: Iterable[Located]) -> Iterator[Located]:
    by_kind: dict[Kind, list[Located]] = {}
    for place in located:
        by_kind.setdefault(place.kind, []).append(place)
    for kind, members in by_kind.items():
        sums = places.by_outermost((place.code, place.hashrate) for place in members)
        yield from (Located(code, hashrate, kind) for code, hashrate in sums.items())


def check_place(code: str) -> None:
    """Check that a message may place hashrate at a code.

    Raises:
        ValueError: it may not; the text has a hint.
    """
    if not places.is_locatable(code):
        quoted = repr(code[:_LONGEST_QUOTE])
        raise ValueError(f"{quoted} is not a place: {places.hint(code)}")


class Network(_Claim, frozen=True, kw_only=True, tag_field="schema", tag="network/1"):
    """What one source reports about the whole network's hashrate (H/s)."""


Message: TypeAlias = Report | Network

NETWORK_KEY = "bitcoin"


class _Envelope(msgspec.Struct):
    schema: str


_envelope = msgspec.json.Decoder(_Envelope)
_decoders: dict[str, msgspec.json.Decoder[Message]] = {
    "report/1": msgspec.json.Decoder(Report),
    "network/1": msgspec.json.Decoder(Network),
}
_usual: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Report | Network)
_encoder = msgspec.json.Encoder()


def decode(raw: bytes) -> Message:
    """Decode and check one message of either schema.

    Raises:
        InvalidMessageError: not JSON (``undecodable``), an unknown schema (``schema``), or against
            a rule of method.md 2 (``invalid``): also a repeated key, and text that is not Unicode.
    """
    raw = without_mark(raw)
    message = _decode(raw)
    # Nearly every message is as encode() writes it, which has no key twice and is valid UTF-8.
    if _encoder.encode(message) != raw:
        _check_text(raw)
    return message


def _check_text(raw: bytes) -> None:
    try:
        check_unambiguous(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidMessageError("invalid", str(error)) from None


def _decode(raw: bytes) -> Message:
    try:
        return _usual.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # what follows says why, or decodes it after all
    try:
        schema = _envelope.decode(raw).schema
    except msgspec.ValidationError as error:
        raise InvalidMessageError("schema", f"no schema: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason: Reason = "invalid" if is_json(raw) else "undecodable"
        raise InvalidMessageError(reason, str(error)) from None
    decoder = _decoders.get(schema)
    if decoder is None:
        known = ", ".join(_decoders)
        quoted = repr(schema[:_LONGEST_QUOTE])
        raise InvalidMessageError("schema", f"unknown schema {quoted}; expected one of: {known}")
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        return _decode_with_all_times(raw, decoder.type, error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessageError("invalid", in_words(error)) from None


def _decode_with_all_times(
    raw: bytes, shape: type[Message], error: msgspec.ValidationError
) -> Message:
    """Decode a message that msgspec alone does not, with the times that it does not read.

    Messages come by the thousand, and msgspec's reader of times is many times as fast as
    :func:`parse_rfc3339`. But it knows neither leap seconds nor some forms that are in use.

    Raises:
        InvalidMessageError: the times are not why it failed, or not the only reason.
    """
    try:
        fields = msgspec.json.decode(raw, type=dict[str, object])
        given = {name: fields[name] for name in _INSTANTS if isinstance(fields.get(name), str)}
        times = {name: parse_rfc3339(str(text)) for name, text in given.items()}
    except (ValueError, RecursionError):
        raise InvalidMessageError("invalid", in_words(error)) from None
    try:
        return msgspec.convert(fields | times, shape)
    except msgspec.ValidationError as remaining:
        raise InvalidMessageError("invalid", in_words(remaining)) from None


def decode_lines(lines: Iterable[bytes]) -> Iterator[Message]:
    """Decode messages, one per line; empty lines are skipped.

    Raises:
        LineError: a line is not a valid message.
    """
    return (message for _, message in decode_numbered(lines))


def decode_numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, Message]]:
    """Like :func:`decode_lines`, each message with the number of its line, counted from 1."""
    return ((number, message) for number, _, message in _decoded(lines))


def decode_with_lines(lines: Iterable[bytes]) -> Iterator[tuple[bytes, Message]]:
    """Like :func:`decode_lines`, each message with its line as it came."""
    return ((line, message) for _, line, message in _decoded(lines))


def _decoded(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes, Message]]:
    for number, line in enumerate(lines, start=1):
        if not without_mark(line).strip():
            continue
        try:
            yield number, line, decode(line)
        except InvalidMessageError as error:
            raise LineError(f"line {number}: {error.reason}: {error}") from None


def encode(message: Message) -> bytes:
    """Encode the message as JSON in UTF-8."""
    return _encoder.encode(message)


def key(message: Message) -> bytes:
    """The Kafka key of the message, which keeps all messages of one pool in order."""
    return (message.pool if isinstance(message, Report) else NETWORK_KEY).encode()


def decode_keyed(raw: bytes | None, found: bytes | None) -> Message:
    """Decode and check one message as it is in Kafka, with its key.

    Raises:
        InvalidMessageError: :func:`decode` or :func:`check_key` refuses it.
    """
    message = decode(raw or b"")
    check_key(message, found)
    return message


def check_key(message: Message, found: bytes | None) -> None:
    """Check that a message has its Kafka key.

    One without a key is refused like one with another: its partition is chance, and so two
    consumers could write one pool at the same time.

    Raises:
        InvalidMessageError: it has another key or none (``key``).
    """
    expected = key(message)
    if found != expected:
        is_now = "none" if found is None else ascii(found[:_LONGEST_QUOTE].decode(errors="replace"))
        raise InvalidMessageError("key", f"the key should be '{expected.decode()}'; it is {is_now}")
