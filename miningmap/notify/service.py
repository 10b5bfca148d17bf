"""``miningmap notify``: from the topic of swings to a webhook, and metrics."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import httpx
import structlog

from miningmap.dependencies import Dependency, reasons_of, show
from miningmap.http.server import monitoring_app, serving
from miningmap.http_client import direct_client
from miningmap.metrics import new_registry
from miningmap.notify.feed import Feed
from miningmap.notify.metrics import Metrics
from miningmap.notify.receiver import Patience, Receiver
from miningmap.notify.signature import key_of
from miningmap.settings import SettingsError
from miningmap.tasks import run_until_first_ends

if TYPE_CHECKING:
    from pydantic import SecretStr

    from miningmap.notify.choice import Choice
    from miningmap.notify.feed import Start
    from miningmap.settings import Settings

WEBHOOK_SETTING: Final = "MININGMAP_NOTIFY__WEBHOOK"
SECRET_SETTING: Final = "MININGMAP_NOTIFY__SECRET"  # noqa: S105 - the name of a setting

LAST_EVENT_S: Final = 2.0
"""At the end, the longest wait for the event in work. If it takes longer, it is sent again by the
next process."""
CLOSE_S: Final = 4.0
"""The longest wait for the consumer to leave its group after that."""

_log = structlog.get_logger(__name__)


async def run(settings: Settings, stop: asyncio.Event, *, choice: Choice, start: Start) -> None:
    """Send events until ``stop`` is set, and return within seconds.

    Args:
        settings: of this process.
        stop: ends it.
        choice: which events are sent.
        start: where a group begins that has committed nothing yet.

    Raises:
        SettingsError: a setting is wrong, the address of the metrics is in use, or Kafka lacks the
            topic.
    """
    notify = settings.notify
    url, key = _url_of(notify.webhook), _key_of(notify.secret)
    metrics = Metrics(new_registry())
    kafka, webhook = needed = [Dependency("kafka"), Dependency("webhook")]
    webhook.found()  # it is not asked before there is an event
    show(needed, metrics.registry)
    async with (
        serving(
            monitoring_app(metrics.registry, metrics.http, lambda: reasons_of(needed)),
            notify.metrics_host,
            notify.metrics_port,
            "NOTIFY__METRICS_PORT",
            metrics=metrics.http.connections,
        ),
        direct_client(timeout=None) as client,
    ):
        receiver = Receiver(
            client,
            url,
            key=key,
            patience=Patience(notify.timeout_s, notify.refused_s),
            metrics=metrics,
            state=webhook,
        )
        feed = Feed(
            settings.kafka,
            notify.group,
            start=start,
            choice=choice,
            receiver=receiver,
            metrics=metrics,
            state=kafka,
        )
        _log.info("service_started", receiver=receiver.name, group=notify.group, signed=bool(key))
        await run_until_first_ends(_until(stop, feed), feed.watch())


async def _until(stop: asyncio.Event, feed: Feed) -> None:
    """Follow the topic until ``stop`` is set; the event in work has a little time to end."""
    following = asyncio.create_task(feed.run(stop))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({following}, timeout=LAST_EVENT_S)
        if following.done():
            await following
    finally:
        stopping.cancel()
        following.cancel()
        # A broker that hangs can hold up the consumer's end; then it is left alone.
        await asyncio.wait({following, stopping}, timeout=CLOSE_S)


def _url_of(setting: SecretStr | None) -> httpx.URL:
    """Return the address of the receiver.

    Raises:
        SettingsError: there is none, or it is not one; the text does not contain it.
    """
    expected = "expected the URL of the receiver, such as https://receiver.example/swings"
    if setting is None:
        raise SettingsError(f"{WEBHOOK_SETTING}: {expected}, or --webhook")
    try:
        url = httpx.URL(setting.get_secret_value())
        url.host.encode("idna")  # as a connection does
    except (httpx.InvalidURL, ValueError):
        raise SettingsError(f"{WEBHOOK_SETTING}: {expected}") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise SettingsError(f"{WEBHOOK_SETTING}: {expected}")
    return url


def _key_of(secret: SecretStr | None) -> bytes | None:
    if secret is None:
        return None
    try:
        return key_of(secret.get_secret_value())
    except ValueError as error:
        raise SettingsError(f"{SECRET_SETTING}: {error}") from None
