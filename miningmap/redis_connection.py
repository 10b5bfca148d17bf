"""Connections to Redis that pack commands in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hiredis
from redis.exceptions import DataError

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection, ConnectionPool


class _PacksInC:
    """What a connection of redis-py has instead of its own packing.

    Its connections without asyncio use hiredis for that; those with it pack in Python, which takes
    most of the time of a command that names many fields.
    """

    def pack_command(self, *words: str | bytes | memoryview | float) -> list[bytes]:
        """Return a command as it is sent.

        Raises:
            redis.exceptions.DataError: a word has another type.
        """
        name, *others = words
        # Such as "SCRIPT LOAD": Redis expects the words of a name one by one.
        names = name.split() if isinstance(name, (str, bytes)) else (name,)
        try:
            return [hiredis.pack_command((*names, *others))]
        except TypeError as error:
            raise DataError(str(error)) from None


def pack_in_c(pool: ConnectionPool) -> None:
    """Let all connections of a pool that are made from now on pack their commands in C."""
    kind: type[AbstractConnection] = pool.connection_class
    pool.connection_class = type(kind.__name__, (_PacksInC, kind), {})
