"""What adapters do with a body: JSON of exactly one shape, or the right one of the errors.

One policy for all of them. Not JSON (HTML, a body cut short): the server or the way to it is
unwell, try again. JSON that is the server's error: the same. JSON of another shape: permanent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, TypeVar

import msgspec

from collector.sources.base import PermanentError, TransientError
from miningmap import units

if TYPE_CHECKING:
    from decimal import Decimal

T = TypeVar("T")

BareNumber: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^([0-9]+(\.[0-9]+)?|-[12]|[?-]?)$")]
"""A number as text, or unknown. One with a unit behind it would be another API."""

_LONGEST_QUOTE: Final = 100


class _Refusal(msgspec.Struct):
    """How APIs say in a 200 that something went wrong."""

    error: str | None = None
    message: str | None = None


def decode(body: bytes, shape: type[T]) -> T:
    """The body as ``shape``.

    Raises:
        TransientError: not JSON, or an error that came as a 200.
        PermanentError: JSON of another shape.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        if said := _refusal(body):
            raise refused(said) from None
        raise PermanentError(f"another shape: {error}", reason="shape") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        refuse_html(body)
        raise TransientError(f"no JSON: {error}", reason="not_json") from None


def refuse_html(body: bytes) -> None:
    """Raise if the body is a page for people: no source wants one, whatever its status.

    Raises:
        TransientError: it is.
    """
    if body.lstrip()[:1] == b"<":
        raise TransientError("no JSON: HTML", reason="not_json")


def refused(said: str) -> TransientError:
    """The error for an answer that is an error but came as a 200."""
    return TransientError(f"answered {said[:_LONGEST_QUOTE]!r}", reason="refused")


def hashrate(value: str | float | Decimal | None, unit: str = "H/s") -> float | None:
    """A hashrate in H/s; ``None`` where the source does not know. ``unit`` is a bare number's.

    Raises:
        PermanentError: no hashrate, or in a unit that nobody has heard of.
    """
    if value is None:
        return None
    try:
        return units.parse_hashrate(value, unit)
    except units.HashrateError as error:
        raise PermanentError(str(error), reason="unit") from None


def _refusal(body: bytes) -> str | None:
    try:
        refusal = msgspec.json.decode(body, type=_Refusal)
    except msgspec.DecodeError:
        return None
    return refusal.error or refusal.message
