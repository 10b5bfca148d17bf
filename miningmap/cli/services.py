"""One service each, for production, and what is made before they run."""

from __future__ import annotations

import click

from miningmap.cli.common import run_service


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


COMMANDS = (collector, streams, endpoint)
