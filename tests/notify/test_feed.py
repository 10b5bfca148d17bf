"""From a real Kafka to a webhook: at least once, in order, from where the group left off."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

import httpx
import msgspec
import pytest
import structlog
from aiokafka.consumer.fetcher import Fetcher
from pydantic import SecretStr

from launch.local.embedded import EmbeddedBroker, embedded_kafka, free_port
from launch.local.supervisor import Supervisor
from miningmap import settings as config
from miningmap.kafka.admin import ensure_topics
from miningmap.kafka.errors import BrokerError
from miningmap.kafka.lag import lag_of
from miningmap.kafka.producer import Publisher, Record
from miningmap.kafka.topics import SWINGS
from miningmap.notify.choice import Choice
from miningmap.notify.events import event_of
from miningmap.notify.feed import Feed
from miningmap.notify.receiver import Patience
from miningmap.notify.service import run
from miningmap.settings import SettingsError
from tests.notify.events import place, pool
from tests.notify.receivers import WITHIN_S, Answer, Webhook, until
from tests.promtool import faults
from tests.servers import ROOT, delete_topics, kafka_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from miningmap.notify.feed import Start
    from miningmap.settings import Settings
    from tests.servers import KafkaServer

FIRST, SECOND, THIRD = place(), pool(minute=1), place("US-GA", minute=2)
END = place(state="resolved", minute=30)
OTHERS = place("RU", driver="others")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are repeated at once."""
    defaults = Patience(first_s=0.01, longest_s=0.05)
    monkeypatch.setattr(Patience.__new__, "__defaults__", tuple(defaults))


@pytest.fixture
def notifying(settings: Settings, webhook: Webhook, clean_kafka: KafkaServer) -> Settings:
    settings.kafka = config.Kafka(
        bootstrap_servers=clean_kafka.bootstrap_servers, session_timeout_s=6
    )
    settings.notify = config.Notify(
        webhook=SecretStr(webhook.url),
        group=f"notify-{os.urandom(4).hex()}",
        timeout_s=5,
        metrics_port=0,
    )
    return settings


async def publish(settings: Settings, *values: bytes) -> None:
    async with Publisher(settings.kafka, frozenset({SWINGS})) as publisher:
        await publisher.publish([Record(SWINGS, b"key", value) for value in values])


@asynccontextmanager
async def notify(
    settings: Settings, choice: Choice | None = None, *, start: Start = "beginning"
) -> AsyncIterator[None]:
    """Run the service in this process during the block."""
    stop = asyncio.Event()
    task = asyncio.create_task(run(settings, stop, choice=choice or Choice(), start=start))
    try:
        yield
    finally:
        stop.set()
        await task


async def waiting(settings: Settings) -> int:
    """Return the number of messages that the group has not committed."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            with suppress(BrokerError):  # the group's coordinator is not ready yet
                async with lag_of(
                    kafka_at(settings.kafka.bootstrap_servers), settings.notify.group, [SWINGS]
                ) as lag:
                    return sum(progress.lag for progress in (await lag()).values())


async def all_committed(settings: Settings) -> None:
    async with asyncio.timeout(WITHIN_S):
        while await waiting(settings):  # noqa: ASYNC110 - Kafka decides
            await asyncio.sleep(0.02)


async def test_every_event_that_is_chosen_is_sent_once_and_in_order(
    notifying: Settings, webhook: Webhook
) -> None:
    await publish(notifying, FIRST, OTHERS, SECOND)
    async with notify(notifying):
        await webhook.received(2)
        await publish(notifying, b"no event", THIRD, END)
        await webhook.received(4)
        await all_committed(notifying)
    assert webhook.bodies == [FIRST, SECOND, THIRD, END]


@pytest.mark.parametrize(
    "poison", [FIRST.replace(b"1h/24h", b"1h/\xff"), b'{"x":' + b"[" * 100_000]
)
async def test_no_message_ends_the_service(
    notifying: Settings, webhook: Webhook, poison: bytes
) -> None:
    await publish(notifying, FIRST, poison, SECOND)
    async with notify(notifying):
        await webhook.received(2)
        await all_committed(notifying)
    assert webhook.bodies == [FIRST, SECOND]


async def test_a_broker_that_is_slow_to_let_a_process_join_is_waited_for(
    settings: Settings, webhook: Webhook
) -> None:
    """The embedded broker takes half of the session's timeout, which is longer than a connection.

    So do real brokers after the end of a process that could not leave the group.
    """
    broker = EmbeddedBroker()
    settings.kafka = embedded_kafka(config.Kafka(session_timeout_s=20), broker.bootstrap_servers)
    settings.notify = config.Notify(webhook=SecretStr(webhook.url), metrics_port=0)
    async with Supervisor() as supervisor:
        await supervisor.start(broker.child)
        await ensure_topics(kafka_at(broker.bootstrap_servers))
        await publish(settings, FIRST)
        async with notify(settings):
            await webhook.received(1)
    assert webhook.bodies == [FIRST]


async def test_a_group_that_begins_now_sends_nothing_of_before_and_misses_nothing_after(
    notifying: Settings, webhook: Webhook
) -> None:
    await publish(notifying, FIRST)
    async with notify(notifying, start="now"):
        await all_committed(notifying)
    # The end of a swing that nobody was told of is no news.
    await publish(notifying, END, SECOND)
    async with notify(notifying, start="now"):
        await webhook.received(1)
        await all_committed(notifying)
    assert webhook.bodies == [SECOND]


async def test_a_group_begins_now_although_its_consumer_is_asking_for_the_beginning(
    notifying: Settings, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consumer without a position asks for one by itself; a broker that is new answers late."""
    asked, may_answer = asyncio.Event(), asyncio.Event()
    answered, stored = Fetcher._proc_offset_request, Feed._stored

    async def answer_later(*arguments: Any) -> Any:
        asked.set()
        answer = await answered(*arguments)
        await may_answer.wait()
        return answer

    async def stored_while_asking(*arguments: Any) -> Any:
        found = await stored(*arguments)
        await asked.wait()
        may_answer.set()
        return found

    monkeypatch.setattr(Fetcher, "_proc_offset_request", answer_later)
    monkeypatch.setattr(Feed, "_stored", stored_while_asking)
    await publish(notifying, FIRST)
    async with notify(notifying, start="now"):
        await all_committed(notifying)
        await publish(notifying, SECOND)
        await webhook.received(1)
    assert webhook.bodies == [SECOND]


async def test_a_receiver_that_is_down_loses_nothing(notifying: Settings, webhook: Webhook) -> None:
    port = await webhook.stop()
    await publish(notifying, FIRST, SECOND)
    async with notify(notifying):
        await publish(notifying, THIRD)
        assert await waiting(notifying) == 3
        await webhook.start(port)
        await webhook.received(3)
        await all_committed(notifying)
    assert webhook.bodies == [FIRST, SECOND, THIRD]


async def test_the_service_ends_in_time_while_the_receiver_is_down_and_resumes(
    notifying: Settings, webhook: Webhook
) -> None:
    port = await webhook.stop()
    await publish(notifying, FIRST)
    stop = asyncio.Event()
    with structlog.testing.capture_logs() as log:
        task = asyncio.create_task(run(notifying, stop, choice=Choice(), start="beginning"))
        await until(lambda: "receiver_unavailable" in {each["event"] for each in log})
        stop.set()
        async with asyncio.timeout(10):
            await task
    assert await waiting(notifying) == 1
    await webhook.start(port)
    async with notify(notifying):
        await webhook.received(1)
        await all_committed(notifying)
    assert webhook.bodies == [FIRST]


async def test_an_event_that_is_refused_does_not_hold_up_the_others(
    notifying: Settings, webhook: Webhook
) -> None:
    notifying.notify.refused_s = 0
    webhook.answers = [Answer(422)]
    await publish(notifying, FIRST, SECOND, END)
    async with notify(notifying):
        await webhook.received(2)
        await all_committed(notifying)
    # Nor is the end sent of a swing that the receiver does not know.
    assert webhook.bodies == [FIRST, SECOND]


async def test_the_end_of_a_swing_is_sent_by_the_process_that_follows(
    notifying: Settings, webhook: Webhook
) -> None:
    await publish(notifying, FIRST)
    async with notify(notifying):
        await webhook.received(1)
        await all_committed(notifying)
    end = place(state="resolved", minute=30, driver="others")
    await publish(notifying, end, place("RU", state="resolved", minute=30))
    async with notify(notifying):
        await webhook.received(2)
        await all_committed(notifying)
    assert webhook.bodies == [FIRST, end]


async def test_of_two_processes_one_sends_and_the_other_takes_over(
    notifying: Settings, webhook: Webhook
) -> None:
    async with notify(notifying, start="beginning"):
        async with notify(notifying, start="beginning"):
            await publish(notifying, FIRST)
            await webhook.received(1)
            await all_committed(notifying)
        await publish(notifying, SECOND)
        await webhook.received(2)
        await all_committed(notifying)
    assert webhook.bodies == [FIRST, SECOND]


async def test_a_broker_that_is_away_for_a_while_is_found_again(
    notifying: Settings, webhook: Webhook, clean_kafka: KafkaServer
) -> None:
    async with notify(notifying):
        await publish(notifying, FIRST)
        await webhook.received(1)
        clean_kafka.stop()
        clean_kafka.start()
        await publish(notifying, SECOND)
        await webhook.received(2)
        await all_committed(notifying)
    assert set(webhook.bodies) == {FIRST, SECOND}


async def test_a_broker_that_hangs_does_not_hold_up_the_end(
    notifying: Settings, webhook: Webhook, clean_kafka: KafkaServer
) -> None:
    await publish(notifying, FIRST)
    async with Process(notifying, "--from", "beginning") as process:
        await webhook.received(1)
        await all_committed(notifying)
        with clean_kafka.frozen():
            code, _ = await process.end(signal.SIGTERM)
    assert code == 0


async def test_a_missing_topic_is_an_error_that_names_the_remedy(
    notifying: Settings, clean_kafka: KafkaServer
) -> None:
    await delete_topics(clean_kafka.bootstrap_servers, SWINGS)
    with pytest.raises(SettingsError, match=r"no topic miningmap\.swings; run `miningmap topics`"):
        async with asyncio.timeout(WITHIN_S):
            await run(notifying, asyncio.Event(), choice=Choice(), start="now")


# --- processes ------------------------------------------------------------------------------------


class Process:
    """``miningmap notify`` in a process of its own."""

    def __init__(self, settings: Settings, *options: str, **more: str) -> None:
        self._options = options
        self.port = free_port()
        assert settings.notify.webhook is not None
        self._env = {
            "MININGMAP_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "MININGMAP_KAFKA__SESSION_TIMEOUT_S": "6",
            "MININGMAP_NOTIFY__GROUP": settings.notify.group,
            "MININGMAP_NOTIFY__WEBHOOK": settings.notify.webhook.get_secret_value(),
            "MININGMAP_NOTIFY__METRICS_PORT": str(self.port),
            **more,
        }
        self.process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "launch", "notify", *self._options),
            cwd=ROOT,
            env={**os.environ, **self._env},
            stderr=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()

    async def end(self, sign: signal.Signals) -> tuple[int | None, str]:
        """Send a signal; return the exit code and the log."""
        self.process.send_signal(sign)
        async with asyncio.timeout(10):
            _, log = await self.process.communicate()
        return self.process.returncode, log.decode()

    async def get(self, path: str) -> tuple[int, str]:
        async with httpx.AsyncClient() as client:
            response = await client.get(f"http://127.0.0.1:{self.port}{path}")
            return response.status_code, response.text


async def test_a_process_that_is_killed_before_it_commits_sends_the_event_again(
    notifying: Settings, webhook: Webhook
) -> None:
    await publish(notifying, FIRST)
    never = asyncio.Event()
    webhook.answers = [Answer(release=never)]  # received, and never acknowledged
    async with Process(notifying, "--from", "beginning") as killed:
        await webhook.received(1)
        await killed.end(signal.SIGKILL)
    never.set()
    assert await waiting(notifying) == 1
    async with Process(notifying) as process:
        await webhook.received(2)
        await all_committed(notifying)
        code, _ = await process.end(signal.SIGTERM)
    assert code == 0
    assert webhook.bodies == [FIRST, FIRST]
    assert webhook.ids == [event_of(FIRST).id] * 2


async def test_a_process_ends_within_seconds_of_sigterm_and_tells_what_it_waits_for(
    notifying: Settings, webhook: Webhook
) -> None:
    await publish(notifying, FIRST)
    webhook.answers = [Answer(503, {"Retry-After": "3600"})]
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    options = ("--from", "beginning", "--subject", "place")
    async with Process(notifying, *options, MININGMAP_NOTIFY__SECRET=secret) as process:
        await webhook.received(1)
        await until_unready(process)
        status, text = await process.get("/readyz")
        assert (status, "answered 503" in text) == (503, True)
        _, metrics = await process.get("/metrics")
        assert 'miningmap_dependency_up{dependency="webhook"} 0.0' in metrics
        assert 'miningmap_notification_failures_total{reason="503"} 1.0' in metrics
        assert faults(metrics) == ""
        code, log = await process.end(signal.SIGTERM)
    assert code == 0
    assert "webhook-signature" in webhook.requests[0].headers
    lines = [msgspec.json.decode(line) for line in log.splitlines()]
    events = [line["event"] for line in lines]
    assert {"service_started", "receiver_unavailable", "service_stopped"} <= set(events)
    assert "t0ken" not in log
    assert secret not in log


async def until_unready(process: Process) -> None:
    async with asyncio.timeout(WITHIN_S):
        while (await process.get("/readyz"))[0] == 200:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
