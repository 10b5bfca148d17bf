"""What a command that runs on prints: once when something fails, once when it works again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Trouble:
    """One thing that can fail again and again.

    Attributes:
        kind: how it fails now; ``None`` while it works.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.kind: str | None = None
        self._say = say

    def begins(self, kind: str, text: str) -> None:
        """Record that it fails, and say so unless it already failed in this way."""
        if kind != self.kind:
            self.kind = kind
            self._say(text)

    def is_over(self, text: str) -> None:
        """Record that it works, and say so if it failed before."""
        if self.kind is not None:
            self.kind = None
            self._say(text)
