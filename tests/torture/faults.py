"""The faults: each strikes the system, which goes on under load, and is healed.

They are small so that they can be put together: :class:`Together`, and one after the other.
"""

from __future__ import annotations

import asyncio
import os
import signal
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from redis.asyncio import Redis

from tests.torture.cluster import KafkaCluster
from tests.torture.disks import fill, make_room
from tests.torture.network import in_thread
from tests.torture.system import STOP_S, worker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.servers import KafkaServer
    from tests.torture.clocks import Clock
    from tests.torture.system import Service, System

FULL_BYTES: Final = 64 * 1024
"""How much room a full Redis has left, when the limit is set."""


class Fault(ABC):
    """Something that goes wrong, and then stops being wrong.

    Attributes:
        name: of the row in docs/reliability.md.
        needs_proxy: whether it works only with toxiproxy.
        may_lose_polls: whether polls that were not in Kafka yet may be lost.
        problems: what the fault itself found wrong, as sentences.
    """

    name: str
    needs_proxy = False
    may_lose_polls = False

    def __init__(self) -> None:
        self.problems: list[str] = []

    @abstractmethod
    async def strike(self, system: System) -> None:
        """Make it go wrong."""

    async def heal(self, system: System) -> None:  # noqa: B027 - a flushed Redis needs none
        """Make it right again."""


class Together(Fault):
    """Several faults at once."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__()
        self.name = ", and ".join(fault.name for fault in faults)
        self.needs_proxy = any(fault.needs_proxy for fault in faults)
        self.may_lose_polls = any(fault.may_lose_polls for fault in faults)
        self._faults = faults

    async def strike(self, system: System) -> None:
        await asyncio.gather(*(fault.strike(system) for fault in self._faults))

    async def heal(self, system: System) -> None:
        await asyncio.gather(*(fault.heal(system) for fault in self._faults))
        self.problems = [problem for fault in self._faults for problem in fault.problems]


# --- processes ------------------------------------------------------------------------------------


class Kill(Fault):
    """kill -9 of services, which are started again at the end."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        kinds = sorted({name.partition("-")[0] for name in names})
        self.name = f"kill -9 of {' and '.join(kinds)}"
        self.may_lose_polls = "collector" in kinds  # those in flight
        self._names = names

    async def strike(self, system: System) -> None:
        for name in self._names:
            await system.services[name].end(signal.SIGKILL)

    async def heal(self, system: System) -> None:
        for name in self._names:
            system.services[name].start()


class Terminate(Fault):
    """SIGTERM of all services under load: each ends in time, and without an error.

    Args:
        within_s: how long each may take.
    """

    name = "SIGTERM of every service"

    def __init__(self, within_s: float = STOP_S) -> None:
        super().__init__()
        self._within_s = within_s

    async def strike(self, system: System) -> None:
        ended = await asyncio.gather(*(each.end() for each in system.services.values()))
        for name, (seconds, code) in zip(system.services, ended, strict=True):
            if seconds > self._within_s:
                self.problems.append(f"{name} took {seconds:.1f} s to end")
            if code:
                self.problems.append(f"{name} ended with code {code}")

    async def heal(self, system: System) -> None:
        for service in system.services.values():
            service.start()


class TerminateWithoutKafka(Terminate):
    """The same while Kafka is away, so that nothing can be delivered."""

    name = "SIGTERM of every service while Kafka is away"

    async def strike(self, system: System) -> None:
        await in_thread(system.broker.stop, signal.SIGKILL)
        await super().strike(system)

    async def heal(self, system: System) -> None:
        await in_thread(system.broker.start)
        await super().heal(system)


class JoinAndLeave(Fault):
    """Workers join the group, one leaves in order, and one is killed."""

    name = "workers join, leave and are killed"

    async def strike(self, system: System) -> None:
        system.add_worker()
        system.add_worker()

    async def heal(self, system: System) -> None:
        await system.remove_worker(worker(1), signal.SIGTERM)
        await system.remove_worker(worker(2), signal.SIGKILL)


class Hang(Fault):
    """A service is stopped (SIGSTOP) and goes on later, when the group has gone on without it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = f"{name.partition('-')[0]} hangs"
        self._service = name

    async def strike(self, system: System) -> None:
        os.kill(system.services[self._service].pid, signal.SIGSTOP)

    async def heal(self, system: System) -> None:
        os.kill(system.services[self._service].pid, signal.SIGCONT)


class Rebuild(Fault):
    """``miningmap rebuild`` under load: no fault, but all cells are replaced.

    Args:
        is_killed: whether it is killed half-way, and then run again.
    """

    def __init__(self, *, is_killed: bool = False) -> None:
        super().__init__()
        self.name = f"rebuild{', killed half-way and run again' if is_killed else ''}"
        self._is_killed = is_killed
        self._run: Service | None = None

    async def strike(self, system: System) -> None:
        self._run = system.command("rebuild")
        self._run.start()

    async def heal(self, system: System) -> None:
        assert self._run is not None
        if self._is_killed and self._run.running:
            await self._run.end(signal.SIGKILL)
            # For some seconds it is refused, because the first one may still run.
            await system.until(self._runs_again, "rebuild runs again")
        elif code := await self._run.ended():
            self.problems.append(f"rebuild ended with code {code}: {self._run.last_lines()}")

    async def _runs_again(self) -> bool:
        assert self._run is not None
        self._run.start()
        return await self._run.ended() == 0


# --- servers --------------------------------------------------------------------------------------


class KillKafka(Fault):
    """kill -9 of the broker, which keeps its log."""

    name = "kill -9 of the broker"

    async def strike(self, system: System) -> None:
        await in_thread(system.broker.stop, signal.SIGKILL)

    async def heal(self, system: System) -> None:
        await in_thread(system.broker.start)


class HangKafka(Fault):
    """The broker keeps its connections and answers nothing."""

    name = "the broker hangs"

    async def strike(self, system: System) -> None:
        os.kill(_pid(system.broker.pid), signal.SIGSTOP)

    async def heal(self, system: System) -> None:
        os.kill(_pid(system.broker.pid), signal.SIGCONT)


class KillRedis(Fault):
    """kill -9 of Redis, which comes back with its log, or empty."""

    def __init__(self, *, keeps_log: bool) -> None:
        super().__init__()
        self.name = f"kill -9 of Redis, which comes back {'with its log' if keeps_log else 'empty'}"
        self._keeps_log = keeps_log

    async def strike(self, system: System) -> None:
        await in_thread(system.redis.stop, signal.SIGKILL)

    async def heal(self, system: System) -> None:
        if not self._keeps_log:
            system.redis.lose_log()
        await in_thread(system.redis.start)


class RestoreRedis(Fault):
    """Redis comes back from a backup that is older than what was written since."""

    name = "Redis comes back from an older backup"

    async def strike(self, system: System) -> None:
        await in_thread(system.redis.back_up)

    async def heal(self, system: System) -> None:
        await in_thread(system.redis.stop, signal.SIGKILL)
        system.redis.restore()
        await in_thread(system.redis.start)


class Flush(Fault):
    """FLUSHALL: all keys are gone, and nothing is restarted."""

    name = "FLUSHALL"

    async def strike(self, system: System) -> None:
        await in_thread(system.redis.flush)


class HangRedis(Fault):
    """Redis keeps its connections and answers nothing."""

    name = "Redis hangs"

    async def strike(self, system: System) -> None:
        os.kill(_pid(system.redis.pid), signal.SIGSTOP)

    async def heal(self, system: System) -> None:
        os.kill(_pid(system.redis.pid), signal.SIGCONT)


class FillRedis(Fault):
    """Redis has no room left (maxmemory, noeviction), and then has."""

    name = "Redis is full"

    async def strike(self, system: System) -> None:
        async with Redis.from_url(system.redis.url) as redis:
            used = (await redis.info("memory"))["used_memory"]
            await redis.config_set("maxmemory", used + FULL_BYTES)

    async def heal(self, system: System) -> None:
        async with Redis.from_url(system.redis.url) as redis:
            await redis.config_set("maxmemory", 0)


def _pid(pid: int | None) -> int:
    assert pid is not None, "the server was never started"
    return pid


# --- the network ----------------------------------------------------------------------------------


class Network(Fault):
    """What toxiproxy does to links; see its list of toxics."""

    needs_proxy = True

    def __init__(
        self, name: str, links: Sequence[str], kind: str, stream: str, **attributes: int
    ) -> None:
        super().__init__()
        self.name = name
        self._links = links
        self._toxic = kind, stream
        self._attributes = attributes

    async def strike(self, system: System) -> None:
        assert system.proxy is not None
        for link in self._links:
            await in_thread(system.proxy.spoil, link, *self._toxic, **self._attributes)

    async def heal(self, system: System) -> None:
        assert system.proxy is not None
        await in_thread(system.proxy.mend)


class Cut(Fault):
    """All connections of links are closed, and new ones are refused."""

    needs_proxy = True
    name = "the network is cut"

    def __init__(self, links: Sequence[str]) -> None:
        super().__init__()
        self._links = links

    async def strike(self, system: System) -> None:
        assert system.proxy is not None
        for link in self._links:
            await in_thread(system.proxy.cut, link)

    async def heal(self, system: System) -> None:
        assert system.proxy is not None
        await in_thread(system.proxy.mend)


LINKS: Final = ("kafka", "redis", "intake")


def resets() -> Fault:
    """Connections are reset after some milliseconds, with data in flight."""
    return Network("the network resets connections", LINKS, "reset_peer", "downstream", timeout=50)


def stalls() -> Fault:
    """Data goes nowhere, and connections stay open."""
    return Network("the network stalls", LINKS, "timeout", "downstream", timeout=0)


def drips() -> Fault:
    """A few kilobytes a second."""
    return Network("the network drips", LINKS, "bandwidth", "downstream", rate=2)


def cuts_answers() -> Fault:
    """Connections are closed in the middle of an answer."""
    return Network("the network cuts answers short", LINKS, "limit_data", "downstream", bytes=700)


def slow_redis() -> Fault:
    """Redis answers late, and not evenly."""
    return Network("Redis is slow", ("redis",), "latency", "downstream", latency=400, jitter=300)


# --- several brokers ------------------------------------------------------------------------------


class KillBroker(Fault):
    """kill -9 of one broker of three; the other two go on."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.name = "kill -9 of one broker of three"
        self._number = number

    async def strike(self, system: System) -> None:
        await in_thread(self._broker(system).stop, signal.SIGKILL)

    async def heal(self, system: System) -> None:
        await in_thread(self._broker(system).start)

    def _broker(self, system: System) -> KafkaServer:
        assert isinstance(system.kafka, KafkaCluster)
        return system.kafka.brokers[self._number]


# --- disks ----------------------------------------------------------------------------------------


class FillDisk(Fault):
    """A disk is full, and then has room again; a server that ended is started by its supervisor.

    The spool is needed only while Kafka is away, so then it is.

    Args:
        name: of what is on the disk.
        disks: where each is mounted.
    """

    def __init__(self, name: str, disks: Mapping[str, Path]) -> None:
        super().__init__()
        self.needs_spool = name == "the spool"
        self.name = f"a full disk of {name}{' while Kafka is away' if self.needs_spool else ''}"
        self.may_lose_polls = self.needs_spool
        self._what = name
        self._disks = disks

    async def strike(self, system: System) -> None:
        if self.needs_spool:
            await in_thread(system.broker.stop, signal.SIGKILL)
        await in_thread(fill, self._disks[self._what])

    async def heal(self, system: System) -> None:
        await in_thread(make_room, self._disks[self._what])
        for server in (system.broker, system.redis):
            if not server.running:
                await in_thread(server.start)


# --- clocks ---------------------------------------------------------------------------------------


class SetClock(Fault):
    """The clock of services jumps, and then is right again."""

    def __init__(self, kind: str, seconds: int) -> None:
        super().__init__()
        hours = f"{abs(seconds) / 3600:g} h {'ahead' if seconds > 0 else 'back'}"
        self.name = f"the clock of {kind} is {hours}"
        self._kind = kind
        self._seconds = seconds

    async def strike(self, system: System) -> None:
        for clock in self._clocks(system):
            clock.set(self._seconds)

    async def heal(self, system: System) -> None:
        for clock in self._clocks(system):
            clock.set(0)

    def _clocks(self, system: System) -> list[Clock]:
        return [clock for name, clock in system.clocks.items() if name.startswith(self._kind)]
