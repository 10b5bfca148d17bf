"""Text from outside: UTF-8, with or without a byte order mark, and JSON. One policy for all.

Editors and spreadsheets on Windows write the mark; it says nothing, and no reader may fail at it.
"""

from __future__ import annotations

import tomllib
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

T = TypeVar("T")

MARK: Final = "\ufeff"
"""The byte order mark in text."""
ENCODING: Final = "utf-8-sig"
"""The encoding of text files from outside, for ``open()``: UTF-8, without the byte order mark."""

_LINES_BETWEEN: Final = 1000

_EXPECTED: Final[dict[str, str]] = {}
"""What a text of each pattern is, in words, by how msgspec quotes the pattern."""


def matching(pattern: str, expected: str) -> msgspec.Meta:
    """Return the constraint of a text that must match a pattern.

    Args:
        pattern: a regular expression.
        expected: what such a text is, for :func:`in_words`: "a slug".
    """
    _EXPECTED[f"`str` matching regex {pattern!r}"] = expected
    return msgspec.Meta(pattern=pattern)


def in_words(error: Exception) -> str:
    """Return the text of an error of msgspec, with words in place of regular expressions."""
    text = str(error)
    for quoted, expected in _EXPECTED.items():
        text = text.replace(quoted, expected)
    return text


def decode_toml(text: str) -> dict[str, Any]:
    """Return the values of a document.

    Raises:
        tomllib.TOMLDecodeError: it is not TOML, is nested too deeply, or has an integer with
            thousands of digits.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise tomllib.TOMLDecodeError("nested too deeply") from None
    except ValueError:  # Python refuses to convert such an integer
        raise tomllib.TOMLDecodeError("an integer has too many digits") from None


def printable(text: str) -> str:
    """Return somebody else's text for one line of a terminal, which it can then not control."""
    return "".join(
        " " if char.isspace() else char if char.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def without_mark(raw: bytes) -> bytes:
    """Return the bytes without the byte order mark at their start."""
    return raw.removeprefix(BOM_UTF8)


def one_line(raw: bytes) -> bytes:
    """Return JSON in one line, without its end.

    JSON allows line breaks only between tokens, where a space means the same.
    """
    return b" ".join(without_mark(raw).splitlines()).strip()


def watched(lines: Iterable[bytes], between: Callable[[], object]) -> Iterator[bytes]:
    """Yield lines, and call ``between`` before every thousandth one, to show the progress."""
    for number, line in enumerate(lines):
        if number % _LINES_BETWEEN == 0:
            between()
        yield line


def read_text(path: Path) -> str:
    """Return the text of a file, without the byte order mark.

    Raises:
        OSError: the file cannot be read.
        UnicodeDecodeError: it is not UTF-8.
    """
    return path.read_text(encoding=ENCODING)


def decode_json(raw: bytes, shape: type[T], *, strict: bool = True) -> T:
    """Return JSON as ``shape``.

    Args:
        raw: the JSON, with or without a byte order mark.
        shape: a type that msgspec knows; ``object`` for any.
        strict: ``False`` to read text where a number or a Boolean is expected.

    Raises:
        msgspec.ValidationError: it is JSON of another shape.
        msgspec.DecodeError: it is not JSON, not UTF-8, or nested too deeply.
    """
    try:
        return msgspec.json.decode(without_mark(raw), type=shape, strict=strict)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None
