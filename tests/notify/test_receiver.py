"""Delivery to a webhook, over real HTTP: retries, refusals, headers; no secret in any log."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import httpx
import pytest
import stamina
import structlog
from prometheus_client import CollectorRegistry

from miningmap.dependencies import Dependency
from miningmap.http_client import direct_client
from miningmap.notify import receiver as module
from miningmap.notify.events import event_of
from miningmap.notify.metrics import Metrics
from miningmap.notify.receiver import Patience, Receiver
from miningmap.notify.signature import headers_of, key_of
from tests.notify.events import place
from tests.notify.receivers import Answer, Webhook, receiving, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from structlog.typing import EventDict

EVENT = event_of(place())
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
QUICK = Patience(answer_s=5.0, refused_s=900.0, first_s=0.001, longest_s=0.01)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with direct_client(timeout=None) as client:
        yield client


@pytest.fixture
def log() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as events:
        yield events


def receiver_at(
    url: str, client: httpx.AsyncClient, metrics: Metrics, patience: Patience = QUICK
) -> Receiver:
    state = Dependency("webhook")
    key = key_of(SECRET)
    return Receiver(
        client, httpx.URL(url), key=key, patience=patience, metrics=metrics, state=state
    )


def counted(metrics: Metrics, reason: str) -> float | None:
    return metrics.registry.get_sample_value(
        "miningmap_notification_failures_total", {"reason": reason}
    )


async def test_an_event_is_sent_as_it_is_in_kafka_with_its_id_and_a_signature(
    webhook: Webhook, client: httpx.AsyncClient, metrics: Metrics
) -> None:
    before = int(time.time())
    assert await receiver_at(webhook.url, client, metrics).deliver(EVENT)
    (request,) = webhook.requests
    assert request.body == EVENT.body
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"].startswith("miningmap/")
    timestamp = int(request.headers["webhook-timestamp"])
    assert before <= timestamp <= time.time()
    expected = headers_of(EVENT.id, timestamp, EVENT.body, key_of(SECRET))
    assert {name: request.headers[name] for name in expected} == expected
    assert "webhook-signature" in expected


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 425, 429, 401, 403, 404, 410, 307])
async def test_while_the_receiver_fails_the_same_event_is_tried_without_end(
    webhook: Webhook, client: httpx.AsyncClient, metrics: Metrics, status: int
) -> None:
    never = QUICK._replace(refused_s=0.0)  # no failure of the receiver is a refusal
    webhook.answers = [Answer(status, {"Location": webhook.url})] * 12
    assert await receiver_at(webhook.url, client, metrics, never).deliver(EVENT)
    assert webhook.ids == [EVENT.id] * 13
    assert counted(metrics, str(status)) == 12


@pytest.mark.parametrize("status", [400, 409, 413, 422, 451])
async def test_an_event_that_the_receiver_refuses_is_tried_for_a_while_and_left(
    webhook: Webhook,
    client: httpx.AsyncClient,
    metrics: Metrics,
    log: list[EventDict],
    status: int,
) -> None:
    webhook.answers = [Answer(status)] * 1000
    patient = QUICK._replace(refused_s=0.3)
    started = time.monotonic()
    assert not await receiver_at(webhook.url, client, metrics, patient).deliver(EVENT)
    assert time.monotonic() - started >= 0.3
    assert len(webhook.requests) > 2
    (refused,) = (event for event in log if event["event"] == "notification_refused")
    assert refused["log_level"] == "error"
    assert refused["id"] == EVENT.id
    assert f"answered {status}" in refused["error"]


async def test_the_time_in_which_the_receiver_fails_is_no_refusal(
    webhook: Webhook, client: httpx.AsyncClient, metrics: Metrics
) -> None:
    webhook.answers = [Answer(503, {"Retry-After": "0.5"}), Answer(400)]
    patient = QUICK._replace(refused_s=0.4)
    assert await receiver_at(webhook.url, client, metrics, patient).deliver(EVENT)
    assert len(webhook.requests) == 3


async def test_an_event_that_is_refused_for_a_moment_is_delivered(
    webhook: Webhook, client: httpx.AsyncClient, metrics: Metrics
) -> None:
    webhook.answers = [Answer(400), Answer(422), Answer(204)]
    assert await receiver_at(webhook.url, client, metrics).deliver(EVENT)
    assert len(webhook.requests) == 3


async def test_the_wait_that_the_receiver_asks_for_is_kept(
    webhook: Webhook, client: httpx.AsyncClient, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def noted(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(stamina._core, "_smart_sleep", noted)
    webhook.answers = [
        Answer(429, {"Retry-After": "120"}),
        Answer(503, {"Retry-After": "7"}),
        Answer(503, {"Retry-After": "soon"}),
        Answer(429),
    ]
    assert await receiver_at(webhook.url, client, metrics, Patience()).deliver(EVENT)
    assert waits[:2] == [120, 7]
    # Without a usable wait it is this project's own, which grows, with a random part of a second.
    assert 4 <= waits[2] <= 5
    assert 8 <= waits[3] <= 9


async def test_a_receiver_that_is_too_slow_gets_the_event_again(
    webhook: Webhook, client: httpx.AsyncClient, metrics: Metrics
) -> None:
    release = asyncio.Event()
    webhook.answers = [Answer(release=release), Answer(200)]
    impatient = QUICK._replace(answer_s=0.2)
    assert await receiver_at(webhook.url, client, metrics, impatient).deliver(EVENT)
    release.set()
    assert webhook.ids == [EVENT.id] * 2
    assert counted(metrics, "no_answer") == 1


async def test_a_receiver_that_is_down_gets_the_event_when_it_is_back(
    client: httpx.AsyncClient, metrics: Metrics, log: list[EventDict]
) -> None:
    async with receiving() as webhook:
        url = webhook.url
        port = await webhook.stop()
        delivery = asyncio.create_task(receiver_at(url, client, metrics).deliver(EVENT))
        await until(lambda: counted(metrics, "no_answer"))
        await webhook.start(port)
        assert await delivery
        assert webhook.bodies == [EVENT.body]
    names = [event["event"] for event in log if not event["event"].startswith("stamina")]
    assert names == ["receiver_unavailable", "receiver_available"]


async def test_an_event_that_waits_shows_for_how_long(
    webhook: Webhook, client: httpx.AsyncClient, metrics: Metrics
) -> None:
    def waiting() -> float | None:
        return metrics.registry.get_sample_value("miningmap_notification_waiting_seconds")

    release = asyncio.Event()
    webhook.answers = [Answer(release=release)]
    assert waiting() == 0
    delivery = asyncio.create_task(receiver_at(webhook.url, client, metrics).deliver(EVENT))
    await webhook.received(1)
    first = waiting()
    assert first is not None
    assert 0 < first < (waiting() or 0)
    release.set()
    assert await delivery
    assert waiting() == 0


async def test_redirects_are_not_followed_and_the_error_says_so(
    webhook: Webhook, client: httpx.AsyncClient, metrics: Metrics, log: list[EventDict]
) -> None:
    async with receiving() as other:
        webhook.answers = [Answer(308, {"Location": other.url})]
        assert await receiver_at(webhook.url, client, metrics).deliver(EVENT)
        assert other.requests == []
    assert "redirects are not followed" in log[0]["error"]


@pytest.mark.parametrize("location", ["javascript:alert(1)", "http://xn--/", "http://[::1"])
async def test_an_address_that_is_none_is_no_redirect_but_a_failure(
    webhook: Webhook, client: httpx.AsyncClient, metrics: Metrics, location: str
) -> None:
    webhook.answers = [Answer(302, {"Location": location})]
    assert await receiver_at(webhook.url, client, metrics).deliver(EVENT)
    assert webhook.ids == [EVENT.id] * 2


async def test_the_answer_is_not_read_beyond_its_status(
    client: httpx.AsyncClient, metrics: Metrics
) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nand so")
        await writer.drain()
        await reader.read()  # until the client closes
        writer.close()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        assert await receiver_at(f"http://{host}:{port}/", client, metrics).deliver(EVENT)


async def test_no_log_has_the_path_of_the_webhook_its_password_or_the_secret(
    client: httpx.AsyncClient, metrics: Metrics, log: list[EventDict]
) -> None:
    async with receiving() as webhook:
        address = webhook.url.replace("http://", "http://user:passw0rd@")
        webhook.answers = [Answer(500), Answer(400), Answer(302)]
        receiver = receiver_at(address, client, metrics, QUICK._replace(refused_s=0.0))
        await receiver.deliver(EVENT)
        await receiver.deliver(EVENT)
        port = await webhook.stop()
        delivery = asyncio.create_task(receiver.deliver(EVENT))
        await until(lambda: counted(metrics, "no_answer"))
        delivery.cancel()
        await asyncio.wait({delivery})
        await webhook.start(port)
    text = str(log)
    assert "127.0.0.1" in text
    for secret in ("t0ken", "passw0rd", SECRET, SECRET.removeprefix("whsec_")):
        assert secret not in text, secret


def test_the_defaults_wait_at_most_a_minute_between_two_attempts() -> None:
    assert module.Patience() == (10, 900, 1, 60)
