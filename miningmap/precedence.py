"""Precedence: what is short and waited for goes before what is long, on one event loop.

A snapshot waits for the event loop after each reply of Redis. While a backlog is worked off, each
of these turns is long, and a snapshot took many times as long as by itself.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_MOST_S: Final = 0.5
"""How long long work waits at once, in seconds: it goes on beside a snapshot that takes longer, and
while Redis does not answer."""


class Precedence:
    """Lets one task go before others, which ask between the pieces of their work."""

    def __init__(self) -> None:
        self._is_free = asyncio.Event()
        self._is_free.set()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Go before the others during the block, at most for :data:`AT_MOST_S`.

        Only one task may do so at a time.
        """
        self._is_free.clear()
        end = asyncio.get_running_loop().call_later(AT_MOST_S, self._is_free.set)
        try:
            yield
        finally:
            end.cancel()
            self._is_free.set()

    async def give_way(self) -> None:
        """Let others use the event loop, and wait while the one task goes before."""
        await asyncio.sleep(0)
        await self._is_free.wait()
