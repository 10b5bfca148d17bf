"""Attempts: whether a batch waits for a server, and so for nothing that a restart would mend."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

RECENT_S: Final = 60.0
"""How long a failed attempt says that the consumer waits for a server, in seconds.

Attempts are a few seconds apart, and each ends with an error after 40 s at the latest.
"""


class Attempts:
    """The last attempt to write a batch that a server refused or did not answer."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed_at: float | None = None
        self._error = ""

    def failed(self, error: Exception) -> None:
        """Record that an attempt failed and is repeated."""
        self._failed_at = self._clock()
        self._error = str(error) or type(error).__name__

    def reason(self) -> str | None:
        """Return why the consumer waits, if an attempt failed just now."""
        if self._failed_at is None or self._clock() - self._failed_at > RECENT_S:
            return None
        return self._error
