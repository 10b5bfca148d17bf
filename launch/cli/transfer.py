"""Messages into and out of Kafka: JSON lines both ways, and history from CBECI's tables."""

from __future__ import annotations

import asyncio
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import click

from launch.cli.common import (
    EXISTING,
    CommandError,
    CommandUsageError,
    command_errors,
    listing,
    output_file,
    publish_messages,
    settings_of,
    time_of,
)
from launch.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from aiokafka.structs import ConsumerRecord

    from miningmap.messages import Message, Report
    from miningmap.plausibility import KnownFigures, Rejection
    from miningmap.settings import Kafka, Retention

MAX_TABLE_BYTES: Final = 5 * 1024 * 1024
"""Largest accepted CBECI table; all 29 months of the largest one are 10 kB."""
MAX_READ: Final = 1_000_000
"""Largest number of reports that are read from Kafka for their blocks: some ten seconds."""
MIN_PROGRESS: Final = 100_000
"""Fewer messages are read without a progress bar."""
BLOCKS_MARGIN: Final = timedelta(days=1)
"""How far the arrival of a report may be from its time, for its blocks to be found."""

DEMO: Final = click.option(
    "--demo", is_flag=True, help="Use the broker of the demo that runs on this machine."
)

_URL: Final = re.compile(r"https?://", re.IGNORECASE)


@click.command()
@click.argument("file", type=EXISTING)
@DEMO
@click.pass_context
def publish(context: click.Context, /, file: Path, *, demo: bool) -> None:
    """Publish the messages in FILE (report/1 and network/1, one a line) to Kafka.

    All lines are checked first. If one is not a valid message, or cannot be true, nothing is
    published: no message ends in the future or before Bitcoin's first block, has a total of 0
    without a place, or more hashrate than twice the network's at that time or five times what the
    pool's own blocks show. The network's own figure is within 10 times of what is known of that
    time. No message has more than 2,000 places, or more than 1,000,000 values (its total and its
    places, once for each minute or hour).

    What is known is looked up in Kafka: of the network everything, of blocks the reports that
    arrived from a day before to a day after the times in FILE, at most 1,000,000 messages. Where
    Kafka knows nothing of a time, FILE's own figures count, of several sources the median. Of a
    time of which neither knows anything, everything is accepted.

    Messages that are older than what is kept (the settings of retention) are published and
    counted on standard error: they change no figure and become dead letters.
    """
    from miningmap.plausibility import KnownFigures, rejected
    from miningmap.times import utc_now

    kafka = kafka_of(context, demo=demo)
    numbered = _read(file)
    now = utc_now()
    _check(file, numbered, lambda message: rejected(message, now))
    messages = [message for _, message in numbered]
    known = KnownFigures(fallback=_figures(messages))
    _add_history(kafka, known)
    _add_blocks(kafka, known, messages)
    _check(file, numbered, lambda message: known.rejected(message) or known.contradicted(message))
    _publish(kafka, messages)
    _tell_too_late(messages, settings_of(context).retention, now)
    click.echo(f"{len(messages)} messages published", err=True)


def kafka_of(context: click.Context, *, demo: bool) -> Kafka:
    """Return the settings of the broker: the configured one, or that of the running demo.

    Raises:
        CommandUsageError: a setting is wrong.
        CommandError: there is not exactly one demo.
    """
    kafka = settings_of(context).kafka
    if not demo:
        return kafka
    from launch.local.embedded import embedded_kafka
    from launch.local.running import DemoError, only_demo

    try:
        return embedded_kafka(kafka, only_demo().bootstrap_servers)
    except DemoError as error:
        raise CommandError(f"--demo: {error}") from None


def _read(file: Path) -> list[tuple[int, Message]]:
    from miningmap.messages import LineError, decode_numbered

    try:
        return list(decode_numbered(file.read_bytes().splitlines()))
    except LineError as error:
        raise CommandUsageError(f"{file}: {error}") from None


def _check(
    file: Path,
    numbered: Sequence[tuple[int, Message]],
    rejection_of: Callable[[Message], Rejection | None],
) -> None:
    """Check each message.

    Raises:
        CommandUsageError: some are rejected; names their lines.
    """
    errors = [
        f"{file}: line {number}: {rejection.reason}: {rejection.error}"
        for number, message in numbered
        if (rejection := rejection_of(message))
    ]
    if errors:
        raise CommandUsageError(listing(errors, "nothing was published"))


def _add_history(kafka: Kafka, known: KnownFigures) -> None:
    """Add what Kafka knows of the network's past."""
    from miningmap.kafka.errors import BrokerError
    from miningmap.kafka.network_history import add_network_history

    with command_errors(BrokerError):
        asyncio.run(add_network_history(kafka, known))


def _figures(messages: Sequence[Message]) -> KnownFigures:
    """Return what messages themselves say of the network and of blocks."""
    from miningmap.plausibility import KnownFigures

    figures = KnownFigures()
    for message in messages:
        figures.add(message)
    return figures


def _add_blocks(kafka: Kafka, known: KnownFigures, messages: Sequence[Message]) -> None:
    """Add what Kafka knows of pools' blocks at the time of the reports that they are a limit of."""
    from miningmap.kafka.errors import BrokerError
    from miningmap.messages import Report

    limited = [m for m in messages if isinstance(m, Report) and m.basis != "mined"]
    if not limited:
        return
    since = min(report.start for report in limited) - BLOCKS_MARGIN
    until = max(report.end for report in limited) + BLOCKS_MARGIN
    with command_errors(BrokerError):
        complete = asyncio.run(_read_blocks(kafka, known, since, until))
    if not complete:
        click.echo(
            f"not all blocks were looked up: of Kafka's reports of these times only {MAX_READ} "
            "were read",
            err=True,
        )


async def _read_blocks(kafka: Kafka, known: KnownFigures, since: datetime, until: datetime) -> bool:
    """Read reports with blocks, with a progress bar if it takes long; return whether all were."""
    from miningmap.kafka.network_history import add_figures
    from miningmap.kafka.reader import open_reader
    from miningmap.kafka.topics import REPORTS

    read = 0
    async with open_reader(kafka, [REPORTS], since=since, until=until) as reports:
        hidden = reports.size < MIN_PROGRESS
        with click.progressbar(
            length=reports.size, label="reading blocks", file=sys.stderr, hidden=hidden
        ) as bar:
            async for records in reports.records():
                if read >= MAX_READ:
                    return False
                # Few reports have blocks, and finding the word is much faster than decoding.
                add_figures((r for r in records if b'"blocks"' in (r.value or b"")), known)
                read += len(records)
                bar.update(len(records))
    return True


def _tell_too_late(messages: Sequence[Message], retention: Retention, now: datetime) -> None:
    """Tell on standard error how many messages no cell is kept for."""
    from miningmap.retention import TooLateError, horizon
    from streams.method.cells import claims_of

    kept = horizon(retention, now)
    late = 0
    for message in messages:
        try:
            claims_of(message, kept)
        except TooLateError:
            late += 1
    if late:
        limits = f"minutes {retention.minutes_h} h, hours {retention.hours_d} days"
        what = "1 message is" if late == 1 else f"{late} messages are"
        letters = "a dead letter" if late == 1 else "dead letters"
        click.echo(f"{what} older than what is kept ({limits}) and will be {letters}", err=True)


def _publish(kafka: Kafka, messages: Sequence[Message]) -> None:
    """Publish messages with a progress bar on standard error."""
    from miningmap.kafka.errors import BrokerError

    with (
        command_errors(BrokerError),
        click.progressbar(length=len(messages), label="publishing", file=sys.stderr) as bar,
    ):
        asyncio.run(publish_messages(kafka, messages, published=bar.update))


@click.command("import-history")
@click.argument("files", metavar="FILE-OR-URL...", nargs=-1, required=True)
@click.option(
    "--output",
    metavar="FILE",
    help="Write the messages to FILE, or to standard output (-), instead of publishing them.",
)
@DEMO
@click.pass_context
def import_history(
    context: click.Context, /, files: tuple[str, ...], output: str | None, *, demo: bool
) -> None:
    """Publish CBECI's monthly tables (CSV) as measured reports of the pool cbeci-sample.

    The table of countries with hashrates is required: mining_countries of v1.1.1 or later, or
    absolute_mining_countries. Tables of Chinese provinces (mining_provinces) and of US states can
    be added. They are shares of their country and replace it in the report:

    \b
        miningmap import-history mining_countries.csv
        miningmap import-history mining_countries.csv mining_provinces.csv us_states.csv

    A month's hashrate is the sum of its published EH/s, divided by the sum of the published
    shares. It is the mean of the whole network, not of CBECI's sample, so no network hashrate is
    published with it, and coverage and bounds of those months stay unknown. A published 0 % is a
    place with hashrate 0.

    If a row is invalid, or a month has more than twice the hashrate that Kafka knows the network
    to have had, nothing is published. Importing a table again changes nothing; another
    edition replaces the months that it contains.

    With --output no broker is needed: the messages are written one a line, as recompute and
    compare read them, and are not compared with what Kafka knows.
    """  # noqa: D301 - \b keeps click from filling the lines of the example
    from miningmap.messages import encode

    if output is not None:
        if demo:
            raise CommandUsageError("--demo: nothing is published with --output; give one of them")
        messages = _reports(files)
        with output_file(output, *files) as file:
            file.writelines(encode(message) + b"\n" for message in messages)
        done = "written"
    else:
        kafka = kafka_of(context, demo=demo)
        messages = _reports(files, lambda known: _add_history(kafka, known))
        _publish(kafka, messages)
        done = "published"
    first, last = messages[0].start, messages[-1].start
    months = f"{counted(len(messages), 'month')} of {messages[0].pool}"
    click.echo(f"{months}, {first:%Y-%m} to {last:%Y-%m}, {done}", err=True)


def _reports(
    files: Sequence[str], add_history: Callable[[KnownFigures], None] | None = None
) -> list[Report]:
    """Return the reports of tables, which are compared with the network's past if it is known.

    Raises:
        CommandUsageError: some rows are invalid; names their lines.
    """
    from miningmap.cbeci.monthly_tables import TablesError, reports
    from miningmap.plausibility import KnownFigures
    from miningmap.times import utc_now

    bodies = asyncio.run(_bodies(files))
    now = utc_now()
    try:
        found = reports(bodies, fetched_at=now)  # errors of rows are told without a broker
        if add_history is None:
            return found
        known = KnownFigures()
        add_history(known)
        return reports(bodies, fetched_at=now, known=known)
    except TablesError as error:
        faults = [str(fault) for fault in error.faults]
        raise CommandUsageError(listing(faults, "nothing was imported")) from None


async def _bodies(files: Sequence[str]) -> dict[str, bytes]:
    return {
        file: await _downloaded(file) if _URL.match(file) else _body(Path(file)) for file in files
    }


async def _downloaded(address: str) -> bytes:
    from miningmap.http.download import DownloadError, download

    with command_errors(DownloadError):
        return await download(address, max_bytes=MAX_TABLE_BYTES)


def _body(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            body = opened.read(MAX_TABLE_BYTES + 1)
    except OSError as error:
        raise CommandUsageError(f"{file}: {error.strerror}") from None
    if len(body) > MAX_TABLE_BYTES:
        raise CommandUsageError(
            f"{file}: is larger than {MAX_TABLE_BYTES} bytes; expected one of CBECI's tables"
        )
    return body


@click.command()
@click.option("--from", "since", help="Start of the range, such as 2026-11-22T15:00:00Z.")
@click.option("--to", "until", help="End of the range, which is excluded.")
@click.option(
    "--output", default="-", metavar="FILE", help="Write to FILE instead of standard output (-)."
)
@DEMO
@click.pass_context
def export(
    context: click.Context, /, since: str | None, until: str | None, output: str, *, demo: bool
) -> None:
    """Write the messages in Kafka (report/1 and network/1) as JSON lines: the audit trail.

    Exports every message that is in Kafka when the command starts, unchanged: first the reports,
    then the network hashrates, each partition in its order. --from and --to select by the time
    that a message is about (from its start to its end, or to the end of its hold), not by its
    arrival. To recompute a window, export a range that covers it and the 30 days before it.

    Invalid messages, those without the key of their pool, from the future or from before Bitcoin's
    first block, totals of 0, and those that are too large, which are also dead letters, are left
    out and counted on standard error. So each line is valid JSON in UTF-8, and publish accepts it.
    """
    from miningmap.kafka.errors import BrokerError

    selection = _Selection(_time("--from", since), _time("--to", until))
    kafka = kafka_of(context, demo=demo)
    with output_file(output) as file, command_errors(BrokerError):
        asyncio.run(_export(kafka, selection, file))
    click.echo(f"{selection.exported} messages exported", err=True)
    if selection.invalid:
        click.echo(f"{selection.invalid} invalid messages left out", err=True)


class _Selection:
    """A range of time, and counts of the messages that were exported and left out."""

    def __init__(self, since: datetime | None, until: datetime | None) -> None:
        if since and until and since >= until:
            raise CommandUsageError("--from: must be before --to")
        from miningmap.times import utc_now

        self._since = since
        self._until = until
        self._now = utc_now()
        self.exported = 0
        self.invalid = 0

    def line(self, record: ConsumerRecord) -> bytes:
        """Return the message as a line, or nothing if it is invalid or outside of the range."""
        from miningmap.inputs import one_line
        from miningmap.messages import InvalidMessageError, decode_keyed
        from miningmap.plausibility import rejected

        try:
            message = decode_keyed(record.value, record.key)
        except InvalidMessageError:
            self.invalid += 1
            return b""
        if rejected(message, self._now):
            self.invalid += 1
            return b""
        if not message.is_about(self._since, self._until):
            return b""
        self.exported += 1
        return one_line(record.value) + b"\n"


async def _export(kafka: Kafka, selection: _Selection, file: IO[bytes]) -> None:
    from miningmap.kafka.reader import open_reader
    from miningmap.kafka.topics import NETWORK, REPORTS

    async with open_reader(kafka, [REPORTS, NETWORK]) as topics:
        with click.progressbar(length=topics.size, label="exporting", file=sys.stderr) as bar:
            async for records in topics.records():
                file.writelines(map(selection.line, records))
                bar.update(len(records))


def _time(option: str, text: str | None) -> datetime | None:
    return None if text is None else time_of(option, text)


COMMANDS = (publish, import_history, export)
