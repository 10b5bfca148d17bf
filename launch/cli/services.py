"""One service each, for production, and what is made before they run."""

from __future__ import annotations

import asyncio

import click

from launch.cli.common import Failure, failure, run_service, settings_of


@click.command()
@click.pass_context
def collector(context: click.Context) -> None:
    """Poll pools and take partners' rows; publish to Kafka."""
    from collector.service import run

    run_service(context, "collector", run)


@click.command()
@click.pass_context
def streams(context: click.Context) -> None:
    """Kafka to Redis: cells and snapshots."""
    from streams.service import run

    run_service(context, "streams", run)


@click.command()
@click.pass_context
def endpoint(context: click.Context) -> None:
    """HTTP: shares, pools, metrics, health and the page."""
    from endpoint.service import run

    run_service(context, "endpoint", run)


@click.command()
@click.option("--check", is_flag=True, help="Only say what is missing or different.")
@click.option("--replication-factor", default=1, show_default=True, help="Of what is created.")
@click.pass_context
def topics(context: click.Context, /, *, check: bool, replication_factor: int) -> None:
    """Create the Kafka topics, or check them; nothing that exists is changed."""
    from miningmap.kafka import admin
    from miningmap.kafka.errors import BrokerError

    servers = settings_of(context).kafka.bootstrap_servers
    ask = admin.check_topics(servers) if check else admin.ensure_topics(servers, replication_factor)
    with failure(BrokerError):
        states = asyncio.run(ask)
    for topic, state in states:
        click.echo(f"{topic}\t{state}")
    if any(state not in (admin.OK, admin.CREATED) for _, state in states):
        raise Failure("topics are not as they should be: see above")


COMMANDS = (collector, streams, endpoint, topics)
