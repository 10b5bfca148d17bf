"""How many clients one process tells every event, how soon, and what others feel of it."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from typing import TYPE_CHECKING, Final

import click

from benchmarks.fixtures import print_table
from benchmarks.http_load import (
    LOOPBACK,
    SHARES,
    Service,
    World,
    get,
    latencies,
    service,
    spread,
    world,
)
from miningmap.settings import Streams
from streams.redis.event_log import KEPT_S

if TYPE_CHECKING:
    from collections.abc import Callable

STREAM: Final = "/api/v1/stream"
WARM_S: Final = 5.0
LAST_S: Final = 10.0
EVERY_S: Final = float(Streams().snapshot_s)
RATE: Final = 100
HEAD: Final = (
    "clients",
    "events",
    "delivered",
    "after, ms: median",
    "p99",
    "longest",
    "of a core",
    "KiB a client",
)

_ID: Final = re.compile(rb"id: (\d+)-(\d+)\nevent: ")
_LONGEST_ID: Final = 64


class Listener(asyncio.Protocol):
    """A client that notes which events came, and how long after they were logged."""

    def __init__(self) -> None:
        self.heard: dict[bytes, float] = {}
        self._transport: asyncio.BaseTransport
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As the event loop calls it."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """As the event loop calls it."""
        seen = self._rest + data
        for match in _ID.finditer(seen):
            # Redis' clock, which is this machine's.
            self.heard.setdefault(match[0], time.time() - int(match[1]) / 1000)
        self._rest = seen[-_LONGEST_ID:]

    def close(self) -> None:
        """The end of it."""
        self._transport.close()


@click.command()
@click.option("--clients", default=1000, show_default=True)
@click.option("--for-s", default=60.0, show_default=True)
@click.option("--every-s", default=EVERY_S, show_default=True, help="Between two events.")
@click.option("--hour/--no-hour", default=True, show_default=True, help="Weigh an hour of events.")
def main(clients: int, for_s: float, every_s: float, *, hour: bool) -> None:
    """Print the tables of docs/performance.md; exit 1 if an event did not reach a client."""
    sys.exit(not asyncio.run(_main(clients, for_s, every_s, hour=hour)))


async def _main(clients: int, for_s: float, every_s: float, *, hour: bool) -> bool:
    async with world() as told, service(told.url) as served:
        whole = await _crowd(told, served, clients, for_s, every_s)
        if hour:
            await _hour(told, served)
    return whole


async def _crowd(told: World, served: Service, clients: int, for_s: float, every_s: float) -> bool:
    """Whether all clients were told every event."""
    before_mib = served.memory_mib()
    listeners = [await _listen(served) for _ in range(clients)]
    await _until(lambda: all(listener.heard for listener in listeners), WARM_S)
    each_kib = 1024 * (served.memory_mib() - before_mib) / clients
    for listener in listeners:
        listener.heard.clear()
    cpu, started = served.cpu_s(), time.monotonic()
    request = get(SHARES, served.endpoint)
    asking = asyncio.create_task(latencies(served.endpoint, request, RATE, for_s))
    events = 0
    while time.monotonic() < started + for_s:
        await told.tell()
        events += 1
        await asyncio.sleep(max(0.0, started + events * every_s - time.monotonic()))
    await _until(lambda: all(len(listener.heard) >= events for listener in listeners), LAST_S)
    cpu, took = served.cpu_s() - cpu, time.monotonic() - started
    delivered = sum(len(listener.heard) for listener in listeners)
    row = (
        f"{clients:,}",
        f"{events} in {took:.0f} s",
        f"{delivered:,} of {clients * events:,}",
        *spread([late for listener in listeners for late in listener.heard.values()]),
        f"{100 * cpu / took:.0f} %",
        f"{each_kib:.0f}",
    )
    print_table(f"One process; events of {told.size:,} bytes", HEAD, [row])
    title = f"{SHARES} meanwhile, {RATE} requests a second, ms"
    print_table(title, ("median", "p99", "longest"), [spread(await asking)])
    for listener in listeners:
        listener.close()
    return delivered == clients * events


async def _hour(told: World, served: Service) -> None:
    """What an hour of events takes, in Redis and in the process, which holds them too."""
    before_mib, events = served.memory_mib(), int(KEPT_S / EVERY_S)
    for _ in range(events):
        await told.tell()
    row = (
        f"{events:,}",
        f"{events * sum(told.sizes) / 2**20:.0f}",
        f"{await told.log_mib():.0f}",
        f"{served.memory_mib() - before_mib:.0f}",
    )
    head = ("events", "answers in them, MiB", "in Redis, MiB", "in the process, MiB")
    print_table("The log of an hour", head, [row])


async def _listen(served: Service) -> Listener:
    loop = asyncio.get_running_loop()
    transport, listener = await loop.create_connection(Listener, LOOPBACK, served.endpoint)
    transport.write(get(STREAM, served.endpoint))
    return listener


async def _until(met: Callable[[], bool], within_s: float) -> None:
    """Until it is so, or it is too late."""
    until = time.monotonic() + within_s
    while not met() and time.monotonic() < until:  # noqa: ASYNC110 - seen by protocols
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    main()
