"""Short versions of the faults: a real system under load is broken, healed and judged.

``make torture`` runs the long versions and writes their table. A test that fails prints the seed
and the folder with the history and the logs, and keeps it; the next one gets a new system.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.conftest import launched
from tests.servers import RedisServer
from tests.torture.faults import (
    LINKS,
    Cut,
    FillRedis,
    Flush,
    Hang,
    HangKafka,
    HangRedis,
    JoinAndLeave,
    Kill,
    KillKafka,
    KillRedis,
    TerminateWithoutKafka,
    Together,
    cuts_answers,
    drips,
    resets,
    slow_redis,
    stalls,
)
from tests.torture.scenario import Size, torment
from tests.torture.system import ProxiedKafka, System

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.torture.faults import Fault

pytestmark = pytest.mark.integration

SEED: Final = 20
SHORT: Final = Size(before=10, during=10)
# Without its cells, Redis is filled again from Kafka.
EMPTY: Final = "a Redis that comes back empty is not noticed: branch rewind"


class Shared:
    """One system for all tests of this file, until one of them breaks it."""

    def __init__(self) -> None:
        self._system: System | None = None

    async def get(self) -> System:
        """The system, which runs."""
        if self._system is None:
            folder = Path(tempfile.mkdtemp(prefix="torture-"))
            kafka = launched(ProxiedKafka)
            self._system = System(folder, module="tests.impatient", kafka=kafka)
            await asyncio.to_thread(self._system.launch)
            await self._system.start()
        return self._system

    def drop(self, *, keep: bool) -> None:
        """End the system; its folder is kept on request."""
        if self._system is not None:
            self._system.close()
            if not keep:
                shutil.rmtree(self._system.folder, ignore_errors=True)
            self._system = None


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    launched(RedisServer).close()  # skips on machines without it
    shared = Shared()
    yield shared
    shared.drop(keep=False)


def case(*faults: Callable[[], Fault], name: str, fails: str = "") -> object:
    marks = [pytest.mark.xfail(reason=fails, strict=False)] if fails else []
    return pytest.param(faults, id=name, marks=marks)


@pytest.mark.parametrize(
    "faults",
    [
        case(lambda: Together(Kill("streams-0"), Kill("collector")), name="kill -9 of services"),
        case(JoinAndLeave, lambda: Hang("streams-0"), name="workers join, leave and hang"),
        case(KillKafka, HangKafka, name="the broker is killed, and hangs"),
        case(
            lambda: KillRedis(keeps_log=True),
            FillRedis,
            HangRedis,
            name="Redis is killed, full, and hangs",
        ),
        case(slow_redis, resets, stalls, drips, cuts_answers, lambda: Cut(LINKS), name="the network"),
        case(TerminateWithoutKafka, name="SIGTERM without Kafka"),
        case(lambda: KillRedis(keeps_log=False), name="Redis comes back empty", fails=EMPTY),
        case(Flush, name="FLUSHALL", fails=EMPTY),
    ],
)
async def test_nothing_is_lost_doubled_or_wrong_after(
    faults: Sequence[Callable[[], Fault]], shared: Shared
) -> None:
    system = await shared.get()
    made = [make() for make in faults]
    if system.proxy is None and any(fault.needs_proxy for fault in made):
        pytest.skip("there is no toxiproxy: install Go and run tests/install-servers.sh")
    print(f"seed {SEED}; history and logs: {system.folder}")  # noqa: T201 - shown if it fails
    try:
        outcome = await torment(system, *made, seed=SEED, size=SHORT, settled_s=20)
        assert outcome.ok, outcome
    except BaseException:
        shared.drop(keep=True)
        raise
