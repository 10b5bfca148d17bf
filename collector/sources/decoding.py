"""Decode response bodies: one expected shape, or the error that fits. One policy for all sources.

- Not JSON (HTML, a truncated body): transient. The server, or a proxy before it, has a problem.
- JSON that reports an error (``{"error": ...}``): transient, reason ``refused``, even where the
  expected shape would accept the body. Such a body is neither a figure nor "unknown".
- JSON of any other shape: permanent. Somebody has to look at the source.

Servers change between numbers and text with each edition, which is no other shape: text is read
where a number is expected, :data:`Figure` reads a hashrate in either form, and :data:`Label` an id
or a name.
"""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, TypeVar

import msgspec

from collector.sources.base import PermanentError, SourceError, TransientError
from miningmap import units
from miningmap.inputs import decode_json, in_words, matching, without_mark
from miningmap.times import parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from decimal import Decimal

T = TypeVar("T")

_NUMBER: Final = r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?|-[12](\.0+)?"
BareNumber: TypeAlias = Annotated[
    str, matching(rf"^({_NUMBER}|[?-]?)$(?!\n)", "a number without a unit")
]
"""A number as text, or unknown. Text with a unit in it does not match: its API has changed."""

Figure: TypeAlias = float | BareNumber
"""A hashrate without a unit, as a number or as text; for :func:`hashrate`."""

Label: TypeAlias = str | int | None
"""An id or a name, which some servers write as a number; ``str()`` makes both the same."""

_LONGEST_QUOTE: Final = 100


class _Reported(msgspec.Struct):
    """The fields in which APIs report an error although the status is 200."""

    error: object = None
    message: object = None


def decode(body: bytes, shape: type[T]) -> T:
    """Return the body as ``shape``.

    Raises:
        TransientError: the body is not JSON, or reports an error.
        PermanentError: the body is JSON of another shape.
    """
    if reported := _reported(body).error:
        raise refused(reported)
    try:
        return decode_json(body, shape, strict=False)
    except msgspec.ValidationError as error:
        raise unexpected(body, in_words(error)) from None
    except msgspec.DecodeError as error:
        refuse_html(body)
        raise TransientError(f"not JSON: {error}", reason="not_json") from None


def unexpected(body: bytes, text: str) -> SourceError:
    """Return the error for a body of another shape: its own message, if it has one, or ``text``."""
    if message := _reported(body).message:
        return refused(message)
    return PermanentError(f"unexpected shape: {text}", reason="shape")


def refuse_html(body: bytes) -> None:
    """Raise if the body is a web page: no source expects one, whatever its status.

    Raises:
        TransientError: the body is HTML.
    """
    if without_mark(body).lstrip()[:1] == b"<":
        raise TransientError("not JSON but HTML", reason="not_json")


def refused(*parts: object) -> TransientError:
    """Return the error for a response that reports an error although its status is 200."""
    text = " ".join(filter(None, map(_text, parts)))
    return TransientError(f"the server reported {text[:_LONGEST_QUOTE]!r}", reason="refused")


def hashrate(
    value: str | float | Decimal | None,
    unit: str = "H/s",
    *,
    least: float = 0,
    most: float = math.inf,
) -> float | None:
    """Return a hashrate in H/s, or ``None`` where the source does not know it.

    Args:
        value: what the source gives.
        unit: of ``value``, if that is a bare number.
        least: the smallest credible hashrate other than 0, in H/s.
        most: the largest credible hashrate, in H/s.

    Raises:
        PermanentError: not a hashrate, in an unknown unit, or so far from what is credible that the
            unit must be another one.
    """
    if value is None:
        return None
    try:
        figure = units.parse_hashrate(value, unit)
    except units.HashrateError as error:
        raise PermanentError(str(error), reason="unit") from None
    if figure and not least <= figure <= most:
        raise PermanentError(
            f"{figure:g} H/s is not between {least:g} and {most:g} H/s; has the unit changed?",
            reason="unit",
        )
    return figure


def part_of_network(value: Figure | None, network: Figure | None) -> float | None:
    """Return a pool's hashrate (H/s), checked against the network's in the same response.

    Raises:
        PermanentError: more than the network, so the unit must be another one.
        TransientError: the network's hashrate is unknown or 0, as while the server's own node is
            down, so that nothing exposes a wrong unit.
    """
    most = hashrate(network)
    if most:
        return hashrate(value, most=most)
    if pool := hashrate(value):
        text = f"{pool:g} H/s cannot be checked: the response has no hashrate of the network"
        raise TransientError(text, reason="refused")
    return pool


def is_named(text: str, name: str) -> bool:
    """Return whether a word that an API writes is this one, in upper or lower case."""
    return text.strip().casefold() == name.casefold()


def entry(entries: Iterable[T], name: str, name_of: Callable[[T], str]) -> T:
    """Return the first entry of a list that has a name, in upper or lower case.

    Raises:
        PermanentError: none has. That is no unknown figure: the API has changed its names.
    """
    listed = list(entries)
    for candidate in listed:
        if is_named(name_of(candidate), name):
            return candidate
    names = ", ".join(map(name_of, listed))[:_LONGEST_QUOTE] or "nothing"
    raise PermanentError(f"{name} is not in the list, which has {names}", reason="shape")


def sum_or_unknown(figures: Iterable[float | None]) -> float | None:
    """Return the sum, or ``None`` if any part is unknown.

    Without the unknown part, the whole would seem to have shrunk.
    """
    total = 0.0
    for figure in figures:
        if figure is None:
            return None
        total += figure
    return total


def unix_time(number: float, *, per_second: int = 1) -> datetime:
    """Return the time that is ``number / per_second`` seconds after the start of 1970, UTC.

    Raises:
        PermanentError: before the year 1, or after the year 9999: the API has changed its unit.
    """
    # OSError: what the C library says of a time that its calendar does not reach.
    with suppress(OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(number / per_second, UTC)
    text = "a time is not in the years 1 to 9999; has its unit changed?"
    raise PermanentError(text, reason="shape")


def iso_time(value: object) -> datetime | None:
    """Return the time of a text (RFC 3339), or ``None`` if it has no zone or is something else."""
    with suppress(ValueError):
        return parse_rfc3339(value) if isinstance(value, str) else None
    return None


def _reported(body: bytes) -> _Reported:
    try:
        return decode_json(body, _Reported)
    except msgspec.DecodeError:  # not an object: it has no such fields
        return _Reported()


def _text(part: object) -> str:
    """Return the text of an error: its code and message, if it is an object with these."""
    if isinstance(part, dict) and (known := [part[k] for k in ("code", "message") if k in part]):
        return " ".join(map(_text, known))
    if part is None or isinstance(part, str):
        return part or ""
    return msgspec.json.encode(part).decode()
