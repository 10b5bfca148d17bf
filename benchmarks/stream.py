"""The delivery of every event to many clients of one process: delay, CPU, memory, side effects."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from benchmarks.fixtures import print_table
from benchmarks.http_load import (
    LOOPBACK,
    SHARES,
    Service,
    SnapshotSource,
    get,
    latencies,
    service,
    snapshot_source,
    spread,
)
from streams.redis.event_log import KEPT_S, STEP_S

if TYPE_CHECKING:
    from collections.abc import Callable

STREAM: Final = "/api/v1/stream"
WARM_S: Final = 5.0
LAST_S: Final = 10.0
EVERY_S: Final = (5.0, 0.25)  # as often as events are kept, and as there can be snapshots
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
    """A client that records which events it received, and how long after they were logged."""

    def __init__(self) -> None:
        self.delays: dict[bytes, float] = {}
        self._transport: asyncio.BaseTransport
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Handle the event loop's callback."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Handle the event loop's callback."""
        seen = self._rest + data
        for match in _ID.finditer(seen):
            # The id has the time of Redis' clock, which is this machine's.
            self.delays.setdefault(match[0], time.time() - int(match[1]) / 1000)
        self._rest = seen[-_LONGEST_ID:]

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


@click.command()
@click.option("--clients", default=1000, show_default=True)
@click.option("--for-s", default=60.0, show_default=True)
@click.option(
    "--every-s",
    multiple=True,
    default=EVERY_S,
    show_default=True,
    help="Seconds between two events; several for several rows.",
)
@click.option(
    "--hour/--no-hour",
    default=True,
    show_default=True,
    help="Also measure the memory of an hour of events.",
)
@click.option("--small", is_flag=True, help="Few figures, to check that it runs.")
def main(
    clients: int, for_s: float, every_s: tuple[float, ...], *, hour: bool, small: bool
) -> None:
    """Print the tables of docs/performance.md; exit 1 if an event did not reach a client."""
    sys.exit(not asyncio.run(_main(clients, for_s, every_s, hour=hour, small=small)))


async def _main(
    clients: int, for_s: float, every_s: tuple[float, ...], *, hour: bool, small: bool
) -> bool:
    async with snapshot_source(small=small) as source, service(source.url) as served:
        delivered = [await _deliver(source, served, clients, for_s, each) for each in every_s]
        size = f"{source.size:,} bytes"
        print_table(f"One process; events of {size}", HEAD, [each.row for each in delivered])
        title = f"{SHARES} meanwhile, {RATE} requests a second, ms"
        rows = [each.requests for each in delivered]
        print_table(title, ("events", "median", "p99", "longest"), rows)
        if hour:
            await _measure_hour(source, served)
    return all(each.is_complete for each in delivered)


class Delivery(NamedTuple):
    """What is known once some events were sent to all clients.

    Attributes:
        is_complete: whether every client received every event.
        row: of the table of events.
        requests: the row of the table of other requests.
    """

    is_complete: bool
    row: tuple[str, ...]
    requests: tuple[str, ...]


async def _deliver(
    source: SnapshotSource, served: Service, clients: int, for_s: float, every_s: float
) -> Delivery:
    """Send events to many clients."""
    before_mib = served.memory_mib()
    listeners = [await _listen(served) for _ in range(clients)]
    await _until(lambda: all(listener.delays for listener in listeners), WARM_S)
    each_kib = 1024 * (served.memory_mib() - before_mib) / clients
    for listener in listeners:
        listener.delays.clear()
    cpu, started = served.cpu_s(), time.monotonic()
    request = get(SHARES, served.endpoint)
    async with asyncio.TaskGroup() as tasks:
        requests = tasks.create_task(latencies(served.endpoint, request, RATE, for_s))
        events = 0
        while time.monotonic() < started + for_s:
            await source.write()
            events += 1
            await asyncio.sleep(max(0.0, started + events * every_s - time.monotonic()))
        await _until(lambda: all(len(each.delays) >= events for each in listeners), LAST_S)
    cpu, took = served.cpu_s() - cpu, time.monotonic() - started
    delivered = sum(len(listener.delays) for listener in listeners)
    for listener in listeners:
        listener.close()
    sent = f"{events} in {took:.0f} s"
    row = (
        f"{clients:,}",
        sent,
        f"{delivered:,} of {clients * events:,}",
        *spread([delay for listener in listeners for delay in listener.delays.values()]),
        f"{100 * cpu / took:.0f} %",
        f"{each_kib:.0f}",
    )
    return Delivery(delivered == clients * events, row, (sent, *spread(requests.result())))


async def _measure_hour(source: SnapshotSource, served: Service) -> None:
    """Measure the memory of an hour of events, in Redis and in the process, which caches them."""
    before_mib, events = served.memory_mib(), int(KEPT_S / STEP_S)
    for _ in range(events):
        await source.write()
    row = (
        f"{events:,}",
        f"{events * sum(source.sizes) / 2**20:.0f}",
        f"{await source.log_mib():.0f}",
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
    """Wait until a condition is met, but no longer than ``within_s``."""
    until = time.monotonic() + within_s
    while not met() and time.monotonic() < until:  # noqa: ASYNC110 - protocols have no event to wait for
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    main()
