"""Fixtures for all tests: real servers, and settings that point at them.

A test that uses one of the servers' fixtures is marked ``integration``. The servers are
started once and shared by all tests of a process (``make test`` runs four). On a machine that
cannot run a server its tests are skipped; with ``CI=true`` they fail instead.
"""

from __future__ import annotations

import os
import signal
import uuid
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar

import hypothesis
import pytest
import structlog
from pydantic import SecretStr

from launch.local.embedded import free_port
from miningmap import settings as config
from tests.cluster_servers import RedisClusterServers
from tests.servers import (
    ROOT,
    KafkaServer,
    RedisServer,
    UnavailableError,
    recreate_topics,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from miningmap.settings import Settings

CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}

# No deadline: the time of an example depends on the machine.
hypothesis.settings.register_profile("project", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, max_examples=25)
hypothesis.settings.register_profile("nightly", deadline=None, print_blob=True, max_examples=1000)
hypothesis.settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if CI else "project")
)

# These files take longest, longest first, and their tests cannot be divided among processes. They
# are started first, so that at the end no process waits for one of them.
LONGEST: Final = [
    ROOT / "tests" / name
    for name in (
        "torture/test_soak.py",
        "torture/test_faults.py",
        "endpoint/page/test_page.py",
        "streams/test_swing_watcher.py",
        "security/test_secured_services.py",
        "http/test_attacks.py",
        "endpoint/test_openapi.py",
        "deploy/test_dashboard_answers.py",
        "streams/test_pipeline.py",
        "notify/test_feed.py",
        "streams/test_rewinder.py",
        "deploy/test_alerting.py",
        "deploy/test_install.py",
        "collector/test_new_source.py",
        "endpoint/page/test_swings.py",
        "endpoint/page/test_states.py",
        "test_readiness.py",
        "local/test_demo.py",
        "streams/test_wedged.py",
        "kafka/test_producer.py",
        "security/test_planted_secrets.py",
        "stories/test_stories.py",
        "stories/test_live.py",
    )
]
_ORDER: Final = {path: number for number, path in enumerate(LONGEST)}


class Startable(Protocol):
    """A server, or several that belong together."""

    @classmethod
    def launch(cls) -> Self: ...
    @property
    def running(self) -> bool: ...
    def start(self) -> None: ...
    def close(self) -> None: ...


AnyServer = TypeVar("AnyServer", bound=Startable)
REAL: Final = frozenset({"kafka", "redis", "redis_cluster", "redis_settings"})


def pytest_configure() -> None:
    # SIGTERM ends the run like Ctrl-C, so that the fixtures stop their servers.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Plain tracebacks: structlog's default, with local variables, takes over a second each.
    *others, _ = structlog.get_config()["processors"]
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure([*others, renderer])


@pytest.fixture(autouse=True)
def _logs_stay_as_they_are() -> Iterator[None]:
    """A command that a test runs in this process sets up the logs for the whole process."""
    configuration = structlog.get_config()
    yield
    structlog.configure(**configuration)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if REAL.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.integration)
    items.sort(key=lambda item: _ORDER.get(item.path, len(_ORDER)))


@pytest.fixture(scope="session")
def started() -> list[Startable]:
    """The servers that this run has started."""
    return []


@pytest.fixture(scope="session")
def kafka(started: list[Startable]) -> Iterator[KafkaServer]:
    """A real Apache Kafka, shared by all tests; if a test stops it, it is started again."""
    yield from _served(KafkaServer, started)


@pytest.fixture(scope="session")
def redis(started: list[Startable]) -> Iterator[RedisServer]:
    """A real Redis, shared by all tests; if a test stops it, it is started again."""
    yield from _served(RedisServer, started)


@pytest.fixture(scope="session")
def redis_cluster(
    started: list[Startable],
) -> Iterator[RedisClusterServers]:
    """A real Redis Cluster, shared by all tests; nodes that a test stops are started again."""
    yield from _served(RedisClusterServers, started)


def _served(kind: type[AnyServer], started: list[Startable]) -> Iterator[AnyServer]:
    server = launched(kind)
    started.append(server)
    try:
        yield server
    finally:
        server.close()


def launched(kind: type[AnyServer]) -> AnyServer:
    try:
        return kind.launch()
    except UnavailableError as error:
        raise missing(str(error), os.environ.get("CI", "")) from None


def missing(reason: str, ci: str) -> BaseException:
    """The outcome of a test without its server: skipped, or failed in CI."""
    if ci.lower() in {"", "0", "false"}:
        return pytest.skip.Exception(reason)
    return pytest.fail.Exception(f"{reason} (no skip, because CI={ci})", pytrace=False)


@pytest.fixture(autouse=True)
def _servers_run_again(started: list[Startable]) -> Iterator[None]:
    yield
    for server in started:
        if not server.running:
            server.start()


@pytest.fixture
async def clean_kafka(kafka: KafkaServer) -> KafkaServer:
    """Kafka with the project's topics, empty."""
    await recreate_topics(kafka.bootstrap_servers)
    return kafka


@pytest.fixture
def redis_url(redis: RedisServer) -> str:
    """The URL of an empty Redis."""
    redis.flush()
    return redis.url


@pytest.fixture
def cluster_settings(redis_cluster: RedisClusterServers) -> config.Redis:
    """The settings of an empty cluster."""
    redis_cluster.flush()
    return config.Redis(url=SecretStr(redis_cluster.url), cluster=True)


@pytest.fixture(params=["single", "cluster"])
def redis_settings(request: pytest.FixtureRequest) -> config.Redis:
    """The settings of an empty Redis: of a single one, and of a cluster."""
    if request.param == "single":
        return config.Redis(url=SecretStr(request.getfixturevalue("redis_url")))
    settings: config.Redis = request.getfixturevalue("cluster_settings")
    return settings


@pytest.fixture
def unused_tcp_port() -> int:
    """A free port that no outgoing connection takes before the test's server listens on it."""
    return free_port()


@pytest.fixture(autouse=True)
def _no_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(config.PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def settings(kafka: KafkaServer, redis_url: str) -> Settings:
    """Settings for all services: the real servers, a new consumer group, any free ports."""
    values = {
        "kafka": config.Kafka(
            bootstrap_servers=kafka.bootstrap_servers, group=f"test-{uuid.uuid4().hex}"
        ),
        "redis": config.Redis(url=SecretStr(redis_url)),
        "endpoint": config.Endpoint(port=0),
        "intake": config.Intake(port=0),
        "collector": config.Collector(metrics_port=0),
        "streams": config.Streams(metrics_port=0),
    }
    return config.load().model_copy(update=values)
