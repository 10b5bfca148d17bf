"""Parse hashrates as pools write them (``126P``, ``173.25 EH/s``, ``3.92e3``, ``?``) into H/s.

Prefixes are decimal (SI), never powers of 1024. Unknown is ``None``, never 0.
"""

from __future__ import annotations

import math
import re
import sys
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Final

PREFIXES: Final[dict[str, Decimal]] = {
    letter: Decimal(10) ** (3 * power) for power, letter in enumerate(["", *"kMGTPEZ"])
}

_NUMBER = r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
# "H", "Hs", "H/s" and "hps" all are hashes per second, in upper or lower case.
_UNIT = r"(?P<prefix>[kKmMgGtTpPeEzZ]?)(?P<hashes>[hH](?:/?[sS]|[pP][sS])?)?"
_SPELLING: Final = re.compile(rf"{_NUMBER}\s*{_UNIT}")
_UNIT_ALONE: Final = re.compile(_UNIT)

_UNKNOWN: Final = frozenset({"", "?", "-", "n/a", "null", "none"})
_UNKNOWN_NUMBERS: Final = (-1, -2)
# Without traps an invalid or too large number becomes NaN or infinity, which one check at the end
# finds. 50 digits are more than twice as many as any pool writes.
_CONTEXT: Final = Context(prec=50, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
_LONGEST_QUOTE: Final = 64


class HashrateError(ValueError):
    """A value is not a hashrate in any spelling that pools use."""


def scale(unit: str) -> Decimal:
    """The number of H/s in one ``unit``, such as ``"th/s"``, ``"PH"``, ``"Gh/s"`` or ``"E"``.

    Raises:
        HashrateError: the unit is unknown.
    """
    match = _UNIT_ALONE.fullmatch(unit.strip())
    if match is None or not match[0]:
        raise HashrateError(f"unknown unit of hashrate: {unit[:_LONGEST_QUOTE]!r}")
    return _prefix(match["prefix"])


def parse_hashrate(value: str | float | Decimal, unit: str = "H/s") -> float | None:
    """Parse a hashrate; the result is in H/s, or ``None`` if it means unknown (``?``, -1, empty).

    Args:
        value: a number, or text with or without a unit.
        unit: of a number without a unit; a unit in the text takes precedence.

    Raises:
        HashrateError: malformed, negative (except -1 and -2, which mean unknown), or not finite.
    """
    factor: Decimal | None = None
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in _UNKNOWN:
            return None
        number, factor = _split(text)
    else:
        number = _exact(value)
    if not number.is_finite():
        raise _not_a_hashrate(value)
    if factor is None:
        if number in _UNKNOWN_NUMBERS:
            return None
        factor = scale(unit)
    hashrate = float(_CONTEXT.multiply(number, factor))
    if hashrate < 0 or math.isinf(hashrate):
        raise _not_a_hashrate(value)
    return abs(hashrate)  # not -0.0


def format_hashrate(hashrate: float, digits: int | None = 4) -> str:
    """Format a hashrate (H/s) for people, as ``946 EH/s``.

    Args:
        hashrate: in H/s.
        digits: significant digits; with ``None`` the text parses back to the same number.

    Raises:
        HashrateError: the hashrate is not finite.
    """
    if not math.isfinite(hashrate):
        raise HashrateError(f"not a hashrate: {hashrate!r}")
    exact = Decimal(repr(hashrate))
    size = abs(exact)
    letter = next((p for p, factor in reversed(PREFIXES.items()) if size >= factor), "")
    number = _CONTEXT.divide(exact, PREFIXES[letter])
    text = format(number, "f") if digits is None else format(float(number), f".{digits}g")
    return f"{text} {letter}H/s"


def _split(text: str) -> tuple[Decimal, Decimal | None]:
    """The number, and the factor of the unit after it (``None`` if there is no unit)."""
    match = _SPELLING.fullmatch(text)
    if match is None:
        raise _not_a_hashrate(text)
    prefix, hashes = match["prefix"], match["hashes"]
    if prefix == "e" and not hashes:  # "5e" is a truncated number, not 5 EH/s
        raise _not_a_hashrate(text)
    return _CONTEXT.create_decimal(match["number"]), _prefix(prefix) if prefix or hashes else None


def _exact(value: float | Decimal) -> Decimal:
    if isinstance(value, Decimal):
        return _CONTEXT.create_decimal(value)
    # JSON's true is not a hashrate, and converting an integer of a million digits takes seconds.
    if isinstance(value, bool) or abs(value) > sys.float_info.max:
        raise _not_a_hashrate(value)
    return _CONTEXT.create_decimal(repr(value))


def _prefix(letter: str) -> Decimal:
    return PREFIXES["k" if letter in {"k", "K"} else letter.upper()]


def _not_a_hashrate(value: object) -> HashrateError:
    # Python refuses to convert an integer of thousands of digits to text.
    too_large = isinstance(value, int) and abs(value) > 10**30
    quoted = "an integer too large" if too_large else repr(value)
    return HashrateError(f"not a hashrate: {quoted[:_LONGEST_QUOTE]}")
