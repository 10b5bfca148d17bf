"""How much a partner's rows may claim in a day, whatever number of requests they come in.

Each row may be within its limits (:mod:`miningmap.sizes`) and all of them together still fill
Redis. So each pool has a budget of values for a day. It is refilled evenly: who has used it up
waits only until there is enough for the next request, not until midnight.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from miningmap.sizes import values_of
from miningmap.times import DAY_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from miningmap.messages import Message
    from miningmap.retention import Horizon


class OverBudgetError(Exception):
    """Rows would claim more than the rest of a budget; none was used.

    Attributes:
        values: how many values they would claim.
        daily: how many a day are allowed.
        wait_s: after how many seconds they will be; ``None`` if they are more than a day's budget.
    """

    def __init__(self, values: int, daily: int, wait_s: int | None) -> None:
        super().__init__(f"{values:,} values, of {daily:,} a day")
        self.values = values
        self.daily = daily
        self.wait_s = wait_s


class Budget:
    """The budgets of all pools, in memory: each collector counts for itself, from its start."""

    def __init__(self, daily: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow so many values a day; 0 for no limit."""
        self._daily = daily
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    @contextmanager
    def spent(
        self, pool: str, messages: Iterable[Message], kept: Horizon | None = None
    ) -> Iterator[None]:
        """Take what messages claim out of a pool's budget; it is given back if the block fails.

        Args:
            pool: whose budget.
            messages: to be published in the block.
            kept: the oldest cells that are kept; what is older claims days instead of hours.

        Raises:
            OverBudgetError: it is more than what is left.
        """
        values = sum(values_of(message, kept) for message in messages)
        self._take(pool, values)
        try:
            yield
        except BaseException:
            self._take(pool, -values)
            raise

    def _take(self, pool: str, values: int) -> None:
        if not self._daily:
            return
        now = self._clock()
        left, since = self._left.get(pool, (float(self._daily), now))
        left = min(self._daily, left + (now - since) * self._daily / DAY_S)
        if values > left:
            missing_s = math.ceil((values - left) * DAY_S / self._daily)
            raise OverBudgetError(values, self._daily, None if values > self._daily else missing_s)
        self._left[pool] = (min(self._daily, left - values), now)
