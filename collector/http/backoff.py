"""Back-off: when a host or a source that failed may be requested again. Pure.

One policy serves both, with different thresholds: a host starts to wait after several failures in a
row of all its sources together, which is a circuit breaker; a source waits after its first failure.
From then on each further failure doubles the wait, up to :data:`LONGEST_S`. When a wait is over,
the next attempt is the probe: its success ends the back-off, its failure starts the next wait.

A *failure* is a :class:`TransientError` of an attempt. Well-formed client errors (404, 401) do not
count, because a server that sends them works. An attempt that was cancelled, or that ended before
its request was sent, changes nothing.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from collector.sources.base import SourceError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collector.sources.base import Reason

LONGEST_S: Final = 900.0
"""The longest wait, in seconds, unless the first wait is longer."""
PROBE_S: Final = 5.0
"""How long other callers wait, in seconds, while a probe is in flight."""

CIRCUIT_OPEN: Final[Reason] = "breaker"
NOT_SENT: Final[frozenset[Reason]] = frozenset({CIRCUIT_OPEN, "address"})
"""Reasons of errors that are raised before a request is sent."""

# Any first wait of a millisecond or more has reached LONGEST_S by then, and no float overflows.
_MAX_DOUBLINGS: Final = 20


class Backoff:
    """The back-off of one host or one source.

    Attributes:
        longest_s: the longest wait, in seconds, unless the server asks for more.
    """

    def __init__(
        self, clock: Callable[[], float], *, first_s: float, max_failures: int = 1
    ) -> None:
        """Start without any failure.

        Args:
            clock: seconds that never go back.
            first_s: the first wait, in seconds.
            max_failures: failures in a row after which the first wait starts.
        """
        self.longest_s = max(first_s, LONGEST_S)
        self._clock = clock
        self._first_s = first_s
        self._max_failures = max_failures
        self._failures = 0  # in a row
        self._next_at: float | None = None  # when the next attempt is allowed; None: at any time
        self._probing = False

    @property
    def is_open(self) -> bool:
        """True after too many failures in a row, until a probe succeeds."""
        return self._next_at is not None

    def wait_s(self) -> float:
        """Return how long to wait before an attempt, in seconds; 0 if one is allowed now."""
        if self._next_at is None:
            return 0.0
        left_s = max(0.0, self._next_at - self._clock())
        return max(left_s, PROBE_S) if self._probing else left_s

    def retry_s(self, error: SourceError) -> float:
        """Return how long to wait after an attempt that raised ``error``, in seconds.

        After an error that somebody has to fix, that is the longest wait. After an attempt that
        the host's back-off prevented, it is the host's wait, which the error carries.
        """
        if isinstance(error, TransientError):
            return max(self.wait_s(), error.retry_after_s or 0.0)
        return self.longest_s

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Make one attempt, which :meth:`wait_s` allowed, and record how it ends."""
        is_probe = self._probing = self.is_open
        try:
            yield
        except SourceError as error:
            if error.reason not in NOT_SENT:
                self._record(error, is_probe=is_probe)
            raise
        else:
            self._record(None, is_probe=is_probe)
        finally:
            if is_probe:
                self._probing = False

    def _record(self, error: SourceError | None, *, is_probe: bool) -> None:
        if self.is_open and not is_probe:
            return  # the attempt began before the back-off did, so its outcome is outdated
        if isinstance(error, TransientError):
            self._fail(error.retry_after_s or 0.0)
        else:
            self._failures = 0
            self._next_at = None

    def _fail(self, retry_after_s: float) -> None:
        self._failures += 1
        if self._failures >= self._max_failures:
            doublings = min(self._failures - self._max_failures, _MAX_DOUBLINGS)
            wait_s = min(math.ldexp(self._first_s, doublings), self.longest_s)
            self._next_at = self._clock() + max(wait_s, retry_after_s)
