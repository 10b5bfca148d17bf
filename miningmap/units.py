"""Hashrates as pools write them, in H/s: ``126P``, ``173.25 EH/s``, ``3.92e3``, ``?``.

Prefixes are decimal (SI), never 1024. Unknown is ``None``, never 0.
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
# "H", "Hs", "H/s" and "hps" are hashes per second; pools differ in upper and lower case.
_UNIT = r"(?P<prefix>[kKmMgGtTpPeEzZ]?)(?P<hashes>[hH](?:/?[sS]|[pP][sS])?)?"
_SPELLING: Final = re.compile(rf"{_NUMBER}\s*{_UNIT}")
_UNIT_ALONE: Final = re.compile(_UNIT)

_UNKNOWN: Final = frozenset({"", "?", "-", "n/a", "null", "none"})
_UNKNOWN_NUMBERS: Final = (-1, -2)
# Without traps, what is no number or too large becomes NaN or infinity, for the one check at the
# end; 50 digits are more than twice what any pool writes.
_CONTEXT: Final = Context(prec=50, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
_LONGEST_QUOTE: Final = 64


class HashrateError(ValueError):
    """Not a hashrate in any spelling that pools use."""


def scale(unit: str) -> Decimal:
    """How many H/s one of ``unit`` is: ``"th/s"``, ``"PH"``, ``"Gh/s"``, ``"E"``.

    Raises:
        HashrateError: no such unit.
    """
    match = _UNIT_ALONE.fullmatch(unit.strip())
    if match is None or not match[0]:
        raise HashrateError(f"unknown unit of hashrate: {unit[:_LONGEST_QUOTE]!r}")
    return _prefix(match["prefix"])


def parse_hashrate(value: str | float | Decimal, unit: str = "H/s") -> float | None:
    """A hashrate in H/s, or ``None`` where the pool says that it does not know (``?``, -1, empty).

    Args:
        value: a number, or text with or without a prefix of its own.
        unit: of a bare number; a unit in the text itself wins.

    Raises:
        HashrateError: malformed, negative (but for the -1 and -2 that mean unknown), or not finite.
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
        raise _no_hashrate(value)
    if factor is None:
        if number in _UNKNOWN_NUMBERS:
            return None
        factor = scale(unit)
    hashrate = float(_CONTEXT.multiply(number, factor))
    if hashrate < 0 or math.isinf(hashrate):
        raise _no_hashrate(value)
    return abs(hashrate)  # there is no -0.0


def format_hashrate(hashrate: float, digits: int | None = 4) -> str:
    """For people: ``946 EH/s``. With ``digits=None`` it parses back to the same number.

    Raises:
        HashrateError: not finite.
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
    """The number, and the factor of the unit written behind it (``None`` where none is)."""
    match = _SPELLING.fullmatch(text)
    if match is None:
        raise _no_hashrate(text)
    prefix, hashes = match["prefix"], match["hashes"]
    if prefix == "e" and not hashes:  # "5e" is a number cut short, not 5 EH/s
        raise _no_hashrate(text)
    return _CONTEXT.create_decimal(match["number"]), _prefix(prefix) if prefix or hashes else None


def _exact(value: float | Decimal) -> Decimal:
    if isinstance(value, Decimal):
        return _CONTEXT.create_decimal(value)
    # JSON's true is no hashrate; and an integer of a million digits takes seconds to convert.
    if isinstance(value, bool) or abs(value) > sys.float_info.max:
        raise _no_hashrate(value)
    return _CONTEXT.create_decimal(repr(value))


def _prefix(letter: str) -> Decimal:
    return PREFIXES["k" if letter in {"k", "K"} else letter.upper()]


def _no_hashrate(value: object) -> HashrateError:
    # Python refuses to write out an integer of thousands of digits.
    said = "an integer too large" if isinstance(value, int) and abs(value) > 10**30 else repr(value)
    return HashrateError(f"not a hashrate: {said[:_LONGEST_QUOTE]}")
