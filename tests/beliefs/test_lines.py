"""The lines of keys in TOML and JSON."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from streams.beliefs.lines import json_lines, line_of, toml_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.beliefs.lines import Keys

TOML = '''\
# a comment

[part_of]
a = "b"  # another
"c-d" = "e"

[[claims]]
id = "one"
note = """
[[claims]]
id = "no key"
"""
pools = [
  "x",  # [not a table]
]
within.outer = "dotted"

[[pools]]
id = "two"
[[pools.series]]
from = 2025-01-01
[pools.series.weights]
US = 1
[[pools.series]]
weights = { US = 1, CA = 2 }

[[claims]]
id = "three"
'''


def test_every_key_of_toml_has_its_line() -> None:
    lines = toml_lines(TOML)
    assert lines == {
        (): 1,
        ("part_of",): 3,
        ("part_of", "a"): 4,
        ("part_of", "c-d"): 5,
        ("claims",): 7,
        ("claims", 0): 7,
        ("claims", 0, "id"): 8,
        ("claims", 0, "note"): 9,
        ("claims", 0, "pools"): 13,
        ("claims", 0, "within"): 16,
        ("claims", 0, "within", "outer"): 16,
        ("pools",): 18,
        ("pools", 0): 18,
        ("pools", 0, "id"): 19,
        ("pools", 0, "series"): 20,
        ("pools", 0, "series", 0): 20,
        ("pools", 0, "series", 0, "from"): 21,
        ("pools", 0, "series", 0, "weights"): 22,
        ("pools", 0, "series", 0, "weights", "US"): 23,
        ("pools", 0, "series", 1): 24,
        ("pools", 0, "series", 1, "weights"): 25,
        ("claims", 1): 27,
        ("claims", 1, "id"): 28,
    }


def test_only_line_feeds_end_lines_of_toml() -> None:
    assert toml_lines('a = "\u2028\x85"\r\nb = 1\n')[("b",)] == 2


def test_a_key_that_has_no_line_has_that_of_what_is_around_it() -> None:
    lines = toml_lines(TOML)
    assert line_of(lines, ("pools", 0, "series", 1, "weights", "CA")) == 25
    assert line_of(lines, ("claims", 0, "pools", 0)) == 13
    assert line_of(lines, ("claims", 1, "source")) == 27
    assert line_of(lines, ("rules", 0)) == 1


def paths(value: Any, keys: Keys = ()) -> Iterator[Keys]:
    """The keys of everything in a document."""
    yield keys
    inner: Any = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        inner = enumerate(value)
    for key, item in inner:
        yield from paths(item, (*keys, key))


def test_all_of_toml_that_is_not_inline_is_found() -> None:
    found = toml_lines(TOML)
    inline: set[Keys] = {("claims", 0, "pools", 0)}
    inline |= {("pools", 0, "series", 1, "weights", code) for code in ("US", "CA")}
    assert set(paths(tomllib.loads(TOML))) - inline == set(found)


DOCUMENTS = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(DOCUMENTS)
def test_every_key_and_item_of_json_has_a_line(document: object) -> None:
    text = json.dumps(document, indent=1)
    lines = json_lines(text)
    assert set(lines) == set(paths(document))
    for keys, line in lines.items():
        if keys and isinstance(keys[-1], str):
            assert text.split("\n")[line - 1].lstrip(" ").startswith(json.dumps(keys[-1]))
    assert json_lines(json.dumps(document)).keys() == lines.keys()
