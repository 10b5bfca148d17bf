"""One scenario: load, a fault that strikes and is healed, and what the checker finds afterwards."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

from tests.torture.answers import answer_problems
from tests.torture.checker import Verdict, check
from tests.torture.load import Load, acknowledged
from tests.torture.observed import read_cells, read_log
from tests.torture.pools import SOURCES
from tests.torture.system import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.torture.faults import Fault
    from tests.torture.observed import Log
    from tests.torture.system import System

SETTLED_S: Final = 60.0
"""How long after a fault the cells may take to be complete, at most."""


@dataclass(frozen=True)
class Size:
    """How long a scenario is, in operations.

    Attributes:
        before: that begin before the first strike.
        during: that begin while it is broken.
        least_s: for how long it is broken at least, in seconds.
        per_s: how often each kind of client sends, times a second.
        answers: whether the API and ``recompute`` are compared with the model too.
    """

    before: int = 30
    during: int = 25
    least_s: float = 1.5
    per_s: float = 6.0
    answers: bool = True


@dataclass
class Outcome:
    """What came of a scenario.

    Attributes:
        fault: its name.
        verdict: of the checker.
        recovered_s: after each fault but the last, until a report that was posted then was
            acknowledged; after the last, until all cells were right.
        problems: what else is wrong, as sentences.
        acknowledged: how many operations of this scenario were acknowledged.
        seconds: for how long there was load.
    """

    fault: str
    verdict: Verdict
    recovered_s: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    acknowledged: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return self.verdict.ok and not self.problems

    def __str__(self) -> str:
        times = ", ".join(f"{seconds:.1f} s" for seconds in self.recovered_s)
        lines = [f"{self.fault}: recovered in {times}", str(self.verdict), *self.problems]
        return "\n".join(lines)


async def torment(
    system: System,
    *faults: Fault,
    seed: int,
    size: Size | None = None,
    settled_s: float = SETTLED_S,
) -> Outcome:
    """Break a system under load in one way after the other, heal it each time, and judge it."""
    size = size or Size()
    load = Load(system, seed, size.per_s)
    first, started = len(system.history.operations), time.monotonic()
    recovered: list[float] = []
    name = "; ".join(dict.fromkeys(fault.name for fault in faults))
    system.history.note("scenario", fault=name, seed=seed)
    system.pools.answering.set()
    async with load.running():
        await begun(load, size.before)
        await system.until(system.has_cells, "there are cells")
        for fault in faults:
            async with _struck(system, fault):
                await begun(load, size.during, size.least_s)
            healed_at = time.monotonic()
            await _probe(load)
            recovered.append(time.monotonic() - healed_at)
        await system.until(system.is_ready, "all services are ready again")
    loaded_s = time.monotonic() - started
    accepted = acknowledged(system.history.operations[first:])
    system.pools.answering.clear()
    await system.until(system.is_drained, "all messages are consumed")
    verdict, log = await settled(system, settled_s)
    recovered[-1] = time.monotonic() - healed_at
    problems = [problem for fault in faults for problem in fault.problems]
    problems += _lost_polls(system, verdict, faults)
    if verdict.ok and size.answers:
        problems += await answer_problems(system, log)
    return Outcome(name, verdict, recovered, problems, accepted, loaded_s)


def _lost_polls(system: System, verdict: Verdict, faults: Sequence[Fault]) -> list[str]:
    """What is wrong with the polls of a scenario; those in flight may be lost with a connection."""
    before, system.missing_polls = system.missing_polls, verdict.counts["polls not in Kafka"]
    lost = system.missing_polls - before
    if any(fault.may_lose_polls for fault in faults) or not system.has_spool:
        return []
    if lost <= len(SOURCES) * len(faults):
        return []
    return [f"{lost} polls are not in Kafka"]


@asynccontextmanager
async def _struck(system: System, fault: Fault) -> AsyncIterator[None]:
    """Break the system during the block."""
    system.history.note("strike", fault=fault.name)
    try:
        await fault.strike(system)
        yield
    finally:
        await fault.heal(system)
        system.history.note("healed", fault=fault.name)


async def begun(load: Load, number: int, least_s: float = 0.0) -> None:
    """Wait until so many more operations have begun, and so many seconds have passed."""
    goal = len(load.history.operations) + number
    until = time.monotonic() + least_s

    async def reached() -> bool:
        return len(load.history.operations) >= goal and time.monotonic() >= until

    await load.system.until(reached, f"{number} operations begin")


async def _probe(load: Load) -> None:
    """Post a new report until it is acknowledged."""
    async with asyncio.timeout(DEADLINE_S):
        while (await load.live("probe", 1)).outcome != "acknowledged":  # noqa: ASYNC110 - it sends
            await asyncio.sleep(0.05)


async def settled(system: System, within_s: float = SETTLED_S) -> tuple[Verdict, Log]:
    """Judge until nothing is wrong, or until the time is up."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            log = await read_log(system.kafka.bootstrap_servers, system.group)
            verdict = check(system.history, log, await read_cells(system.redis.url))
        except RedisError:
            if time.monotonic() > deadline:
                raise
        else:
            if verdict.ok or time.monotonic() > deadline:
                return verdict, log
        await asyncio.sleep(0.2)
