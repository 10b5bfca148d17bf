"""Dead letters back to where they came from."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from launch.cli.common import BATCH, CommandUsageError, command_errors
from launch.cli.transfer import DEMO, kafka_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Mapping

    from miningmap.kafka.producer import Record
    from miningmap.kafka.redrive import Fate, Group, Redrive
    from miningmap.settings import Kafka


@click.command()
@click.option(
    "--reason", metavar="REASON", help="Only dead letters of this reason, such as failed."
)
@click.option("--dry-run", is_flag=True, help="Only tell what would be sent again.")
@click.option(
    "--again", is_flag=True, help="Also send what was refused again after a redrive before."
)
@DEMO
@click.pass_context
def redrive(
    context: click.Context, /, reason: str | None, *, dry_run: bool, again: bool, demo: bool
) -> None:
    """Send dead letters back to where they came from, after what refused them was mended.

    Each message is sent once, to the partition that it came from, with its own key, value, headers
    and time, and a header (redriven) that names the message that was refused. A second call sends
    nothing twice, also if the first one was interrupted. What is refused again is left alone, until
    --again is given.

    The counts by reason and topic are written to standard output, as JSON lines:

    \b
        redriven        sent again (with --dry-run: would be)
        before          sent again by an earlier call
        refused again   sent again by an earlier call, and refused once more
        without origin  never in a topic: a reading that the collector rejected
        not its origin  names no message of miningmap.reports or miningmap.network that it equals

    Only the first of these is sent. Its topics are read from the oldest refused message on, to find
    what was sent before.
    """  # noqa: D301 - \b keeps click from filling the lines of the list
    from miningmap.kafka.errors import BrokerError
    from miningmap.kafka.redrive import Redrive
    from streams.metrics import REASONS

    if reason is not None and reason not in REASONS:
        known = ", ".join(sorted(REASONS))
        raise CommandUsageError(
            f"--reason: unknown reason {reason[:32]!r}; expected one of: {known}"
        )
    found = Redrive(reason, again)
    kafka = kafka_of(context, demo=demo)
    with command_errors(BrokerError):
        asyncio.run(_find(kafka, found))
        _tell(found.counts())
        total = found.total
        if not dry_run and total:
            asyncio.run(_send(kafka, found, total))
    done = "would be redriven" if dry_run else "redriven"
    click.echo(f"{total} {'message' if total == 1 else 'messages'} {done}", err=True)


def _tell(counts: Mapping[Group, Counter[Fate]]) -> None:
    import msgspec

    from miningmap.kafka.redrive import FATES

    for (reason, topic), of_group in counts.items():
        line: dict[str, object] = {"reason": reason, "topic": topic}
        line |= {fate: of_group[fate] for fate in FATES}
        click.echo(msgspec.json.encode(line).decode())


async def _find(kafka: Kafka, found: Redrive) -> None:
    """Read the dead letters, and what their topics have since the first refused message."""
    from miningmap.kafka.reader import open_reader
    from miningmap.kafka.redrive import TARGETS
    from miningmap.kafka.topics import DEAD_LETTERS

    async with open_reader(kafka, [DEAD_LETTERS]) as letters:
        with _progress("reading dead letters", letters.size) as advance:
            async for records in letters.records():
                found.add_letters(records)
                advance(len(records))
    async with open_reader(kafka, TARGETS) as messages:
        found.keep_existing(messages.ends)
        messages.only_from(found.starts())
        with _progress("reading their topics", messages.size) as advance:
            async for records in messages.records():
                found.add_messages(records)
                advance(len(records))


async def _send(kafka: Kafka, found: Redrive, total: int) -> None:
    """Send what was found, in batches that Kafka acknowledges one after the other."""
    from miningmap.kafka.producer import Publisher
    from miningmap.kafka.reader import open_reader
    from miningmap.kafka.redrive import TARGETS
    from miningmap.kafka.topics import DEAD_LETTERS

    async with (
        Publisher(kafka, frozenset(TARGETS)) as publisher,
        open_reader(kafka, [DEAD_LETTERS]) as letters,
    ):
        batch: list[Record] = []
        with _progress("redriving", total) as advance:
            async for records in letters.records():
                batch += found.records(records)
                while len(batch) >= BATCH or (batch and not found.total):
                    await publisher.publish(batch[:BATCH])
                    advance(len(batch[:BATCH]))
                    del batch[:BATCH]
                if not found.total:
                    break


@contextmanager
def _progress(label: str, length: int) -> Iterator[Callable[[int], None]]:
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar.update


COMMANDS = (redrive,)
