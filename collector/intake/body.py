"""JSON in the bodies of requests: errors name what cannot be read and where it is."""

from __future__ import annotations

import json
import math
from http import HTTPStatus
from typing import Final

import msgspec

from collector.intake.refusals import RefusedError
from miningmap.inputs import decode_json, without_mark

_WHOLE: Final = "the body"
_LONGEST_KEY: Final = 64


def decode_body(body: bytes) -> object:
    """Return the JSON of a whole body.

    Raises:
        RefusedError: it is not JSON (400), or no float holds a number in it (422).
    """
    return _decode(body, _WHOLE)


def decode_lines(body: bytes) -> list[object]:
    """Return the JSON of each line that is not empty.

    Raises:
        RefusedError: as :func:`decode_body`, with the number of the first such line.
    """
    return [
        _decode(line, f"line {number}")
        for number, line in enumerate(without_mark(body).splitlines(), start=1)
        if line.strip()
    ]


def _decode(raw: bytes, name: str) -> object:
    try:
        return decode_json(raw, object)
    except msgspec.ValidationError:  # JSON, but a number in it is out of range
        position = _position_of_infinite(raw)
        if name != _WHOLE:
            position = f"{name}: {position}".removesuffix(": ")
        text = f"{position or name}: the number is out of range; expected a finite number"
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, text) from None
    except msgspec.DecodeError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"{name} is not JSON: {error}") from None


def _position_of_infinite(raw: bytes) -> str:
    """Return where the first number is that no float holds, such as ``data[0].average_hashrate``.

    The empty string stands for the document itself. msgspec names the numbers of lists only.
    """
    try:
        document = json.loads(without_mark(raw), parse_int=float)
    except (ValueError, RecursionError):  # msgspec stopped at the number, before this
        return ""
    positions = [("", document)]
    while positions:
        position, value = positions.pop()
        match value:
            case float() if not math.isfinite(value):
                return position.removeprefix(".")
            case dict():
                inside = [(f"{position}.{key[:_LONGEST_KEY]}", item) for key, item in value.items()]
                positions += reversed(inside)
            case list():
                inside = [(f"{position}[{index}]", item) for index, item in enumerate(value)]
                positions += reversed(inside)
    return ""
