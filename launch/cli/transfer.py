"""Messages in and out of Kafka: JSON lines both ways, and the past from CBECI's tables."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import click

from launch.cli.common import EXISTING, Misuse, failure, listing, settings_of, written

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from miningmap.messages import Message
    from miningmap.settings import Kafka

BATCH: Final = 500
MAX_TABLE_BYTES: Final = 5 * 1024 * 1024
"""Of one of CBECI's tables; all 29 months of the largest are 10 kB."""

_ADDRESS: Final = re.compile(r"https?://", re.IGNORECASE)


@click.command()
@click.argument("file", type=EXISTING)
@click.pass_context
def publish(context: click.Context, /, file: Path) -> None:
    """Send the messages in FILE (report/1 and network/1, one a line) to Kafka.

    All lines are checked first: with one that is no message, nothing is sent.
    """
    kafka = settings_of(context).kafka
    messages = _read(file)
    _publish(kafka, messages)
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


def _publish(kafka: Kafka, messages: Sequence[Message]) -> None:
    from miningmap.kafka.errors import BrokerError

    with failure(BrokerError):
        asyncio.run(_deliver(kafka, messages))


async def _deliver(kafka: Kafka, messages: Sequence[Message]) -> None:
    from miningmap.kafka.producer import Publisher, record_of
    from miningmap.kafka.topics import NETWORK, REPORTS

    with click.progressbar(length=len(messages), label="publishing", file=sys.stderr) as bar:
        async with Publisher(kafka, frozenset({REPORTS, NETWORK})) as publisher:
            for start in range(0, len(messages), BATCH):
                batch = messages[start : start + BATCH]
                await publisher.publish([record_of(message) for message in batch])
                bar.update(len(batch))


@click.command("import-history")
@click.argument("files", metavar="FILE-OR-URL...", nargs=-1, required=True)
@click.pass_context
def import_history(context: click.Context, /, files: tuple[str, ...]) -> None:
    """Publish CBECI's monthly tables (CSV) as measured reports of the pool cbeci-sample.

    Wanted is the table of countries with hashrates, mining_countries of v1.1.1 or later (or
    absolute_mining_countries). Beside it may stand mining_provinces (cn) and its states (us), which
    are shares of their country and take its place in the report:

    \b
        miningmap import-history mining_countries.csv
        miningmap import-history mining_countries.csv mining_provinces.csv us_states.csv

    A month's hashrate is the sum of its published EH/s, divided by the published shares. It is the
    network's mean, not the sample's own, so no network hashrate is published with it: coverage and
    bounds of those months stay unknown. A published 0 % is a place with hashrate 0.

    With one bad row nothing is published. Importing again changes nothing; another edition replaces
    the months that it has.
    """  # noqa: D301 - \b keeps click from filling the lines of the example
    from miningmap.cbeci.monthly_tables import POOL, TablesError, reports
    from miningmap.times import utc_now

    kafka = settings_of(context).kafka
    bodies = asyncio.run(_bodies(files))
    try:
        messages = reports(bodies, fetched_at=utc_now())
    except TablesError as error:
        raise Misuse(
            listing([str(fault) for fault in error.faults], "nothing was imported")
        ) from None
    _publish(kafka, messages)
    first, last = messages[0].start, messages[-1].start
    said = f"{len(messages)} months of {POOL}, {first:%Y-%m} to {last:%Y-%m}"
    click.echo(f"{said}, published", err=True)


async def _bodies(files: Sequence[str]) -> dict[str, bytes]:
    from miningmap.http.download import DownloadError, download

    bodies = {}
    for file in files:
        if _ADDRESS.match(file):
            with failure(DownloadError):
                bodies[file] = await download(file, max_bytes=MAX_TABLE_BYTES)
        else:
            bodies[file] = _body(Path(file))
    return bodies


def _body(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            body = opened.read(MAX_TABLE_BYTES + 1)
    except OSError as error:
        raise Misuse(f"{file}: {error.strerror}") from None
    if len(body) > MAX_TABLE_BYTES:
        raise Misuse(f"{file}: more than {MAX_TABLE_BYTES} bytes, so none of CBECI's tables")
    return body


@click.command()
@click.option("--from", "since", help="A time such as 2026-11-22T15:00:00Z.")
@click.option("--to", "until", help="A time, itself not included.")
@click.option("--output", default="-", metavar="FILE", help="Instead of standard output (-).")
@click.pass_context
def export(context: click.Context, /, since: str | None, until: str | None, output: str) -> None:
    """Write the messages in Kafka (report/1 and network/1) as JSON lines: the audit trail.

    All that is there when it begins, as it came: first the reports, then the network's hashrates,
    each partition in its order. --from and --to choose by the time that a message is about (from
    its start to its end, and what it holds after that), not by when it came. To recompute a window,
    the range has to cover it and the 30 days before it.

    Messages that break a rule (they are dead letters) are left out and counted on standard error.
    """
    from miningmap.kafka.errors import BrokerError

    chosen = _Choice(_time("--from", since), _time("--to", until))
    kafka = settings_of(context).kafka
    with written(output) as file, failure(BrokerError):
        asyncio.run(_export(kafka, chosen, file))
    click.echo(f"{chosen.taken} messages exported", err=True)
    if chosen.broken:
        click.echo(f"{chosen.broken} left out that are no messages or break a rule", err=True)


class _Choice:
    """Which messages are wanted, and how many were."""

    def __init__(self, since: datetime | None, until: datetime | None) -> None:
        if since and until and since >= until:
            raise Misuse("--from: is not before --to")
        self._since = since
        self._until = until
        self.taken = 0
        self.broken = 0

    def line(self, value: bytes) -> bytes:
        """The message as a line, or nothing if it is not wanted."""
        from miningmap.messages import InvalidMessageError, decode

        try:
            message = decode(value)
        except InvalidMessageError:
            self.broken += 1
            return b""
        if not self._wants(message):
            return b""
        self.taken += 1
        # JSON has line breaks between its parts only, where a blank means the same.
        return b" ".join(value.splitlines()) + b"\n"

    def _wants(self, message: Message) -> bool:
        last = message.end.timestamp() + message.hold_s
        if self._since and last <= self._since.timestamp():
            return False
        return not (self._until and message.start >= self._until)


async def _export(kafka: Kafka, chosen: _Choice, file: IO[bytes]) -> None:
    from miningmap.kafka.reader import open_reader
    from miningmap.kafka.topics import NETWORK, REPORTS

    async with open_reader(kafka.bootstrap_servers, [REPORTS, NETWORK]) as reader:
        with click.progressbar(length=reader.size, label="exporting", file=sys.stderr) as bar:
            async for values in reader.batches():
                file.writelines(map(chosen.line, values))
                bar.update(len(values))


def _time(option: str, text: str | None) -> datetime | None:
    from miningmap.times import parse_rfc3339

    if text is None:
        return None
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise Misuse(f"{option}: {error}; wanted is a time such as 2026-11-22T15:00:00Z") from None


COMMANDS = (publish, import_history, export)
