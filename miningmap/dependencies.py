"""Whether the servers that a service needs are available: for its log, ``/readyz`` and metrics.

Importing this module does not import prometheus_client, which the base install lacks.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import CollectorRegistry

REPEAT_S: Final = 60.0
"""The log says the same at most once in this many seconds."""

_MOST_CAUSES: Final = 1000
_DIGITS: Final = re.compile(r"\d+")


class RepeatLimit:
    """Lets one line about a cause through in :data:`REPEAT_S`, and counts the others.

    Causes that differ only in their numbers are the same cause.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # By cause: the time from which the next line passes, and the lines left out before it. In
        # the order of the times.
        self._causes: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def left_out(self, cause: str) -> int | None:
        """Return how many lines were left out before this one; ``None`` if this one is too."""
        cause = _DIGITS.sub("0", cause)
        now = self._clock()
        next_at, count = self._causes.get(cause, (now, 0))
        if now < next_at:
            self._causes[cause] = (next_at, count + 1)
            return None
        self._causes[cause] = (now + REPEAT_S, 0)
        self._causes.move_to_end(cause)
        if len(self._causes) > _MOST_CAUSES:
            self._causes.popitem(last=False)
        return count


class Dependency:
    """A server that a service needs, and whether the log has said that it is unavailable.

    Attributes:
        name: for people and for the label of the metric.
        reason: why it is unavailable; ``None`` while it is available.
        cause: the same in a word, where what ends it depends on that.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.reason: str | None = f"{name} has not answered yet"
        self.cause: str | None = None
        self._clock = clock
        self._lost_at = clock()
        self._limit = RepeatLimit(clock)
        self._repeat_at: float | None = None  # None unless the log says that it is unavailable

    def lost(self, reason: str, cause: str | None = None) -> bool:
        """Record that it is unavailable; return whether to log that.

        That is when it has just become unavailable, and every :data:`REPEAT_S` while it stays so.
        If it comes and goes, the same reason is logged as often.
        """
        self.reason, self.cause = reason, cause
        now = self._lost_at = self._clock()
        if self._repeat_at is not None and now < self._repeat_at:
            return False
        if self._limit.left_out(reason) is None:
            return False
        self._repeat_at = now + REPEAT_S
        return True

    def found(self) -> bool:
        """Record that it is available; return whether to log that: after a logged loss, once."""
        self.reason = self.cause = None
        was_logged, self._repeat_at = self._repeat_at is not None, None
        return was_logged

    def since_lost_s(self) -> float:
        """Return for how many seconds nobody has recorded that it is unavailable."""
        return self._clock() - self._lost_at

    def up(self) -> float:
        """Return 1 while it is available, else 0."""
        return float(self.reason is None)


def reasons_of(dependencies: Iterable[Dependency]) -> list[str]:
    """Return why a service is not ready; an empty list if it is."""
    return [dependency.reason for dependency in dependencies if dependency.reason is not None]


def show(dependencies: Iterable[Dependency], registry: CollectorRegistry) -> None:
    """Add the metric ``miningmap_dependency_up`` to a registry."""
    from prometheus_client import Gauge  # noqa: PLC0415 - see above

    up = Gauge(
        "miningmap_dependency_up",
        "1 while the service can use the server that it depends on, else 0.",
        ["dependency"],
        registry=registry,
    )
    for dependency in dependencies:
        up.labels(dependency.name).set_function(dependency.up)
