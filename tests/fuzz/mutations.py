"""Inputs that resemble good ones: words replaced, repeated, moved and left out, and bytes changed.

All formats that the project reads consist of words and punctuation (JSON, TOML, CSV, queries,
times), so a change of words gets past a parser's first check far more often than one of bytes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

LONGEST: Final = 16_384
"""The longest input, in bytes."""

_WORD: Final = re.compile(rb'"(?:[^"\\\n]|\\.)*"|[-+.:\w\x80-\xff]+|[^\s\w]')
_NASTY: Final = (
    *(b"0 -0 -1 1 -2 00 1e999 -1e999 1e308 1e-320 0.1 NaN -nan Infinity null true false".split()),
    *(str(2**power + by).encode() for power in (31, 32, 53, 63, 64) for by in (-1, 0, 1)),
    *(str(10**power).encode() for power in (9, 15, 18, 20, 21, 22, 30, 400)),
    *(b'"" "?" "-" "-1" "0" "n/a" "\\u0000" "\\ud800" "\\ud800\\udc00" "\\"" "\\n"'.split()),
    *(b'"0001-01-01T00:00:00Z" "9999-12-31T23:59:59.999999999Z" "1970-01-01T00:00:00Z"'.split()),
    *(b'"9999-12-31T23:59:59-23:59" "0001-01-01T00:00:00+23:59" "2026-02-30T00:00:00Z"'.split()),
    *(b'"2026-11-22T14:59:60Z" "2026-11-22" "2026-13-01" 2026-11-22 9999-12-31 0001-01-01'.split()),
    *(b'"US" "CN-SC" "CN-HK" "US-PR" "FR-75C" "OTHER" "CN-OTHER" "UNKNOWN" "us" "XX" "A2"'.split()),
    *(b'"EH/s" "zh/s" "1 EH/s" "1e30 ZH/s" "measured" "prior" "daily" "monthly" "hourly"'.split()),
    *(
        b"{} [] [[]] {{ ]] , : ; = & % ' \" \\ * ? # .. / %00 %ff %C3%28 + \t \r \n \r\n".split(
            b" "
        )
    ),
    b"",
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    "\N{LINE SEPARATOR}".encode(),
    "\N{RIGHT-TO-LEFT OVERRIDE}".encode(),
    "\N{ARABIC-INDIC DIGIT THREE}".encode(),
    "\N{SUPERSCRIPT TWO}".encode(),
    b"[" * 2_000,
    b'{"a":' * 500,
    b"9" * 5_000,
    b'"' + b"x" * 5_000 + b'"',
)


def mutated(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Return an input with a few changes.

    Args:
        data: a good input, or one that was changed before.
        others: good inputs, of which parts are taken.
        random: decides.
    """
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        change = random.choice(_CHANGES)
        data = change(data, others, random)[:LONGEST]
    return data


def _replace(data: bytes, _others: Sequence[bytes], random: Random) -> bytes:
    return _at_a_word(data, random, lambda _: random.choice(_NASTY))


def _replace_by_another(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    words = _WORD.findall(random.choice(others)) if others else []
    return _at_a_word(data, random, lambda word: random.choice(words) if words else word)


def _repeat(data: bytes, _others: Sequence[bytes], random: Random) -> bytes:
    number = random.choice((2, 2, 3, 50))
    return _at_a_word(data, random, lambda word: word * number)


def _leave_out(data: bytes, _others: Sequence[bytes], random: Random) -> bytes:
    return _at_a_word(data, random, lambda _: b"")


def _repeat_part(data: bytes, _others: Sequence[bytes], random: Random) -> bytes:
    start, end = _range(data, random)
    at = random.randint(0, len(data))
    return data[:at] + data[start:end] * random.choice((1, 1, 2, 20)) + data[at:]


def _leave_out_part(data: bytes, _others: Sequence[bytes], random: Random) -> bytes:
    start, end = _range(data, random)
    return data[:start] + data[end:]


def _truncate(data: bytes, _others: Sequence[bytes], random: Random) -> bytes:
    return data[: random.randint(0, len(data))]


def _splice(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    if not others:
        return data
    other = random.choice(others)
    return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]


def _change_byte(data: bytes, _others: Sequence[bytes], random: Random) -> bytes:
    if not data:
        return random.randbytes(random.randint(0, 8))
    at = random.randrange(len(data))
    return data[:at] + random.randbytes(random.randint(0, 2)) + data[at + 1 :]


_CHANGES: Final = (
    *(_replace, _replace, _replace, _replace_by_another, _replace_by_another, _repeat, _leave_out),
    *(_repeat_part, _leave_out_part, _truncate, _splice, _change_byte),
)


def _at_a_word(data: bytes, random: Random, change: Callable[[bytes], bytes]) -> bytes:
    words = list(_WORD.finditer(data))
    if not words:
        return data + random.choice(_NASTY)
    word = random.choice(words)
    return data[: word.start()] + change(word[0]) + data[word.end() :]


def _range(data: bytes, random: Random) -> tuple[int, int]:
    start = random.randint(0, len(data))
    return start, min(len(data), start + random.choice((1, 4, 16, 64, 256)))
