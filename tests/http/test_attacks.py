"""Attacks on the services as they run, with no more files than usual: figures and all are served.

While hundreds of connections are half open, drip or never read, metrics and health answer within a
second, and so does the service to an honest client. Each kind of attack is here once; ``SLOW=1``
adds those that are similar, and makes all longer.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from collector.intake.tokens import add
from launch.local.embedded import free_port
from miningmap.http.server import allow_many_connections
from miningmap.live_rows import PATH
from miningmap.times import rfc3339, utc_now
from tests.collector.intake.test_strangers import bomb
from tests.http.attackers import HALF_A_HEAD, HERE, MANY, Attack, Plan, Reply, ask, attack_by
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from miningmap.settings import Settings

FILES: Final = 1024
"""The usual limit of open files, here also for what the process may raise it to."""
ATTACKERS: Final = 1500
ANSWERED_WITHIN_S: Final = 1.0
SLOW: Final = "SLOW" in os.environ
LASTS_S: Final = 20.0 if SLOW else 3.0
STARTS_WITHIN_S: Final = 60.0
RENEWED: Final = 200
"""How many connections a second the attackers open in place of those that were closed."""
HONEST: Final = "127.3.0.1"
"""The address of an honest client, on this machine as all others."""
MOST_LOGGED: Final = 20_000  # bytes: without a limit an attack made 2 MB a second


class Service(NamedTuple):
    """A running service.

    Attributes:
        public: its port for all.
        monitoring: its port of metrics and health.
        honest: the request of an honest client.
        log: its log.
        process: its process.
        token: of a partner.
    """

    public: int
    monitoring: int
    honest: bytes
    log: Path
    process: asyncio.subprocess.Process
    token: str = ""


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


def post(token: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = (f"POST {PATH} HTTP/1.1", "Host: x", "Content-Type: application/json", *headers)
    size = f"Content-Length: {len(body) if length is None else length}"
    allowed = [f"Authorization: Bearer {token}"] if token else []
    return "\r\n".join([*lines, *allowed, size, "Connection: close", "", ""]).encode() + body


SILENT: Final = Attack(b"")
HALF_OPEN: Final = Attack(HALF_A_HEAD)
DRIPPING: Final = Attack(HALF_A_HEAD, drop=b"a")
LARGE_HEADS: Final = Attack(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: %s\r\n" % (b"a" * 7000) * 2)
GARBAGE: Final = Attack(b"\x16\x03\x01nonsense\r\n\r\n")
DRIPPING_BODIES: Final = Attack(post("", b"[", length=1000), drop=b" ")
BOMBS: Final = Attack(post("", bomb(200), "Content-Encoding: gzip"))
NEVER_READING: Final = Attack(get("/api/v1/places").replace(b"close", b"keep-alive"), b"", 4096)
BODIES_THAT_NOBODY_READS: Final = Attack(
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", drop=b" "
)


@pytest.fixture(autouse=True)
def many_files() -> None:
    """The attackers need files too."""
    if allow_many_connections() < 2 * ATTACKERS:
        pytest.skip("this process may not open enough files")


@asynccontextmanager
async def process(
    name: str, env: dict[str, str], log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a service that may open few files."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MININGMAP_")}
    with log.open("wb") as file:
        running = await asyncio.create_subprocess_exec(
            *("sh", "-c", f'ulimit -n {FILES} && exec "$@"', "sh"),
            *(sys.executable, "-m", "launch", name),
            cwd=ROOT,
            env=inherited | env | {"MININGMAP_LOG__FORMAT": "json"},
            stderr=file,
        )
    try:
        yield running
    finally:
        running.kill()
        await running.wait()


@asynccontextmanager
async def collector(settings: Settings, folder: Path) -> AsyncIterator[Service]:
    token, _ = add(folder / "partners.json", "partner-1", "foundryusa")
    public, monitoring = free_port(), free_port()
    env = {
        "MININGMAP_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "MININGMAP_REDIS__URL": settings.redis.url.get_secret_value(),
        "MININGMAP_COLLECTOR__METRICS_PORT": str(monitoring),
        "MININGMAP_COLLECTOR__SOURCES": "[]",
        "MININGMAP_INTAKE__PORT": str(public),
        "MININGMAP_INTAKE__PARTNERS_FILE": str(folder / "partners.json"),
        "MININGMAP_INTAKE__RATES": "[]",
    }
    end = utc_now().replace(second=0, microsecond=0)
    row = {"start": rfc3339(end - timedelta(minutes=1)), "end": rfc3339(end), "hashrate": 1e18}
    rows = post(token, json.dumps([row | {"places": []}]).encode())
    honest = post(token, b"[]")  # for which Kafka is not asked, so that its time does not count
    log = folder / "collector.log"
    async with process("collector", env, log) as running:
        yield await ready(Service(public, monitoring, honest, log, running, token))
        assert (await answer(public, rows)).status == 200


@asynccontextmanager
async def endpoint(settings: Settings, folder: Path) -> AsyncIterator[Service]:
    public, monitoring = free_port(), free_port()
    env = {
        "MININGMAP_REDIS__URL": settings.redis.url.get_secret_value(),
        "MININGMAP_ENDPOINT__PORT": str(public),
        "MININGMAP_ENDPOINT__METRICS_PORT": str(monitoring),
        "MININGMAP_ENDPOINT__LIMIT_LOOPBACK": "true",
        "MININGMAP_ENDPOINT__RATE_LIMIT": "6000",  # of which the honest client uses some
    }
    log = folder / "endpoint.log"
    async with process("endpoint", env, log) as running:
        yield await ready(Service(public, monitoring, get("/api/v1/places"), log, running))


async def ready(service: Service) -> Service:
    """Wait until an honest client is served."""
    async with asyncio.timeout(STARTS_WITHIN_S):
        while True:
            try:
                if (await ask(service.public, service.honest)).status == 200:
                    return service
            except OSError:  # not listening yet
                await asyncio.sleep(0.05)


class Slowest(NamedTuple):
    """The longest times to an answer in seconds, and the number of honest answers."""

    metrics: float
    health: float
    honest: float
    answers: int


async def withstands(service: Service, attack: Attack, sources: Sequence[str]) -> Slowest:
    """Attack a service, ask it meanwhile, and return how long the slowest answers took."""
    times: dict[str, list[float]] = {"metrics": [], "health": [], "honest": []}
    # An answer that nobody reads costs the service as much as one that somebody does.
    renewed = RENEWED // 10 if attack is NEVER_READING else RENEWED
    async with attack_by(Plan(attack, service.public, tuple(sources), ATTACKERS, renewed)):
        ends = time.monotonic() + LASTS_S
        while time.monotonic() < ends:
            for name, port, request in (
                ("metrics", service.monitoring, get("/metrics")),
                ("health", service.monitoring, get("/healthz")),
                ("honest", service.public, service.honest),
            ):
                began = time.monotonic()
                reply = await answer(port, request)
                times[name].append(time.monotonic() - began)
                assert reply.status == 200, reply
            await asyncio.sleep(0.05)
    slowest = {name: round(max(each), 3) for name, each in times.items()}
    return Slowest(**slowest, answers=len(times["honest"]))


async def answer(port: int, request: bytes) -> Reply:
    """Return the answer; an honest client, too, tries again if its connection is refused."""
    async with asyncio.timeout(10):
        while True:
            try:
                reply = await ask(port, request, source=HONEST)
            except ConnectionError as error:
                print(error)  # noqa: T201 - for whoever reads why an answer took so long
            else:
                if reply.status not in {429, 503}:
                    return reply
                print(reply)  # noqa: T201 - likewise
            await asyncio.sleep(0.05)


def allowed_s() -> float:
    """Return how long an answer may take; longer if other programs use the machine too."""
    return ANSWERED_WITHIN_S * max(1, os.getloadavg()[0] / (os.cpu_count() or 1))


def logged(service: Service) -> int:
    """Return how many bytes are logged, without a line for each request of the honest client."""
    lines = service.log.read_bytes().splitlines()
    return sum(len(line) for line in lines if b'"intake_accepted"' not in line)


async def check(service: Service, attack: Attack, sources: Sequence[str]) -> None:
    before = logged(service)
    slowest = await withstands(service, attack, sources)
    print(slowest)  # noqa: T201 - the figures of docs/reliability.md
    assert max(slowest.metrics, slowest.health, slowest.honest) < allowed_s(), slowest
    assert service.process.returncode is None
    assert logged(service) - before < MOST_LOGGED * max(LASTS_S / 60, 1)
    assert "Too many open files" not in service.log.read_text()


slow: Final = pytest.mark.skipif(not SLOW, reason="a long attack: make torture")


def from_one_and_many(attacks: dict[str, Attack], usual: set[str]) -> pytest.MarkDecorator:
    """Run a test for each attack, from one address and from many; the usual ones always."""
    cases = [
        pytest.param(
            attack, sources, id=(name := f"{of}-{by}"), marks=[] if name in usual else [slow]
        )
        for of, attack in attacks.items()
        for by, sources in (("one", [HERE]), ("many", MANY))
    ]
    return pytest.mark.parametrize(("attack", "sources"), cases)


@from_one_and_many(
    {
        "silent": SILENT,
        "half-open": HALF_OPEN,
        "dripping": DRIPPING,
        "large-heads": LARGE_HEADS,
        "garbage": GARBAGE,
        "bodies": DRIPPING_BODIES,
        "bombs": BOMBS,
    },
    usual={"half-open-one", "half-open-many", "bodies-many", "bombs-many"},
)
@pytest.mark.usefixtures("clean_kafka")
async def test_the_intake_withstands(
    settings: Settings, tmp_path: Path, attack: Attack, sources: Sequence[str]
) -> None:
    async with collector(settings, tmp_path) as service:
        await check(service, attack, sources)


@pytest.mark.usefixtures("clean_kafka")
async def test_the_intake_withstands_a_partner_whose_bodies_drip(
    settings: Settings, tmp_path: Path
) -> None:
    async with collector(settings, tmp_path) as service:
        token, _ = add(tmp_path / "partners.json", "partner-2", "ocean")
        await check(service, Attack(post(token, b"[", length=1000), drop=b" "), MANY)


@from_one_and_many(
    {
        "silent": SILENT,
        "half-open": HALF_OPEN,
        "dripping": DRIPPING,
        "large-heads": LARGE_HEADS,
        "garbage": GARBAGE,
        "bodies": BODIES_THAT_NOBODY_READS,
        "never-reading": NEVER_READING,
    },
    usual={"half-open-many", "dripping-one", "never-reading-many"},
)
async def test_the_endpoint_withstands(
    settings: Settings, tmp_path: Path, attack: Attack, sources: Sequence[str]
) -> None:
    async with endpoint(settings, tmp_path) as service:
        await check(service, attack, sources)


@slow
async def test_a_listener_of_metrics_withstands_too(settings: Settings, tmp_path: Path) -> None:
    async with endpoint(settings, tmp_path) as service:
        await check(
            service._replace(public=service.monitoring, honest=get("/healthz")), HALF_OPEN, MANY
        )
