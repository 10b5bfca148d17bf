"""Commands are packed in C as redis-py packs them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from redis.asyncio.connection import Connection
from redis.exceptions import DataError

from miningmap import settings as config
from miningmap.redis_client import connect

names = st.sampled_from(["HGETALL", "SCRIPT LOAD", b"SCRIPT LOAD", b"GET", "CLUSTER SLOTS"])
words = st.one_of(st.binary(max_size=20), st.text(max_size=20), st.integers(), st.floats())


def packed(*command: Any) -> bytes:
    """The command as every kind of connection packs it."""
    found = set()
    for url in ("redis://127.0.0.1", "rediss://127.0.0.1", "unix:///redis.sock"):
        pool = connect(config.Redis(url=SecretStr(url))).connection_pool
        connection: Connection = pool.make_connection()  # type: ignore[no-untyped-call]
        found.add(b"".join(connection.pack_command(*command)))
    (same,) = found
    return same


@given(names, st.lists(words, max_size=5))
def test_a_command_is_packed_as_by_the_library(name: str | bytes, others: list[Any]) -> None:
    assert packed(name, *others) == b"".join(Connection().pack_command(name, *others))


def test_a_long_word_and_a_view_are_packed_as_by_the_library() -> None:
    command = ("SET", "key", b"x" * 100_000, memoryview(b"view"))
    assert packed(*command) == b"".join(Connection().pack_command(*command))


@pytest.mark.parametrize("word", [True, None, [1], {"a": 1}])
def test_a_word_of_another_type_is_an_error(word: object) -> None:
    with pytest.raises(DataError):
        packed("SET", "key", word)
