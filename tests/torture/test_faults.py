"""Short versions of the faults: a real system under load is broken, healed and judged.

``make torture`` runs the long versions and writes their table. A test that fails prints the seed
and the folder with the history and the logs, and keeps it; the next one gets a new system.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, TypeAlias

import pytest

from tests.conftest import missing
from tests.servers import UnavailableError
from tests.torture import faults as f
from tests.torture.plan import HOUR_S, Bench, bench
from tests.torture.scenario import Size, torment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.torture.faults import Fault
    from tests.torture.plan import SystemKind

    Make: TypeAlias = Callable[[Mapping[str, Path]], Fault]

pytestmark = pytest.mark.integration

SEED: Final = 20
# The stop_grace_period of docker-compose.yml: on a machine that is busy with other tests, a service
# may take longer than the 10 s that `make torture` allows.
GRACE_S: Final = 30.0
# The answers are compared by the last test of each system: its cells are those of all tests.
SHORT: Final = Size(before=10, during=10, answers=False)
LAST: Final = Size(before=10, during=10)
# A process reads a clock that was set within a second.
CLOCK: Final = Size(before=10, during=10, least_s=2.5)


class Shared:
    """One system of each kind for all tests of this file, until one of them breaks it."""

    def __init__(self) -> None:
        self._benches: dict[SystemKind, tuple[Bench, ExitStack]] = {}

    async def get(self, kind: SystemKind) -> Bench:
        """A system that runs."""
        if kind not in self._benches:
            stack = ExitStack()
            try:
                made = stack.enter_context(bench(kind, "tests.impatient"))
            except UnavailableError as error:
                raise missing(str(error), os.environ.get("CI", "")) from None
            self._benches[kind] = made, stack
            await made.system.start(made.replication)
        return self._benches[kind][0]

    def drop(self, kind: SystemKind, *, keep: bool = False) -> None:
        """End a system; its folder is kept on request."""
        made, stack = self._benches.pop(kind)
        stack.close()
        if not keep:
            shutil.rmtree(made.system.folder, ignore_errors=True)

    def drop_all(self) -> None:
        """End all of them."""
        for kind in list(self._benches):
            self.drop(kind)


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    shared = Shared()
    yield shared
    shared.drop_all()


def case(*faults: Make, name: str) -> object:
    return pytest.param(faults, id=name)


@pytest.mark.parametrize(
    "faults",
    [
        case(
            lambda _: f.Together(f.Kill("streams-0"), f.Kill("collector")),
            name="kill -9 of services",
        ),
        case(
            lambda _: f.JoinAndLeave(),
            lambda _: f.Hang("streams-0"),
            name="workers join, leave and hang",
        ),
        case(
            lambda _: f.KillKafka(),
            lambda _: f.HangKafka(),
            name="the broker is killed, and hangs",
        ),
        case(
            lambda _: f.KillRedis(keeps_log=True),
            lambda _: f.FillRedis(),
            lambda _: f.HangRedis(),
            name="Redis is killed, full, and hangs",
        ),
        case(
            lambda _: f.slow_redis(),
            lambda _: f.resets(),
            lambda _: f.stalls(),
            lambda _: f.drips(),
            lambda _: f.cuts_answers(),
            lambda _: f.Cut(f.LINKS),
            name="the network fails in every way",
        ),
        case(
            lambda disks: f.FillDisk("the broker", disks),
            lambda disks: f.FillDisk("Redis", disks),
            name="the disks of the servers are full",
        ),
        case(
            lambda disks: f.FillDisk("the spool", disks),
            name="the disk of the spool is full",
        ),
        case(lambda _: f.TerminateWithoutKafka(GRACE_S), name="SIGTERM without Kafka"),
        case(
            lambda _: f.KillRedis(keeps_log=False),
            lambda _: f.Flush(),
            name="Redis comes back empty",
        ),
        case(
            lambda _: f.RestoreRedis(),
            lambda _: f.Rebuild(),
            name="Redis comes back from a backup, and is rebuilt",
        ),
    ],
)
async def test_nothing_is_lost_doubled_or_wrong_after(
    faults: Sequence[Make], shared: Shared
) -> None:
    await assert_survived(shared, "everything", faults, SHORT)


async def test_a_clock_that_is_an_hour_ahead_or_back_changes_no_cell(shared: Shared) -> None:
    faults = [
        lambda _, k=kind, s=seconds: f.SetClock(k, s)
        for kind in ("streams", "collector")
        for seconds in (HOUR_S, -HOUR_S)
    ]
    await assert_survived(shared, "everything", faults, CLOCK)


async def test_two_brokers_of_three_are_enough(shared: Shared) -> None:
    await assert_survived(shared, "three brokers", [lambda _: f.KillBroker(0)], LAST)


async def assert_survived(
    shared: Shared,
    kind: SystemKind,
    faults: Sequence[Make],
    size: Size,
) -> None:
    made = await shared.get(kind)
    system = made.system
    chosen = [make(made.disks) for make in faults]
    for reason in filter(None, map(made.lacks, chosen)):
        pytest.skip(reason)
    print(f"seed {SEED}; history and logs: {system.folder}")  # noqa: T201 - shown if it fails
    try:
        outcome = await torment(system, *chosen, seed=SEED, size=size)
        assert outcome.ok, str(outcome)
    except BaseException:
        shared.drop(kind, keep=True)
        raise
