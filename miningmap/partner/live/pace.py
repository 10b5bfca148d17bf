"""How often requests are sent: within the rates that an intake allows a token by default. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

BURST: Final = 10
"""Requests that may follow each other at once, after a time without any."""
EVERY_S: Final = 7.5
"""In the long run there is one request in this many seconds."""


class Pace:
    """A token bucket; each wait that it returns is for one request."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start with a full bucket.

        Args:
            clock: seconds that never go back.
        """
        self._clock = clock
        self._empty_until = clock() - BURST * EVERY_S

    def wait_s(self) -> float:
        """Count a request, and return how long to wait before it, in seconds."""
        now = self._clock()
        self._empty_until = max(self._empty_until, now - BURST * EVERY_S) + EVERY_S
        return max(0.0, self._empty_until - now)
