"""No secret is in anything that services and commands write, log, send or store.

Every setting that holds a secret gets a value of its own. All services run with their most
talkative logs, on servers that quote what they are sent, and each command is run where it works and
where it fails. Then everything is searched for the values.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiokafka import AIOKafkaConsumer

from collector import registry
from collector.intake import tokens
from miningmap.cbeci.contribution import PATH
from miningmap.kafka.producer import Publisher, Record
from miningmap.kafka.topics import SWINGS, TOPICS
from tests.commands import run_command
from tests.notify import events
from tests.secure_servers import user
from tests.security.services import DEADLINE_S, environment, running
from tests.servers import ROOT, kafka_at

if TYPE_CHECKING:
    from pathlib import Path

    from tests.secure_servers import SecureKafka, SecureRedis
    from tests.security.services import Service

pytestmark = pytest.mark.integration

WEBHOOK_SECRET: Final = base64.b64encode(b"planted-secret-of-the-webhook-1234").decode()
HOOK_PATH: Final = "planted-path-of-the-webhook"
WRONG: Final = "planted-wrong-password"
PAGES: Final = (
    *("/", "/docs", "/openapi.json", "/api/v1/pools", "/api/v1/shares?window=now"),
    *("/api/v1/beliefs", "/api/v1/shares?window=planted", "/nowhere", "/metrics", "/readyz"),
)
QUOTED_TIMES: Final = 6


class Quoting:
    """A server that repeats what it is sent, in every kind of response in turn."""

    def __init__(self) -> None:
        self.requests = 0

    async def answer(self, request: web.Request) -> web.Response:
        body = (await request.read()).decode(errors="replace")
        sent = f"{request.raw_path} {dict(request.headers)} {body}"
        self.requests += 1
        match self.requests % QUOTED_TIMES:
            case 0:
                return web.json_response({"error": sent, "data": sent, "message": sent})
            case 1:
                return web.Response(status=401, text=sent)
            case 2:
                return web.Response(status=500, text=f"<html>{sent}</html>")
            case 3:
                location = f"https://elsewhere.example/{quote(sent, safe='')}"
                return web.Response(status=302, headers={"Location": location})
            case 4:
                return web.json_response([sent], headers={"Retry-After": quote(sent)})
        return web.json_response({"error_code": 1, "error": {"message": sent, "code": sent}})


class Planted:
    """The secrets of this test, by where each belongs."""

    def __init__(self, partners: Path, pools: str, hook: str) -> None:
        self.token, _ = tokens.add(partners, "partner-1", "foundryusa")
        self.credentials: dict[str, str] = {}
        for path in registry.paths():
            source = registry.load(path)
            for each in source.credentials:
                name = f"CREDENTIALS__{source.slug}__{each.name}".upper()
                self.credentials[name] = f"planted-{source.slug}-{each.name}-8d1f"
        for name in [name for name in self.credentials if name.endswith("__URL")]:
            self.credentials[name] = f"{pools}/"
            del self.credentials[name.replace("__URL", "__COOKIE")]  # instead of a password
        for name in [name for name in self.credentials if name.endswith("LUXOR__SITES")]:
            self.credentials[name] = '{"planted-luxor-site-8d1f": "US-TX"}'
        self.webhook = f"{hook}/{HOOK_PATH}"
        self.of_services = [f"{name}-secret" for name in ("collector", "streams", "endpoint")]
        self.of_services.append("notify-secret")

    def forms(self) -> list[bytes]:
        """Every secret as it can appear: as it is, in a URL, in base64 of a header."""
        plain = [
            *(value for value in self.credentials.values() if value.startswith("planted-")),
            *(self.token, WEBHOOK_SECRET, HOOK_PATH, WRONG, *self.of_services),
        ]
        encoded = [base64.b64encode(value.encode()).decode().rstrip("=") for value in plain]
        return [form.encode() for form in {*plain, *(quote(v, safe="") for v in plain), *encoded}]


async def test_no_secret_is_in_any_output(
    broker: SecureKafka, store: SecureRedis, tmp_path: Path
) -> None:
    outputs: dict[str, bytes] = {}
    async with AsyncExitStack() as stack:
        quoting = Quoting()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", quoting.answer)
        server = await stack.enter_async_context(TestServer(app))
        address = str(server.make_url("")).rstrip("/")
        partners = tmp_path / "partners.json"
        planted = Planted(partners, address, address)
        changes = {
            "LOG__LEVEL": "debug",
            "KAFKA__SASL_MECHANISM": "PLAIN",  # sends the password itself
            "COLLECTOR__SOURCES": json.dumps(_with_credentials()),
            "COLLECTOR__UPSTREAM": address,
            "COLLECTOR__POLL_S": "0.5",
            "INTAKE__PARTNERS_FILE": str(partners),
            "NOTIFY__WEBHOOK": planted.webhook,
            "NOTIFY__SECRET": WEBHOOK_SECRET,
            **planted.credentials,
        }
        envs = {
            name: environment(name, broker, store, **changes)
            for name in ("collector", "streams", "endpoint", "notify")
        }
        services = {
            name: await stack.enter_async_context(running(name, env, tmp_path))
            for name, env in envs.items()
        }
        for name in ("streams", "endpoint"):
            await services[name].ready()
        await _use(services, envs, planted, broker, quoting, outputs)
        for arguments, env in _commands(envs):
            ran = f"{' '.join(arguments)} {len(outputs)}"
            outputs[ran] = await _output_of(arguments, env)
    outputs |= _of_files(tmp_path)
    outputs |= await _of_kafka(broker)
    outputs |= _of_redis(store)
    assert quoting.requests > 2 * QUOTED_TIMES
    assert b"debug" in outputs["collector.log"]
    found = {
        (name, form.decode())
        for name, output in outputs.items()
        for form in planted.forms()
        if form in output
    }
    assert found == set()


def _with_credentials() -> list[str]:
    loaded = (registry.load(path) for path in registry.paths())
    return [source.path for source in loaded if source.credentials]


async def _use(
    services: dict[str, Service],
    envs: dict[str, dict[str, str]],
    planted: Planted,
    broker: SecureKafka,
    quoting: Quoting,
    outputs: dict[str, bytes],
) -> None:
    intake = f"http://127.0.0.1:{envs['collector']['MININGMAP_INTAKE__PORT']}"
    async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
        for number, token in enumerate((planted.token, WRONG)):
            for body in (b"{}", b"not JSON", b'{"data":[{"country":"Nowhere"}]}'):
                for path in (PATH, "/api/v1/reports", f"/{quote(token)}"):
                    with contextlib.suppress(httpx.TransportError):
                        answer = await client.post(
                            intake + path,
                            content=body,
                            headers={
                                "Authorization": f"Bearer {token}",
                                "Content-Type": "application/json",
                            },
                        )
                        name = f"intake {number} {path[:9]} {len(outputs)}"
                        # The client's own path may be named in its own answer.
                        outputs[name] = answer.content if token not in path else b""
        await _until_told(services["notify"], broker, quoting)
        for name, service in services.items():
            for path in PAGES if name == "endpoint" else ("/metrics", "/readyz", "/nowhere"):
                outputs[f"{name} {path}"] = (await client.get(service.url + path)).content


async def _until_told(notify: Service, broker: SecureKafka, quoting: Quoting) -> None:
    """Publish events until the webhook has refused one, which begins once notify has joined."""
    minute = 0
    async with (
        asyncio.timeout(DEADLINE_S),
        Publisher(user(broker, "operator"), frozenset({SWINGS})) as publisher,
    ):
        await publisher.connected()
        while quoting.requests <= 2 * QUOTED_TIMES or "receiver_un" not in notify.output():
            minute += 1
            await publisher.publish([Record(SWINGS, b"US-TX", events.place(minute=minute))])
            await asyncio.sleep(0.2)


def _commands(
    envs: dict[str, dict[str, str]],
) -> list[tuple[tuple[str, ...], dict[str, str]]]:
    collector = envs["collector"]
    wrong = {
        "MININGMAP_KAFKA__PASSWORD": WRONG,
        "MININGMAP_REDIS__PASSWORD": WRONG,
    }
    return [
        (("--help",), collector),
        (("sources",), collector),
        (("sources", "--json"), collector),
        (("try", "luxor"), collector),
        (("try", "emcd"), collector),
        (("try", "bitcoincore"), collector),
        (("topics", "--check"), collector),
        (("topics", "--check"), collector | wrong),
        (("endpoint",), collector | wrong),
        (("collector",), collector | {"MININGMAP_REDIS__URL": WRONG}),
        (("notify",), collector | {"MININGMAP_NOTIFY__SECRET": WRONG}),
        (("notify",), collector | {"MININGMAP_NOTIFY__WEBHOOK": WRONG}),
        (("collector",), collector | {"MININGMAP_CREDENTIALS__LUXOR__TOKN": WRONG}),
        (
            ("collector",),
            collector | {"MININGMAP_CREDENTIALS__BITCOINCORE__URL": f"http://a:{WRONG}@b/"},
        ),
        (("partner", "list"), collector),
    ]


async def _output_of(arguments: tuple[str, ...], env: dict[str, str]) -> bytes:
    command = [sys.executable, "-m", "launch", *arguments]
    ended = await run_command(command, cwd=ROOT, env=env, within_s=DEADLINE_S)
    assert ended.output
    return ended.output


def _of_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def _of_kafka(broker: SecureKafka) -> dict[str, bytes]:
    """Everything in the project's topics, by topic: keys, values and headers."""
    found = {topic.name: b"" for topic in TOPICS}
    consumer = AIOKafkaConsumer(
        *found,
        bootstrap_servers=kafka_at(broker.bootstrap_servers).bootstrap_servers,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        while batch := await consumer.getmany(timeout_ms=2_000):
            for partition, records in batch.items():
                found[partition.topic] += repr(records).encode()
    finally:
        await consumer.stop()
    return found


def _of_redis(store: SecureRedis) -> dict[str, bytes]:
    with store.admin() as client:
        return {f"redis {key!r}": client.dump(key) for key in client.scan_iter()}
