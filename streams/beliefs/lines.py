"""The lines of a file's keys, which parsers of TOML and JSON do not give. Pure."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Keys: TypeAlias = "tuple[str | int, ...]"
"""Where a value is in a document: names of keys, and positions in lists."""

Lines: TypeAlias = "Mapping[Keys, int]"
"""The line of each key, from 1; the beginning of the document has the key ``()``."""

_HEADER: Final = re.compile(r"\s*(\[\[?)")
_JSON_SYMBOL: Final = re.compile(r'\n|"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def line_of(lines: Lines, keys: Keys) -> int:
    """Return the line of a key, or of the innermost one around it that the file has."""
    while keys not in lines:
        keys = keys[:-1]
    return lines[keys]


# --- TOML -----------------------------------------------------------------------------------------


def toml_lines(text: str) -> dict[Keys, int]:
    """Return the lines of the keys of a valid TOML document."""
    found: dict[Keys, int] = {(): 1}
    arrays: Counter[Keys] = Counter()
    table: Keys = ()
    for number, statement in _statements(text):
        path = _path_of(tomllib.loads(statement))
        header = _HEADER.match(statement)
        if header is None:
            keys = (*table, *path)
        else:
            is_array = header[1] == "[["
            keys = table = _table(path, arrays, is_array=is_array)
        # A dotted key or header also opens the tables that it goes through.
        for length in range(1, len(keys) + 1):
            found.setdefault(keys[:length], number)
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each statement, which may be longer than a line, with the number of its first line.

    A statement that is cut off is no valid TOML, and one that is complete is.
    """
    begun = ""
    first = 1
    # Not splitlines(): it also splits at characters that end no line in TOML.
    for number, line in enumerate(text.split("\n"), 1):
        if not begun:
            first = number
        begun += f"{line}\n"
        try:
            parsed = tomllib.loads(begun)
        except tomllib.TOMLDecodeError:
            continue
        if parsed:
            yield first, begun
        begun = ""


def _path_of(parsed: dict[str, object]) -> list[str]:
    """Return the names that one statement goes through."""
    path = []
    value: object = parsed
    while isinstance(value, dict) and len(value) == 1:
        ((name, value),) = value.items()
        path.append(name)
        if isinstance(value, list) and value == [{}]:
            break
    return path


def _table(path: Sequence[str], arrays: Counter[Keys], *, is_array: bool) -> Keys:
    """Return the keys of a table by the names of its header; a name of an array is its newest."""
    keys: Keys = ()
    for position, name in enumerate(path):
        keys = (*keys, name)
        if is_array and position == len(path) - 1:
            arrays[keys] += 1
        if keys in arrays:
            keys = (*keys, arrays[keys] - 1)
    return keys


# --- JSON -----------------------------------------------------------------------------------------


def json_lines(text: str) -> dict[Keys, int]:
    """Return the lines of the keys and items of a valid JSON document."""
    found: dict[Keys, int] = {(): 1}
    keys: list[str | int] = []
    in_list: list[bool] = []
    line = 1
    is_key = False
    for symbol in _JSON_SYMBOL.findall(text):
        match symbol:
            case "\n":
                line += 1
            case ":":
                pass
            case "}" | "]":
                in_list.pop()
                keys.pop()
            case ",":
                is_key = not in_list[-1]
                if in_list[-1]:
                    keys[-1] = int(keys[-1]) + 1
            case _ if is_key:
                keys[-1] = msgspec.json.decode(symbol, type=str)
                found.setdefault(tuple(keys), line)
                is_key = False
            case _:
                found.setdefault(tuple(keys), line)
                if symbol in {"{", "["}:
                    is_key = symbol == "{"
                    in_list.append(not is_key)
                    keys.append("" if is_key else 0)
    return found
