"""A circuit breaker: a host that fails again and again is left alone for a while. Pure.

*Closed*: the host is asked. *Open*, after some failures in a row: it is not, for a time that
doubles with each opening. *Half-open*, when that time is over: one request is the try. If it goes
well the breaker closes, else it opens anew.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURES: Final = 5
"""In a row, of all sources of the host together."""

OPEN_S: Final = 60.0
MAX_OPEN_S: Final = 900.0
TRY_S: Final = 5.0
"""So long others wait for what the one try finds, before they look again."""

_MAX_DOUBLINGS: Final = 12  # past MAX_OPEN_S, and no float overflows


class Breaker:
    """The breaker of one host. Times are seconds of ``clock``, which never goes back.

    Whoever asks looks at :meth:`wait_s`, calls :meth:`ask`, and then, with what that returned, one
    of :meth:`well`, :meth:`unwell` and :meth:`unknown`.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._openings = 0  # since the host was last well
        self._until: float | None = None  # when the next try is due; None while closed
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether it is open or half-open."""
        return self._until is not None

    def wait_s(self) -> float:
        """How long not to ask; 0 if the host may be asked now."""
        if self._until is None:
            return 0.0
        left_s = max(0.0, self._until - self._clock())
        return max(left_s, TRY_S) if self._trying else left_s

    def ask(self) -> bool:
        """A request is sent, which :meth:`wait_s` allowed. Returns whether it is the one try."""
        self._trying = self.is_open
        return self._trying

    def well(self, *, is_try: bool) -> None:
        """The host answered as a host that is well."""
        if self._is_past(is_try=is_try):
            return
        self._failures = self._openings = 0
        self._until = None
        self._trying = False

    def unwell(self, retry_after_s: float | None = None, *, is_try: bool) -> None:
        """The host failed, and asked to be left alone for ``retry_after_s``, if it said so."""
        if self._is_past(is_try=is_try):
            return
        self._failures += 1
        self._trying = False
        if is_try or self._failures >= FAILURES:
            open_s = min(math.ldexp(OPEN_S, min(self._openings, _MAX_DOUBLINGS)), MAX_OPEN_S)
            self._until = self._clock() + max(open_s, retry_after_s or 0.0)
            self._openings += 1

    def unknown(self, *, is_try: bool) -> None:
        """The request ended without a word about the host: another may be the try."""
        if is_try:
            self._trying = False

    def _is_past(self, *, is_try: bool) -> bool:
        """Whether a request was sent before the breaker opened, and so tells nothing new."""
        return self.is_open and not is_try
