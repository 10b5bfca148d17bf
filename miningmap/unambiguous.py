"""JSON that every reader understands alike: no key twice in an object, and only Unicode text. Pure.

RFC 8259 leaves it open what a reader makes of a repeated key: most take the last value, some the
first, and msgspec does not see it. So two readers of one message could see two figures.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

_decode = msgspec.json.Decoder().decode


def check_unambiguous(raw: bytes) -> None:
    """Check JSON of any shape, 10 µs for a report of 20 places.

    Raises:
        ValueError: a key is repeated, or a string is not Unicode text, or it is no JSON.
    """
    if b"\\" in raw:
        _check_with_escapes(raw)
    # Without escapes no string has a quotation mark in it: each '":' is the end of a key.
    elif msgspec.json.format(raw, indent=-1).count(b'":') != _keys(_decode(raw)):
        _check_with_escapes(raw)  # which names the key


def is_json(raw: bytes) -> bool:
    """Return whether bytes are JSON if the text in its strings does not matter."""
    try:
        json.loads(raw.decode(errors="surrogateescape"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _keys(value: object) -> int:
    """Return the number of keys of all objects in a document."""
    if isinstance(value, dict):
        return len(value) + sum(map(_keys, value.values()))
    return sum(map(_keys, value)) if isinstance(value, list) else 0


def _check_with_escapes(raw: bytes) -> None:
    """Check JSON as :func:`check_unambiguous` does, in several times the time."""
    document = json.loads(raw.decode(), object_pairs_hook=_distinct, parse_constant=_refuse)
    json.dumps(document, ensure_ascii=False).encode()  # fails at lone surrogates


def _distinct(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:64]!a} is repeated in one object")
        found[key] = value
    return found


def _refuse(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is no JSON")
