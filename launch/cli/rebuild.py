"""``rebuild``: make all cells in Redis again from what Kafka holds."""

from __future__ import annotations

import asyncio
import sys

import click

from launch.cli.common import (
    collect_garbage_seldom,
    command_errors,
    settings_errors,
    settings_of,
)
from launch.words import counted


@click.command()
@click.option("--anew", is_flag=True, help="Do not continue a rebuild that was interrupted.")
@click.pass_context
def rebuild(context: click.Context, /, *, anew: bool) -> None:
    """Make all cells in Redis again from the messages in Kafka.

    The services go on meanwhile: new keys are filled beside the present ones, which are served
    until all is there, and removed then. Redis needs room for both. Each message counts by the time
    at which it was written, so every answer is what it was, also of days whose minutes are not kept
    any more.

    A rebuild that was interrupted is continued. Only one can run at a time.
    """
    from redis import RedisError

    from miningmap.kafka.errors import BrokerError
    from streams.rebuild import RebuildError, Rebuilt

    settings = settings_of(context)

    async def run() -> Rebuilt:
        from miningmap.redis_client import connect
        from miningmap.settings import MB
        from miningmap.times import utc_now
        from streams.rebuild import rebuild as rebuild_all
        from streams.redis.cell_writer import CellWriter

        async with connect(settings.redis) as redis:
            store = CellWriter(redis, settings.retention, settings.streams.pool_mb * MB)
            with click.progressbar(length=0, label="rebuilding", file=sys.stderr) as bar:

                def begun(done: int, total: int) -> None:
                    bar.length = total
                    bar.update(done)

                return await rebuild_all(
                    settings, store, utc_now, anew=anew, begun=begun, read=bar.update
                )

    collect_garbage_seldom()
    with settings_errors(context), command_errors(BrokerError, RedisError, RebuildError):
        rebuilt = asyncio.run(run())
        click.echo(
            f"rebuilt from {counted(rebuilt.messages, 'message')}; "
            f"{counted(rebuilt.removed, 'old key')} removed"
        )


COMMANDS = (rebuild,)
