"""Hashrates as pools write them, in H/s: ``126P``, ``173.25 EH/s``, ``3.92e3``, ``?``.

Prefixes are decimal (SI), never 1024. Unknown is ``None``, never 0.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Final

PREFIXES: Final[dict[str, Decimal]] = {
    letter: Decimal(10) ** (3 * power) for power, letter in enumerate(["", *"kMGTPEZ"])
}

# A number, then an optional prefix, then an optional "H", "Hs", "H/s" or "hps".
_SPELLING = re.compile(
    r"""\s*(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
        \s*(?P<prefix>[kKmMgGtTpPeEzZ]?)(?P<unit>[hH](?:/?[sS]|ps|PS)?)?\s*""",
    re.VERBOSE,
)
_UNKNOWN: Final = frozenset({"", "?", "-", "n/a", "null", "none"})


class HashrateError(ValueError):
    """Not a hashrate in any spelling that pools use."""


def scale(unit: str) -> Decimal:
    """How many H/s one of ``unit`` is: ``"th/s"``, ``"PH"``, ``"Gh/s"``, ``"E"``.

    Raises:
        HashrateError: no such unit.
    """
    match = _SPELLING.fullmatch("1" + unit)
    if match is None:
        raise HashrateError(f"unknown unit of hashrate: {unit!r}")
    return _prefix(match["prefix"])


def parse_hashrate(value: str | float | Decimal, unit: str = "H/s") -> float | None:
    """A hashrate in H/s, or ``None`` where the pool says that it does not know (``?``, -1, empty).

    Args:
        value: a number, or text with or without a prefix of its own.
        unit: of a bare number; a unit in the text itself wins.

    Raises:
        HashrateError: malformed, negative (but for the -1 and -2 that mean unknown), or not finite.
    """
    number, factor = _split(value)
    if number is None or number in (-1, -2):
        return None
    result = number * (scale(unit) if factor is None else factor)
    if not result.is_finite() or result < 0:
        raise HashrateError(f"not a hashrate: {value!r}")
    rounded = float(result)
    if rounded == float("inf"):
        raise HashrateError(f"not a hashrate: {value!r}")
    return rounded


def format_hashrate(hashrate: float, digits: int | None = 4) -> str:
    """For people: ``946 EH/s``. With ``digits=None`` it parses back to the same number."""
    exact = Decimal(repr(hashrate))
    letter = next((p for p, factor in reversed(PREFIXES.items()) if exact >= factor), "")
    number = exact / PREFIXES[letter]
    text = format(number, "f") if digits is None else format(float(number), f".{digits}g")
    return f"{text} {letter}H/s"


def _split(value: str | float | Decimal) -> tuple[Decimal | None, Decimal | None]:
    """The number, and the factor of the unit written behind it (``None`` where none is)."""
    if not isinstance(value, str):
        return Decimal(repr(value) if isinstance(value, float) else value), None
    if value.strip().lower() in _UNKNOWN:
        return None, None
    match = _SPELLING.fullmatch(value)
    if match is None:
        raise HashrateError(f"not a hashrate: {value[:64]!r}")
    try:
        number = Decimal(match["number"])
    except InvalidOperation:  # pragma: no cover - the pattern admits only numbers
        raise HashrateError(f"not a hashrate: {value[:64]!r}") from None
    has_unit = bool(match["prefix"] or match["unit"])
    return number, _prefix(match["prefix"]) if has_unit else None


def _prefix(letter: str) -> Decimal:
    return PREFIXES["k" if letter in "kK" and letter else letter.upper()]
