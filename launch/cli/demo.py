"""The whole system in one command: simulated (``demo``) or live (``up``)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from launch.cli.common import (
    CommandUsageError,
    command_errors,
    config_of,
    publish_messages,
    settings_of,
    usage_errors,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from launch.local.embedded import EmbeddedBroker, EmbeddedRedis
    from launch.simulation import World
    from miningmap.kafka.lag import Lag
    from miningmap.settings import Kafka, Settings

PORT: Final = click.IntRange(1, 65535)
READY_S: Final = 60.0
SEED: Final = 1
POLL_S: Final = "10"
"""Seconds between two requests to a simulated pool: short, so that the demo visibly moves."""


# --- demo -----------------------------------------------------------------------------------------


@click.command()
@click.option(
    "--port", type=PORT, default=8080, show_default=True, help="Port of the page and the API."
)
@click.option(
    "--scenario", default="texas", show_default=True, help="Events of the simulated world."
)
@click.option("--for", "for_s", type=float, help="End after this many seconds.")
@click.option("--verbose", is_flag=True, help="Show the logs of the services.")
@click.pass_context
def demo(
    context: click.Context, /, *, port: int, scenario: str, for_s: float | None, verbose: bool
) -> None:
    """Run everything on simulated pools with 30 simulated days of history. Ctrl-C ends it.

    All servers but the page and the intake get free ports, which are printed. Another terminal
    reaches the broker by: miningmap publish --demo, import-history --demo, export --demo.
    """
    from launch.local.embedded import EmbeddedError
    from launch.local.ports import PortError, take_ports
    from launch.local.supervisor import ChildError
    from launch.simulation import SCENARIOS, World
    from miningmap.kafka.errors import BrokerError
    from miningmap.times import utc_now

    if scenario not in SCENARIOS:
        known = ", ".join(sorted(SCENARIOS))
        raise CommandUsageError(
            f"--scenario: unknown scenario {scenario!r}; expected one of: {known}"
        )
    settings = settings_of(context)
    _refuse_security(settings)
    settings.endpoint.port = port
    with usage_errors(PortError), command_errors(EmbeddedError):
        ports = take_ports(settings)
    world = World(SEED, utc_now(), SCENARIOS[scenario])
    with command_errors(EmbeddedError, ChildError, BrokerError, TimeoutError):
        asyncio.run(_demo(settings, ports, config_of(context), world, for_s, verbose=verbose))


async def _demo(
    settings: Settings,
    ports: Mapping[str, str],
    config: Path | None,
    world: World,
    for_s: float | None,
    *,
    verbose: bool,
) -> None:
    from launch.local.embedded import (
        LOOPBACK,
        EmbeddedBroker,
        EmbeddedRedis,
        embedded_kafka,
        free_port,
    )
    from launch.local.running import DemoError, RunningDemo, announced
    from launch.local.stack import (
        log_environment,
        services,
        until_every_window_has_shares,
        until_ok,
        url,
    )
    from launch.local.supervisor import Child, Supervisor
    from launch.simulation import PUSHED_POOL, beliefs, simulated_sources
    from miningmap.kafka.admin import ensure_topics

    clock = asyncio.get_running_loop().time
    started = clock()
    intake = url(settings.intake.host, settings.intake.port)
    page = url(settings.endpoint.host, settings.endpoint.port)
    pools_port = free_port()
    with tempfile.TemporaryDirectory(prefix="miningmap-demo-") as name, EmbeddedRedis() as redis:
        folder = Path(name)
        token = secrets.token_urlsafe(32)
        broker = EmbeddedBroker()
        digest = hashlib.sha256(token.encode()).hexdigest()
        partner = {"partner": "demo-partner", "pool": PUSHED_POOL, "token_sha256": digest}
        env = (
            broker.environment
            | redis.environment
            | dict(ports)
            | {
                "MININGMAP_COLLECTOR__UPSTREAM": url(LOOPBACK, pools_port),
                "MININGMAP_COLLECTOR__SIMULATED": "true",
                "MININGMAP_COLLECTOR__POLL_S": POLL_S,
                "MININGMAP_COLLECTOR__SOURCES": json.dumps(
                    [source.path for source in simulated_sources()]
                ),
                "MININGMAP_INTAKE__PARTNERS_FILE": _write(folder / "partners.json", [partner]),
                "MININGMAP_METHOD__SHIPPED_BELIEFS": "false",
                "MININGMAP_METHOD__BELIEFS": _write(folder / "beliefs.json", beliefs(PUSHED_POOL)),
            }
        )
        token_file = folder / "token"
        token_file.write_text(token)
        pools = Child(
            "pools",
            [
                *(sys.executable, "-m", "launch.simulation", "--port", str(pools_port)),
                *("--seed", str(SEED), "--scenario", world.scenario.name),
                *("--origin", world.origin.isoformat()),
                *("--intake", intake, "--token-file", str(token_file)),
            ],
            log_environment(settings.log),
        )
        _echo("starting broker, Redis, simulated pools and the services …")
        async with Supervisor(output=_echo if verbose else _discard) as supervisor:
            await supervisor.start(broker.child, redis.child)
            kafka = embedded_kafka(settings.kafka, broker.bootstrap_servers)
            await ensure_topics(kafka)
            # Streams comes last: what it finds in Kafka at its start is the whole history, in which
            # it finds the swing that is under way.
            streams, *others = services(settings, env, config)
            async with asyncio.TaskGroup() as group:
                history = group.create_task(_publish_history(kafka, world))
                await supervisor.start(pools, *others, within_s=READY_S)
            await supervisor.start(streams, within_s=READY_S)
            _echo(
                f"30 simulated days published ({history.result()} messages); "
                "computing the first answers …"
            )
            await _until_processed(kafka)
            await until_every_window_has_shares(page, READY_S)
            await until_ok(page + "/readyz", READY_S)
            running = RunningDemo(page, intake, broker.bootstrap_servers, redis.url)
            with ExitStack() as stack:
                try:
                    stack.enter_context(announced(running))
                except DemoError as error:  # the demo itself works
                    _echo(f"other commands cannot find this demo by --demo: {error}")
                _echo(
                    f"ready after {clock() - started:.0f} s: {page} (simulated; Ctrl-C ends it)\n"
                    + _addresses(settings, broker, redis)
                )
                await supervisor.run_for(for_s)


async def _publish_history(kafka: Kafka, world: World) -> int:
    """Publish the simulated past and return the number of its messages."""
    from launch.simulation import history

    # Two seconds of computing, in a thread so that the children are supervised meanwhile.
    messages = await asyncio.to_thread(lambda: list(history(world, world.origin)))
    await publish_messages(kafka, messages)
    return len(messages)


async def _until_processed(kafka: Kafka) -> None:
    """Wait until the streams have processed every message in Kafka.

    Raises:
        TimeoutError: they have not done so within ``READY_S`` seconds.
    """
    from miningmap.kafka.errors import BrokerError
    from miningmap.kafka.lag import lag_of
    from miningmap.kafka.topics import NETWORK, REPORTS

    async def is_done(current_lag: Callable[[], Awaitable[Lag]]) -> bool:
        try:
            return all(progress.lag == 0 for progress in (await current_lag()).values())
        except BrokerError:  # the group has no coordinator yet
            return False

    try:
        async with (
            asyncio.timeout(READY_S),
            lag_of(kafka, kafka.group, (REPORTS, NETWORK)) as current_lag,
        ):
            while not await is_done(current_lag):  # noqa: ASYNC110 - another process decides
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise TimeoutError(
            f"the simulated history was not processed within {READY_S:g} s"
        ) from None


def _refuse_security(settings: Settings) -> None:
    """Refuse security of Kafka with the embedded broker, which has none.

    Raises:
        CommandUsageError: it is set.
    """
    if settings.kafka.security_protocol != "PLAINTEXT":
        raise CommandUsageError(
            "MININGMAP_KAFKA__SECURITY_PROTOCOL: the embedded broker has only PLAINTEXT; leave it "
            "out, or start the services one by one with a Kafka of your own"
        )


# --- up -------------------------------------------------------------------------------------------


@click.command()
@click.option("--port", type=PORT, help="Port of the page and the API.")
@click.option("--for", "for_s", type=float, help="End after this many seconds.")
@click.pass_context
def up(context: click.Context, /, *, port: int | None, for_s: float | None) -> None:
    """Run everything on the public sources that need no key. Ctrl-C ends it.

    Kafka and Redis are embedded and keep nothing on disk, unless the settings name other servers.
    All servers but the page and the intake get free ports, which are printed.
    """
    from launch.local.embedded import EmbeddedError
    from launch.local.ports import PortError, take_ports
    from launch.local.supervisor import ChildError
    from miningmap.kafka.errors import BrokerError

    settings = settings_of(context)
    if port is not None:
        settings.endpoint.port = port
    with usage_errors(PortError), command_errors(EmbeddedError):
        ports = take_ports(settings)
    with command_errors(EmbeddedError, ChildError, BrokerError, TimeoutError):
        asyncio.run(_up(settings, ports, config_of(context), for_s))


async def _up(
    settings: Settings, ports: Mapping[str, str], config: Path | None, for_s: float | None
) -> None:
    from launch.local.embedded import EmbeddedBroker, EmbeddedRedis, embedded_kafka
    from launch.local.stack import services, until_ok, url
    from launch.local.supervisor import Supervisor
    from miningmap.kafka.admin import ensure_topics

    env = dict(ports)
    broker: EmbeddedBroker | None = None
    redis: EmbeddedRedis | None = None
    async with AsyncExitStack() as stack:
        if "url" not in settings.redis.model_fields_set:
            redis = stack.enter_context(EmbeddedRedis())
            env |= redis.environment
        if "bootstrap_servers" not in settings.kafka.model_fields_set:
            _refuse_security(settings)
            broker = EmbeddedBroker()
            env |= broker.environment
        supervisor = await stack.enter_async_context(Supervisor())
        await supervisor.start(*(server.child for server in (redis, broker) if server))
        if broker:
            await ensure_topics(embedded_kafka(settings.kafka, broker.bootstrap_servers))
        await supervisor.start(*services(settings, env, config), within_s=READY_S)
        page = url(settings.endpoint.host, settings.endpoint.port)
        await until_ok(page + "/readyz", READY_S)
        addresses = _addresses(settings, broker, redis)
        _echo(f"ready: {page} (Ctrl-C ends it)\n{addresses}")
        await supervisor.run_for(for_s)


def _addresses(
    settings: Settings, broker: EmbeddedBroker | None, redis: EmbeddedRedis | None
) -> str:
    """Return a line for each address other than the page's: the embedded ones as settings.

    Servers of the user's own are left out: their addresses are known, and can have passwords.
    """
    from launch.local.stack import url

    streams, collector = settings.streams, settings.collector
    lines = [f"  intake   {url(settings.intake.host, settings.intake.port)}"]
    if broker:
        servers = broker.bootstrap_servers
        lines.append(
            f"  broker   MININGMAP_KAFKA__BOOTSTRAP_SERVERS={servers} "
            "MININGMAP_KAFKA__IDEMPOTENT=false"
        )
    if redis:
        lines.append(f"  Redis    MININGMAP_REDIS__URL={redis.url}")
    lines += [
        f"  metrics  {url(host, port, '/metrics')} ({service})"
        for service, host, port in (
            ("endpoint", settings.endpoint.host, settings.endpoint.port),
            ("streams", streams.metrics_host, streams.metrics_port),
            ("collector", collector.metrics_host, collector.metrics_port),
        )
    ]
    return "\n".join(lines)


def _write(path: Path, content: object) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def _echo(text: str) -> None:
    click.echo(text, err=True)


def _discard(_: str) -> None:
    """Drop a line of output."""


COMMANDS = (demo, up)
