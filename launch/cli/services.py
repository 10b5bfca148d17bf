"""The commands that run one service, for production, and the one that creates their topics."""

from __future__ import annotations

import asyncio

import click

from launch.cli.common import (
    CommandError,
    collect_garbage_seldom,
    command_errors,
    run_service,
    settings_of,
)


@click.command()
@click.pass_context
def collector(context: click.Context) -> None:
    """Poll pools, accept partners' rows, and publish both to Kafka."""
    from collector.service import run

    collect_garbage_seldom()
    run_service(context, "collector", run)


@click.command()
@click.pass_context
def streams(context: click.Context) -> None:
    """Turn the reports in Kafka into cells and snapshots in Redis."""
    from streams.service import run

    collect_garbage_seldom()
    run_service(context, "streams", run)


@click.command()
@click.pass_context
def endpoint(context: click.Context) -> None:
    """Serve shares, pools, metrics, health and the page over HTTP."""
    from endpoint.service import run

    collect_garbage_seldom()
    run_service(context, "endpoint", run)


@click.command()
@click.option("--check", is_flag=True, help="Create nothing; only compare.")
@click.option(
    "--replication-factor", default=1, show_default=True, help="Replicas of each created topic."
)
@click.pass_context
def topics(context: click.Context, /, *, check: bool, replication_factor: int) -> None:
    """Create missing Kafka topics and compare the existing ones, which are never changed."""
    from miningmap.kafka import admin
    from miningmap.kafka.errors import BrokerError

    kafka = settings_of(context).kafka
    with command_errors(BrokerError):
        if check:
            states = asyncio.run(admin.check_topics(kafka))
        else:
            states = asyncio.run(admin.ensure_topics(kafka, replication_factor))
    for topic, state in states:
        click.echo(f"{topic}\t{state}")
    if any(state not in (admin.OK, admin.CREATED) for _, state in states):
        raise CommandError("some topics are not as expected: see the list above")


COMMANDS = (collector, streams, endpoint, topics)
