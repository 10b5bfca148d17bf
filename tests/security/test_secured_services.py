"""Every service with TLS, a user of its own and no more permissions than docs/deploy.md lists."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from miningmap.kafka.producer import Publisher, record_of
from miningmap.kafka.topics import NETWORK, REPORTS
from miningmap.messages import Located, Report
from miningmap.settings import SettingsError
from miningmap.times import utc_now
from tests.secure_servers import Authority, user
from tests.security.services import DEADLINE_S, environment, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.secure_servers import SecureKafka, SecureRedis

pytestmark = pytest.mark.integration


async def test_all_services_work_with_the_documented_rules(
    broker: SecureKafka, store: SecureRedis, tmp_path: Path
) -> None:
    names = ("collector", "streams", "endpoint", "notify")
    store.denied()
    async with AsyncExitStack() as stack:
        # Whether an event comes depends on the minute, and without a webhook notify is not ready.
        webhook = await stack.enter_async_context(TestServer(_taking_all()))
        changes = {"NOTIFY__WEBHOOK": str(webhook.make_url("/swings"))}
        services = {
            name: await stack.enter_async_context(
                running(name, environment(name, broker, store, **changes), tmp_path)
            )
            for name in names
        }
        now = utc_now()
        report = Report(
            pool="foundryusa",
            source="partner",
            start=now - timedelta(minutes=2),
            end=now - timedelta(minutes=1),
            hold_s=300,
            hashrate=2e20,
            places=(Located(code="US-TX", hashrate=1e20, kind="measured"),),
            fetched_at=now,
            simulated=False,
        )
        collector = user(broker, "collector")
        async with Publisher(collector, frozenset({REPORTS, NETWORK})) as publisher:
            await publisher.connected()
            await publisher.publish([record_of(report)])
        for service in services.values():
            await service.ready()
        async with asyncio.timeout(DEADLINE_S), httpx.AsyncClient() as client:
            address = f"{services['endpoint'].url}/api/v1/pools"
            while '"source":"partner"' not in (await client.get(address)).text:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    assert store.denied() == []
    for service in services.values():
        assert service.process.returncode == 0, service.output()


def _taking_all() -> web.Application:
    """A webhook that takes every event."""

    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    app = web.Application()
    app.router.add_post("/swings", take)
    return app


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("collector", {"KAFKA__PASSWORD": "a-wrong-secret"}, "KAFKA__PASSWORD: Kafka at "),
        ("streams", {"KAFKA__PASSWORD": "a-wrong-secret"}, "KAFKA__PASSWORD: Kafka at "),
        ("notify", {"KAFKA__PASSWORD": "a-wrong-secret"}, "KAFKA__PASSWORD: Kafka at "),
        ("streams", {"KAFKA__CA_FILE": "OTHER"}, "KAFKA__CA_FILE: Kafka at "),
        ("collector", {"REDIS__CA_FILE": "OTHER"}, "REDIS__CA_FILE: "),
        ("endpoint", {"REDIS__PASSWORD": "a-wrong-secret"}, "REDIS__PASSWORD: Redis refuses it: "),
        ("endpoint", {"REDIS__CA_FILE": "OTHER"}, "REDIS__CA_FILE: Redis's certificate is not "),
        (
            "streams",
            {"KAFKA__USERNAME": "collector", "KAFKA__PASSWORD": "collector-secret"},
            (
                "the user collector lacks Read on the topic miningmap.dead-letters, Read on the "
                "topic miningmap.swings, Write on the topic miningmap.shares, Write on the topic "
                "miningmap.swings, Read on the group miningmap-streams; docs/deploy.md"
            ),
        ),
        (
            "notify",
            {"NOTIFY__GROUP": "another"},
            "the user notify lacks Read on the group another; docs/deploy.md",
        ),
        (
            "streams",
            {"REDIS__USERNAME": "endpoint", "REDIS__PASSWORD": "endpoint-secret"},
            "REDIS__USERNAME: Redis does not allow this user SET mm:access v, ",
        ),
    ],
)
async def test_a_service_that_is_refused_ends_with_one_line(
    broker: SecureKafka,
    store: SecureRedis,
    tmp_path: Path,
    name: str,
    changes: dict[str, str],
    expected: str,
) -> None:
    other = str(Authority(tmp_path, "other").file)
    given = {key: value.replace("OTHER", other) for key, value in changes.items()}
    async with running(name, environment(name, broker, store, **given), tmp_path) as service:
        assert await service.ended() == 2, service.output()
    *_, last = service.output().splitlines()
    assert last.startswith("miningmap: MININGMAP_")
    assert expected in last
    assert "secret" not in service.output().replace("MININGMAP_SECRETS_DIR", "")
    assert "Traceback" not in service.output()


def test_settings_that_look_safer_than_they_are_are_refused() -> None:
    for changes, expected in (
        ({"security_protocol": "SASL_SSL", "username": "a"}, "SASL_SSL needs it"),
        ({"username": "a"}, "expected SASL_SSL with a username"),
        ({"ca_file": __file__}, "expected SSL or SASL_SSL with a ca_file"),
    ):
        with pytest.raises(ValueError, match=expected):
            user_settings(changes)


def user_settings(changes: dict[str, str]) -> object:
    from miningmap.settings import Kafka  # noqa: PLC0415

    return Kafka.model_validate(changes)


async def test_later_a_refusal_makes_a_service_not_ready(
    broker: SecureKafka, store: SecureRedis, tmp_path: Path
) -> None:
    from tests.secure_servers import redis_rules  # noqa: PLC0415

    env = environment("endpoint", broker, store)
    async with running("endpoint", env, tmp_path) as service, httpx.AsyncClient() as client:
        async with asyncio.timeout(DEADLINE_S):
            while not await _has_redis(client, service.url):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        store.set_user("endpoint", "nopass", "-@all")
        try:
            async with asyncio.timeout(DEADLINE_S):
                while "no permissions" not in service.output():
                    assert (await client.get(f"{service.url}/readyz")).status_code == 503
            assert service.process.returncode is None
        finally:
            store.set_user("endpoint", *redis_rules()["endpoint"])


async def _has_redis(client: httpx.AsyncClient, url: str) -> bool:
    try:
        text = (await client.get(f"{url}/metrics")).text
    except httpx.TransportError:
        return False
    return 'miningmap_dependency_up{dependency="redis"} 1.0' in text


def test_the_errors_of_settings_are_settings_errors() -> None:
    """Commands end with exit code 2 because of this."""
    from miningmap.kafka.security import RefusedError  # noqa: PLC0415

    assert issubclass(RefusedError, SettingsError)
