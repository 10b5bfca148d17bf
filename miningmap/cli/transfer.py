"""Messages in and out of Kafka as JSON lines."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

import click

from miningmap.cli.common import EXISTING, Misuse, failure, settings_of

if TYPE_CHECKING:
    from pathlib import Path

    from miningmap.messages import Message
    from miningmap.settings import Kafka

BATCH: Final = 500


@click.command()
@click.argument("file", type=EXISTING)
@click.pass_context
def publish(context: click.Context, /, file: Path) -> None:
    """Send the messages in FILE (report/1 and network/1, one a line) to Kafka.

    All lines are checked first: with one that is no message, nothing is sent.
    """
    from miningmap.kafka import PublishError

    kafka = settings_of(context).kafka
    messages = _read(file)
    with failure(PublishError):
        asyncio.run(_publish(kafka, messages))
    click.echo(f"{len(messages)} messages published", err=True)


def _read(file: Path) -> list[Message]:
    from miningmap.messages import InvalidMessageError, decode

    messages = []
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        if line.strip():
            try:
                messages.append(decode(line))
            except InvalidMessageError as error:
                raise Misuse(f"{file}: line {number}: {error.reason}: {error}") from None
    return messages


async def _publish(kafka: Kafka, messages: list[Message]) -> None:
    from miningmap.kafka import Publisher, record_of
    from miningmap.topics import NETWORK, REPORTS

    with click.progressbar(length=len(messages), label="publishing", file=sys.stderr) as bar:
        async with Publisher(kafka, frozenset({REPORTS, NETWORK})) as publisher:
            for start in range(0, len(messages), BATCH):
                batch = messages[start : start + BATCH]
                await publisher.publish([record_of(message) for message in batch])
                bar.update(len(batch))


COMMANDS = (publish,)
