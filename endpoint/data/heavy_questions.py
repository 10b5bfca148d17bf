"""Questions that take long: one works at a time, equal ones are answered once, all have a deadline.

The answer to a long history is seconds of arithmetic in Python. Many at once would take the
interpreter from everything else, so that light requests wait and Redis seems to be unavailable. So:

- One thread computes, and the question with the least work left has the next turn. A short one
  waits only for a piece of a long one, not for all of it.
- What is asked again while it is being answered is not computed again: all who ask get one answer,
  also if those who asked first have gone. If all have gone it stops.
- Only as much work is accepted as can be done in time; whatever does not get its answer before the
  deadline is given up. Both are :class:`endpoint.errors.BusyError`, never a fault of Redis.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from prometheus_client import Counter, Gauge

from endpoint.errors import BusyError
from miningmap.tasks import raise_if_cancelled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable

    from prometheus_client import CollectorRegistry

    from streams.queries.cost import Cost
    from streams.queries.pieces import Worker

T = TypeVar("T")

DEADLINE_S: Final = 30.0
"""How long a question may take, in seconds, waiting included."""
MOST_WORK_S: Final = 25.0
"""How much work is accepted at a time, in seconds at the speed of late.

A question that takes longer is accepted while there is no other.
"""

# In units of cost per second: that of a core with some twenty pools, until pieces have been timed.
_SPEED: Final = 50.0
# The speed is the mean of about so many seconds of work.
_SPEED_OF_S: Final = 1.0
_LOOK_S: Final = 0.5  # how often to look whether the client is still there
_FULL: Final = "full"
_LATE: Final = "late"
_STOPPING: Final = "the service is being stopped; try again"


@dataclass
class _Asked:
    """A question that is being answered.

    Attributes:
        cost: of all of it.
        left: the part of the work that is left, from 1 to 0.
        waiting: how many wait for the answer.
        task: answers it.
        took_s: the seconds that were worked on it since ``left`` was set.
    """

    cost: Cost
    task: asyncio.Task[Any]
    left: float = 1.0
    waiting: int = 0
    took_s: float = 0.0

    @property
    def work(self) -> float:
        """The work that is left."""
        return self.cost * self.left


class HeavyQuestions:
    """Answers the heavy questions of one process.

    Args:
        registry: for the metrics.
        deadline_s: how long a question may take, in seconds.
        most_work_s: how much work is accepted at a time, in seconds.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        deadline_s: float = DEADLINE_S,
        most_work_s: float = MOST_WORK_S,
    ) -> None:
        self._deadline_s = deadline_s
        self._most_work_s = most_work_s
        self._speed = _SPEED
        self._asked: dict[Hashable, _Asked] = {}
        self._tasks: set[asyncio.Task[Any]] = set()  # those that are being cancelled included
        self._closed = False
        self._turns = _Turns()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="heavy")
        Gauge(
            "miningmap_heavy_questions",
            "Different heavy questions, such as long histories, that are being answered or wait.",
            registry=registry,
        ).set_function(lambda: len(self._asked))
        self._refused = Counter(
            "miningmap_heavy_questions_refused",
            "Requests that were answered 503 because too much was being computed: at once (full), "
            "or after the deadline (late).",
            ["reason"],
            registry=registry,
        )
        for reason in (_FULL, _LATE):
            self._refused.labels(reason)

    async def shared(
        self, key: Hashable, *, is_wanted: Callable[[], bool] = lambda: True
    ) -> Any | None:  # noqa: ANN401 - as its computation
        """Return the answer to a question that is being answered already, ``None`` if it is not.

        Args and errors are those of :meth:`answer`.
        """
        asked = self._asked.get(key)
        return None if asked is None else await self._wait(asked, key, is_wanted)

    async def answer(
        self,
        key: Hashable,
        cost: Cost,
        compute: Callable[[Worker], Awaitable[T]],
        *,
        charge: Callable[[Cost], None] = lambda _: None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> T:
        """Return the answer to a question.

        Args:
            key: the same for equal questions.
            cost: of answering it.
            compute: answers it, unless that is being done already.
            charge: takes the cost from who asks first; what it raises is raised.
            is_wanted: whether who asks still waits for the answer.

        Raises:
            BusyError: there is too much to do, or it took too long.
            asyncio.CancelledError: who asked has gone.
        """
        asked = self._asked.get(key)
        if asked is None:
            self._check_room(cost)
            charge(cost)
            asked = self._begin(key, cost, compute)
        return cast("T", await self._wait(asked, key, is_wanted))

    async def close(self) -> None:
        """Give up all questions; what the thread computes ends with its piece."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _wait(self, asked: _Asked, key: Hashable, is_wanted: Callable[[], bool]) -> Any:  # noqa: ANN401 - as its computation
        asked.waiting += 1
        try:
            while not asked.task.done():
                await asyncio.wait({asked.task}, timeout=_LOOK_S)
                if not is_wanted():
                    raise asyncio.CancelledError
            return self._result(asked.task)
        finally:
            asked.waiting -= 1
            if not asked.waiting and not asked.task.done():
                self._forget(key, asked)  # who asks from now on must not wait for what is cancelled
                asked.task.cancel()

    def _check_room(self, cost: Cost) -> None:
        if self._closed:
            raise BusyError(_STOPPING, 1)
        work = sum(asked.work for asked in self._asked.values())
        if self._asked and (work + cost) / self._speed > self._most_work_s:
            self._refused.labels(_FULL).inc()
            raise self._busy("too many long answers are being computed")

    def _busy(self, why: str) -> BusyError:
        work = sum(asked.work for asked in self._asked.values())
        seconds = max(1, math.ceil(min(work / self._speed, self._deadline_s)))
        return BusyError(
            f"{why}; try again in {seconds} s, or ask for fewer buckets or places", seconds
        )

    def _begin(
        self, key: Hashable, cost: Cost, compute: Callable[[Worker], Awaitable[T]]
    ) -> _Asked:
        async def work(piece: Callable[[], Any], left: float) -> Any:  # noqa: ANN401 - as Worker
            raise_if_cancelled()  # redis-py can swallow a cancellation
            self._record(asked, left)
            async with self._turns.turn(asked.work):
                started = perf_counter()
                done = await asyncio.get_running_loop().run_in_executor(self._thread, piece)
                asked.took_s += perf_counter() - started
                return done

        async def answered() -> T:
            async with asyncio.timeout(self._deadline_s):
                return await compute(work)

        def ended(task: asyncio.Task[T]) -> None:
            self._forget(key, asked)
            self._tasks.discard(task)
            if not task.cancelled():
                task.exception()  # those who asked may all have gone

        task = asyncio.create_task(answered())
        asked = self._asked[key] = _Asked(cost, task)
        self._tasks.add(task)
        task.add_done_callback(ended)
        return asked

    def _record(self, asked: _Asked, left: float) -> None:
        """Record the part of a question's work that is left, and how fast the rest was done."""
        done = (asked.left - left) * (asked.cost - 1)  # the request itself takes no work
        if done > 0 and asked.took_s > 0:
            weight = min(1.0, asked.took_s / _SPEED_OF_S)
            self._speed += weight * (done / asked.took_s - self._speed)
        asked.left, asked.took_s = left, 0.0

    def _forget(self, key: Hashable, asked: _Asked) -> None:
        if self._asked.get(key) is asked:
            del self._asked[key]

    def _result(self, task: asyncio.Task[T]) -> T:
        if task.cancelled():
            raise BusyError(_STOPPING, 1)
        try:
            return task.result()
        except TimeoutError:  # those of Redis are another error by now
            self._refused.labels(_LATE).inc()
            why = f"the answer could not be computed within {self._deadline_s:g} s"
            raise self._busy(why) from None


class _Turns:
    """Lets one pass at a time: whoever has the least work left."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = count()

    @asynccontextmanager
    async def turn(self, work: float) -> AsyncIterator[None]:
        """Wait for a turn, and have it for the length of the block."""
        if self._taken:
            mine = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (work, next(self._number), mine))
            try:
                await mine
            except asyncio.CancelledError:
                if mine.done() and not mine.cancelled():
                    self._pass_on()
                raise
        self._taken = True
        try:
            yield
        finally:
            # Not at once: whoever had this turn asks for the next one first, if there is one.
            asyncio.get_running_loop().call_soon(self._pass_on)

    def _pass_on(self) -> None:
        while self._waiting:
            *_, following = heapq.heappop(self._waiting)
            if not following.done():
                following.set_result(None)
                return
        self._taken = False
