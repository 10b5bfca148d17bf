"""A process that polls is killed while Kafka hangs: what it had polled is published later."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from collector.disk import Disk
from collector.outbox import MOMENT_S, MessagePublisher, Outbox
from miningmap import messages as wire
from miningmap.kafka.reader import open_reader
from miningmap.kafka.topics import REPORTS
from miningmap.settings import Kafka
from tests.collector.test_outbox import ignore

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import KafkaServer

pytestmark = pytest.mark.integration

RUNS = 25 if os.environ.get("SLOW") else 2
DEADLINE_S = 60
LEAST = 40
SLACK_S = 0.5
"""How long a busy machine may take to write to the disk, beside the moment that is promised."""
POLLING = """
import asyncio, sys, time
import structlog
from pathlib import Path
from collector.disk import Disk
from collector.outbox import MessagePublisher, Outbox
from miningmap.settings import Kafka
from tests.collector.test_outbox import report

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

async def main():
    folder, servers, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    async with MessagePublisher(Kafka(bootstrap_servers=servers), acknowledged=len) as publisher:
        outbox = Outbox(publisher.deliver, Disk(folder, 10**7))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(outbox.run())
            while True:
                outbox.put([report("toy", float(number))])
                print(number, time.monotonic(), flush=True)
                number += 1
                await asyncio.sleep(0.01)

asyncio.run(main())
"""


def killed(folder: Path, kafka: KafkaServer, first: int) -> tuple[int, int]:
    """Poll from a number on, with a Kafka that hangs after a while, until the kill.

    Returns:
        The last number that was polled, and the last one that has to be published.
    """
    command = [sys.executable, "-c", POLLING, str(folder), kafka.bootstrap_servers, str(first)]
    polled: list[tuple[int, float]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            number, at = line.split()
            polled.append((int(number), float(at)))
            if len(polled) == LEAST:
                break
        with kafka.frozen():
            for line in process.stdout:
                number, at = line.split()
                polled.append((int(number), float(at)))
                if len(polled) >= 5 * LEAST:
                    break
            killed_at = time.monotonic()
            process.send_signal(signal.SIGKILL)
            process.wait()
    due = [number for number, at in polled if at < killed_at - MOMENT_S - SLACK_S]
    return polled[-1][0], due[-1]


async def drained(folder: Path, kafka: KafkaServer) -> None:
    settings = Kafka(bootstrap_servers=kafka.bootstrap_servers)
    async with MessagePublisher(settings, acknowledged=ignore) as publisher:
        outbox = Outbox(publisher.deliver, Disk(folder, 10**7))
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(outbox.run())
            await outbox.join()
            running.cancel()
        assert await outbox.close() == 0


async def test_what_was_polled_before_a_kill_is_published_once_kafka_answers(
    clean_kafka: KafkaServer, tmp_path: Path
) -> None:
    first, due = 0, set[int]()
    for _ in range(RUNS):
        last, last_due = await asyncio.to_thread(killed, tmp_path, clean_kafka, first)
        due |= set(range(first, last_due + 1))
        first = last + 1
    await drained(tmp_path, clean_kafka)

    broker = Kafka(bootstrap_servers=clean_kafka.bootstrap_servers)
    async with open_reader(broker, [REPORTS]) as reader:
        values = [value async for batch in reader.batches() for value in batch]
    published = [int(wire.decode(value).hashrate) for value in values]
    logging.getLogger(__name__).warning(
        "%d kills, %d polled, %d of %d lost, %d published twice",
        RUNS,
        first,
        len(due - set(published)),
        len(due),
        len(published) - len(set(published)),
    )
    assert due - set(published) == set()
    in_order = list(dict.fromkeys(published))
    assert in_order == sorted(in_order)
