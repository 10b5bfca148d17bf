"""What was polled while Kafka was away is on the disk: over a stop, a kill and a full disk."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from collector.disk import Disk
from collector.outbox import Outbox
from miningmap import messages as wire
from miningmap.spool import Spool
from tests.collector.test_outbox import DEADLINE_S, Deliveries, hashrates, report
from tests.full_disk import full_disk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    import pytest
    from structlog.typing import EventDict

    from miningmap.kafka.producer import Record

LIMIT = 10**7
POLLING = """
import asyncio, sys
from pathlib import Path
from collector.disk import Disk
from collector.outbox import Outbox
from tests.full_disk import full_disk
from tests.collector.test_outbox import report

async def main():
    async def away(records):
        await asyncio.Event().wait()
    disk = Disk(Path(sys.argv[1]), 10**7)
    outbox = Outbox(away, disk)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(outbox.run())
        number = 0
        while True:
            outbox.put([report("toy", float(number))])
            number += 1
            await asyncio.sleep(0.01)
            print(disk.messages, flush=True)

asyncio.run(main())
"""


class Slow:
    """A broker that acknowledges nothing while it is away."""

    def __init__(self) -> None:
        self.is_there = asyncio.Event()
        self.records: list[Record] = []

    async def deliver(self, records: Sequence[Record]) -> None:
        await self.is_there.wait()
        self.records += records


class Life:
    """An outbox from its start to its stop."""

    def __init__(self, folder: Path, kafka: Slow | Deliveries, max_bytes: int = LIMIT) -> None:
        self.dropped = 0
        self.disk = Disk(folder, max_bytes, self._drop)
        self.outbox = Outbox(kafka.deliver, self.disk)
        self.lost = 0

    def _drop(self, messages: int) -> None:
        self.dropped += messages

    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.outbox.put([report("toy", float(number))])

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():  # noqa: ASYNC110 - another thread decides
            await asyncio.sleep(0.005)


@asynccontextmanager
async def living(
    folder: Path, kafka: Slow | Deliveries, max_bytes: int = LIMIT
) -> AsyncIterator[Life]:
    life = Life(folder, kafka, max_bytes)
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(life.outbox.run())
        yield life
        running.cancel()
    life.lost = await life.outbox.close()


def saved(folder: Path) -> int:
    with closing(Spool(folder, LIMIT)) as spool:
        return len(spool)


async def test_while_kafka_answers_the_disk_is_not_used(tmp_path: Path) -> None:
    kafka = Deliveries()
    async with living(tmp_path, kafka) as life:
        await life.outbox.join()
        for number in range(50):
            life.put(number)
            await life.outbox.join()
        assert life.disk.messages == 0
        log = tmp_path / "spool.sqlite3-wal"
        written = log.stat().st_size
        life.put(50)
        await life.outbox.join()
        assert log.stat().st_size == written
    assert kafka.hashrates == list(range(51))
    assert life.lost == 0


async def test_what_kafka_does_not_acknowledge_at_once_is_saved(tmp_path: Path) -> None:
    kafka = Slow()
    async with living(tmp_path, kafka) as life:
        life.put(*range(5))
        await life.until(lambda: (life.disk.messages, life.outbox.messages) == (5, 0))
        assert life.disk.size > 0
        kafka.is_there.set()
        life.put(5, 6)
        await life.outbox.join()
        assert (life.disk.messages, life.outbox.messages) == (0, 0)
    assert hashrates(kafka.records) == list(range(7))


async def test_a_stop_saves_what_is_left_and_the_next_start_publishes_it_first(
    tmp_path: Path,
) -> None:
    async with living(tmp_path, Slow()) as life:
        life.put(*range(1200))
    assert life.lost == 0
    assert saved(tmp_path) == 1200

    kafka = Deliveries()
    with capture_logs() as logs:
        async with living(tmp_path, kafka) as life:
            life.put(1200, 1201)
            await life.outbox.join()
    assert kafka.hashrates == list(range(1202))
    assert saved(tmp_path) == 0
    assert [(log["event"], log["messages"]) for log in logs] == [("spool_found", 1200)]


async def test_a_saved_message_keeps_the_time_of_its_poll(tmp_path: Path) -> None:
    outbox = Outbox(Slow().deliver, Disk(tmp_path, LIMIT), now=lambda: 1000.0)
    outbox.put([report("toy")])
    assert await outbox.close() == 0
    kafka = Deliveries()
    async with living(tmp_path, kafka) as life:
        await life.outbox.join()
    assert [record.timestamp_ms for record in kafka.records] == [1_000_000]


async def test_without_a_disk_what_is_left_is_lost_and_said() -> None:
    outbox = Outbox(Slow().deliver)
    outbox.put([report("toy"), report("toy")])
    assert await outbox.close() == 2


async def test_after_a_kill_all_is_there_but_the_last_moment(tmp_path: Path) -> None:
    seen = await asyncio.to_thread(killed_with_many, tmp_path)
    kafka = Deliveries()
    async with living(tmp_path, kafka) as life:
        await life.outbox.join()
    assert kafka.hashrates == list(range(len(kafka.records)))
    assert len(kafka.records) >= seen >= 50


def killed_with_many(folder: Path) -> int:
    """Kill a process that polls while Kafka is away; return how many messages it had saved."""
    with subprocess.Popen(
        [sys.executable, "-c", POLLING, str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 50:
                break
        process.send_signal(signal.SIGKILL)
    return int(line)


async def test_a_full_spool_drops_the_oldest_but_not_what_is_on_its_way(tmp_path: Path) -> None:
    kafka, one = Slow(), 64 + 300
    with capture_logs() as logs:
        async with living(tmp_path, kafka, 100 * one) as life:
            life.put(0)
            await life.until(lambda: life.disk.messages == 1)
            for number in range(1, 300):
                life.put(number)
            await life.until(lambda: life.outbox.messages == 0)
            assert life.disk.size <= 100 * one
            kafka.is_there.set()
            await life.outbox.join()
    left = hashrates(kafka.records)
    assert left[-1] == 299
    assert left == sorted(left)
    assert life.dropped > 0
    assert len(set(left)) >= 300 - life.dropped
    assert [log["event"] for log in logs if log["event"] != "spool_found"] == ["outbox_full"]


def events(logs: list[EventDict]) -> list[str]:
    return [log["event"] for log in logs]


async def test_a_full_disk_ends_nothing_and_is_used_again_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.outbox.DISK_RETRY_S", 0.05)
    kafka = Slow()
    with capture_logs() as logs:
        async with living(tmp_path, kafka) as life:
            await life.outbox.join()
            with full_disk():
                life.put(*range(3))
                await life.until(lambda: life.disk.error is not None)
                assert life.outbox.messages == 3
                life.put(3)
            await life.until(lambda: (life.disk.messages, life.disk.error) == (4, None))
            kafka.is_there.set()
            await life.outbox.join()
    assert hashrates(kafka.records) == [0, 1, 2, 3]
    assert events(logs) == ["spool_unavailable", "spool_available"]
    assert life.lost == 0


async def test_a_disk_that_becomes_full_delays_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved messages cannot be removed then; they are not published twice all the same."""
    monkeypatch.setattr("collector.outbox.DISK_RETRY_S", 0.05)
    kafka = Slow()
    async with living(tmp_path, kafka) as life:
        life.put(*range(3))
        await life.until(lambda: life.disk.messages == 3)
        with full_disk():
            kafka.is_there.set()
            await life.until(lambda: len(kafka.records) == 3)
            life.put(3)
            await life.until(lambda: len(kafka.records) == 4)
        life.put(4)
        await life.outbox.join()
    assert hashrates(kafka.records) == [0, 1, 2, 3, 4]


async def test_at_the_end_of_a_full_disk_the_loss_is_counted(tmp_path: Path) -> None:
    async with living(tmp_path, Slow()) as life:
        with full_disk():
            life.put(*range(3))
            await life.until(lambda: life.disk.error is not None)
            lost = await life.outbox.close()
    assert lost == 3


async def test_a_folder_that_cannot_be_used_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    kafka = Deliveries()
    with capture_logs() as logs:
        async with living(tmp_path / "spool", kafka) as life:
            life.put(1, 2)
            await life.until(lambda: len(kafka.records) == 2)
    assert events(logs) == ["spool_unavailable"]
    assert "File exists" in logs[0]["error"]


async def test_a_damaged_spool_is_set_aside(tmp_path: Path) -> None:
    async with living(tmp_path, Slow()) as life:
        life.put(*range(100))
    file = tmp_path / "spool.sqlite3"
    file.write_bytes(b"damaged" * 5000)
    kafka = Deliveries()
    with capture_logs() as logs:
        async with living(tmp_path, kafka) as life:
            life.put(1)
            await life.outbox.join()
    assert kafka.hashrates == [1]
    assert events(logs) == ["spool_damaged"]
    assert (tmp_path / "damaged-spool.sqlite3").exists()


async def test_a_damaged_message_is_lost_alone(tmp_path: Path) -> None:
    async with living(tmp_path, Slow()) as life:
        life.put(*range(3))
    with closing(sqlite3.connect(tmp_path / "spool.sqlite3")) as database, database:
        database.execute("UPDATE rows SET row = ? WHERE id = 2", (b"\xc1",))
    kafka = Deliveries()
    with capture_logs() as logs:
        async with living(tmp_path, kafka) as life:
            await life.outbox.join()
    assert kafka.hashrates == [0, 2]
    assert life.dropped == 1
    assert events(logs) == ["spool_found", "spooled_message_damaged"]
    assert wire.decode(kafka.records[0].value).hashrate == 0
