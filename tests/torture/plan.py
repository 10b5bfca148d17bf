"""The faults of ``make torture`` and of the short tests, and the systems that they need."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from launch.local.embedded import free_port
from tests.servers import UnavailableError
from tests.torture import faults as f
from tests.torture.clocks import library
from tests.torture.cluster import BROKERS, KafkaCluster
from tests.torture.disks import small_disk
from tests.torture.system import LoggedRedis, ProxiedKafka, System

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.torture.faults import Fault

SystemKind: TypeAlias = Literal[
    "one broker", "three brokers", "small disks", "own clocks", "everything"
]
"""What a system consists of; "everything" is one broker, and of the rest what this machine can."""

HOUR_S: Final = 3600
SIZES_MB: Final = {"the broker": 96, "Redis": 24, "the spool": 8}
"""Of the disks, by what is on them."""


@dataclass(frozen=True)
class Trial:
    """A fault to try, on a system of some kind; ``make`` gets the disks that it has."""

    kind: SystemKind
    make: Callable[[Mapping[str, Path]], Fault]


@dataclass
class Bench:
    """A system, and the disks that it has."""

    system: System
    replication: int = 1
    disks: dict[str, Path] = field(default_factory=dict)

    def lacks(self, fault: Fault) -> str | None:
        """Why a fault cannot be tried here; ``None`` if it can."""
        if fault.needs_proxy and self.system.proxy is None:
            return "there is no toxiproxy: install Go and run tests/install-servers.sh"
        if isinstance(fault, f.FillDisk) and not self.disks:
            return "no disk can be mounted here: run it as root"
        if isinstance(fault, f.FillDisk) and fault.needs_spool and not self.system.has_spool:
            return "this version has no spool"
        if isinstance(fault, f.SetClock) and not self.system.clocks:
            return "there is no libfaketime: install it (Debian: apt-get install faketime)"
        return None


@contextmanager
def bench(kind: SystemKind, module: str = "launch", **more: Any) -> Iterator[Bench]:
    """A new system, of which the services are not started yet; its folder is left.

    Args:
        kind: of the system.
        module: which starts a service.
        more: other arguments of :class:`System`.

    Raises:
        UnavailableError: this machine cannot run it.
    """
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    with ExitStack() as stack:
        made = _bench(kind, folder, stack, {"module": module, **more})
        stack.callback(made.system.close)
        made.system.launch()
        yield made


def _bench(kind: SystemKind, folder: Path, stack: ExitStack, more: dict[str, Any]) -> Bench:
    if kind == "three brokers":
        cluster = KafkaCluster.launch()
        return Bench(System(folder, kafka=cluster, workers=2, **more), BROKERS)
    optional = suppress(UnavailableError) if kind == "everything" else nullcontext()
    disks: dict[str, Path] = {}
    if kind in {"own clocks", "everything"}:
        with optional:
            library()
            more |= {"set_clocks": True}
    if kind in {"small disks", "everything"}:
        with optional:
            for name, megabytes in SIZES_MB.items():
                disks[name] = stack.enter_context(small_disk(megabytes))
    if disks:
        ProxiedKafka.require()
        kafka = ProxiedKafka(_folder(disks["the broker"]), [free_port(), free_port()])
        redis = LoggedRedis(_folder(disks["Redis"]), [free_port()])
        kafka.start()
        redis.start()
        more |= {"kafka": kafka, "redis": redis, "spool": disks["the spool"] / "spool"}
    return Bench(System(folder, **more), disks=disks)


def _folder(disk: Path) -> Path:
    folder = disk / "data"
    folder.mkdir()
    return folder


TRIALS: Final = (
    Trial("one broker", lambda _: f.Kill("streams-0")),
    Trial("one broker", lambda _: f.Kill("collector")),
    Trial("one broker", lambda _: f.Kill("streams-0", "collector", "endpoint")),
    Trial("one broker", lambda _: f.JoinAndLeave()),
    Trial("one broker", lambda _: f.Hang("streams-0")),
    Trial("one broker", lambda _: f.Hang("collector")),
    Trial("one broker", lambda _: f.Terminate()),
    Trial("one broker", lambda _: f.TerminateWithoutKafka()),
    Trial("one broker", lambda _: f.KillKafka()),
    Trial("one broker", lambda _: f.HangKafka()),
    Trial("three brokers", lambda _: f.KillBroker(0)),
    Trial("one broker", lambda _: f.KillRedis(keeps_log=True)),
    Trial("one broker", lambda _: f.KillRedis(keeps_log=False)),
    Trial("one broker", lambda _: f.RestoreRedis()),
    Trial("one broker", lambda _: f.Flush()),
    Trial("one broker", lambda _: f.Rebuild()),
    Trial("one broker", lambda _: f.Rebuild(is_killed=True)),
    Trial("one broker", lambda _: f.FillRedis()),
    Trial("one broker", lambda _: f.HangRedis()),
    Trial("one broker", lambda _: f.slow_redis()),
    Trial(
        "one broker",
        lambda _: f.Together(f.KillKafka(), f.KillRedis(keeps_log=True), f.Kill("streams-0")),
    ),
    Trial("one broker", lambda _: f.resets()),
    Trial("one broker", lambda _: f.stalls()),
    Trial("one broker", lambda _: f.drips()),
    Trial("one broker", lambda _: f.cuts_answers()),
    Trial("one broker", lambda _: f.Cut(f.LINKS)),
    Trial("small disks", lambda disks: f.FillDisk("the broker", disks)),
    Trial("small disks", lambda disks: f.FillDisk("Redis", disks)),
    Trial("small disks", lambda disks: f.FillDisk("the spool", disks)),
    Trial("own clocks", lambda _: f.SetClock("streams", HOUR_S)),
    Trial("own clocks", lambda _: f.SetClock("streams", -HOUR_S)),
    Trial("own clocks", lambda _: f.SetClock("collector", HOUR_S)),
    Trial("own clocks", lambda _: f.SetClock("collector", -HOUR_S)),
)
