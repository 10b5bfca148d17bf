"""Editions to cite: make one from messages, and compare two."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from launch.cli.common import (
    EXISTING,
    CommandError,
    Commands,
    CommandUsageError,
    command_errors,
    message_lines,
    refuse_options,
    tell_left_out,
    usage_errors,
)
from launch.cli.recompute import BELIEFS, read_beliefs
from launch.cli.transfer import DEMO, kafka_of
from launch.words import counted
from miningmap.licences import LICENCES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from launch.dataset.edition import Contents
    from launch.dataset.messages import SortedMessages
    from miningmap.licences import Licence
    from miningmap.settings import Kafka
    from streams.beliefs import BeliefsDocument
    from streams.queries.dataset import Range, Row, Step

T = TypeVar("T")

FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)

REQUIRED: Final = ("since", "until", "output")
"""The options that a new edition needs."""


@click.group(cls=Commands, invoke_without_command=True)
@click.option("--from", "since", help="The first month or day: 2025-01, 2025-01-31 or a time.")
@click.option("--to", "until", help="The end, which is excluded: 2026-01 for all of 2025.")
@click.option(
    "--step",
    type=click.Choice(["month", "day"]),
    default="month",
    show_default=True,
    help="The length of a window.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="The folder to make; it must not exist, or be empty.",
)
@click.option(
    "--messages",
    type=EXISTING,
    metavar="FILE",
    help="Read the messages from FILE (one a line, .gz too) instead of Kafka.",
)
@BELIEFS
@click.option("--parquet", is_flag=True, help="Write shares.parquet too.")
@click.option(
    "--licence",
    type=click.Choice(list(LICENCES)),
    help="The licence of the data; by default CC-BY-4.0, and with Cambridge's tables theirs.",
)
@DEMO
@click.pass_context
def dataset(
    context: click.Context,
    /,
    *,
    since: str | None,
    until: str | None,
    step: Step,
    output: Path | None,
    messages: Path | None,
    only: Path | None,
    parquet: bool,
    licence: str | None,
    demo: bool,
) -> None:
    """Make an edition to cite: every place in every month or day of a range, in a folder.

    The folder has the shares as CSV, what they were made from (messages, beliefs, cohort), a Data
    Package that describes every column, a citation, and hashes. The same messages and beliefs make
    the same bytes, whenever and wherever they are made. All figures are computed from the messages
    in the folder alone, so that anybody can compute them again.

    --from and --to mean what they mean in /api/v1/history. All windows must be over.

    Messages that are not valid end the command if they come from a file, and are left out and
    counted if they come from Kafka. Those that become no cell at any time are left out and counted.
    """
    if context.invoked_subcommand is not None:
        refuse_options(context)
        return
    _check_required(context)
    if demo and messages:
        raise CommandUsageError("--demo: not allowed with --messages, which needs no broker")
    assert since and until and output  # noqa: S101, PT018 - for mypy
    if parquet:
        import pyarrow as pa  # noqa: F401 - a missing extra is told before anything is computed
    span = _range(step, since, until)
    document, _ = read_beliefs(context, only)
    with _new_folder(output) as (folder, temporary):
        selected = _selected(temporary, span)
        if messages:
            _read_file(messages, selected)
        else:
            _read_kafka(kafka_of(context, demo=demo), selected)
        contents = _write_messages(folder, span, selected)
        chosen = _licence(licence, contents)
        believed = _write_tables(folder, span, contents, document, parquet=parquet)
        digest = _write_descriptions(folder, span, contents, chosen, believed)
    windows = counted(len(span.windows), "window")
    click.echo(f"{output}: {windows} from {counted(contents.messages, 'message')}", err=True)
    click.echo(digest)


def _check_required(context: click.Context) -> None:
    """Check the options that click cannot require, because ``diff`` does not have them."""
    for option in context.command.params:
        if option.name in REQUIRED and context.params[option.name] is None:
            raise click.MissingParameter(ctx=context, param=option)


# --- input ----------------------------------------------------------------------------------------


def _range(step: Step, since: str, until: str) -> Range:
    from miningmap.times import utc_now
    from streams.queries.dataset import RangeError, range_of

    start, end = _time("--from", since), _time("--to", until)
    try:
        return range_of(step, start, end, utc_now())
    except RangeError as error:
        raise CommandUsageError(f"--{error.parameter}: {error}") from None


def _time(option: str, text: str) -> datetime:
    from streams.queries.history import date_or_time

    try:
        return date_or_time(text)
    except ValueError as error:
        raise CommandUsageError(f"{option}: {error}") from None


def _read_file(file: Path, selected: SortedMessages) -> None:
    from miningmap.messages import decode_with_lines

    with _bar("reading", file.stat().st_size) as bar:
        with message_lines(file, reached=lambda at: bar.update(at - bar.pos)) as lines:
            for raw, message in decode_with_lines(lines):
                selected.add(message, raw)
        bar.update(bar.length - bar.pos)
    tell_left_out(selected.impossible)


def _read_kafka(kafka: Kafka, selected: SortedMessages) -> None:
    from miningmap.kafka.errors import BrokerError

    with command_errors(BrokerError):
        invalid = asyncio.run(_read_topics(kafka, selected))
    if invalid:
        click.echo(f"{counted(invalid, 'invalid message')} left out", err=True)
    tell_left_out(selected.impossible)


async def _read_topics(kafka: Kafka, selected: SortedMessages) -> int:
    """Read everything in Kafka; return how many messages are not valid."""
    from miningmap.kafka.reader import open_reader
    from miningmap.kafka.topics import NETWORK, REPORTS
    from miningmap.messages import InvalidMessageError, decode_keyed

    invalid = 0
    async with open_reader(kafka, [REPORTS, NETWORK]) as topics:
        with _bar("reading", topics.size) as bar:
            async for records in topics.records():
                for record in records:
                    try:
                        selected.add(decode_keyed(record.value, record.key), record.value)
                    except InvalidMessageError:
                        invalid += 1
                bar.update(len(records))
    return invalid


# --- output ---------------------------------------------------------------------------------------


@contextmanager
def _new_folder(output: Path) -> Iterator[tuple[Path, Path]]:
    """Yield a folder that is put in the place of ``output`` at the end, and one that is removed.

    Raises:
        CommandUsageError: something is there already, or no folder can be put there.
        CommandError: the folder cannot be written.
    """
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise CommandUsageError(f"-o {output}: exists and is not an empty folder")
    target = output.resolve()
    if target.is_mount():
        raise CommandUsageError(
            f"-o {output}: is a mount point, which cannot be replaced; expected a folder inside "
            f"it, such as {output / 'edition'}"
        )
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    except OSError as error:
        raise CommandUsageError(f"-o {output}: {error.strerror}") from None
    try:
        edition, temporary = work / "edition", work / "temporary"
        edition.mkdir()
        temporary.mkdir()
        yield edition, temporary
        edition.replace(target)
    except OSError as error:
        raise CommandError(f"-o {output}: {error.strerror}; nothing was made") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _selected(temporary: Path, span: Range) -> SortedMessages:
    from launch.dataset.messages import SortedMessages

    return SortedMessages(temporary, span.since, span.until)


def _write_messages(folder: Path, span: Range, selected: SortedMessages) -> Contents:
    from launch.dataset.edition import write_messages

    if not selected.size:
        others = counted(selected.elsewhere, "message")
        raise CommandError(f"no message is about {span.names}; {others} of other times were read")
    with _bar("sorting", selected.size, selected.lines()) as lines:
        return write_messages(folder, lines)


def _licence(spdx: str | None, contents: Contents) -> Licence:
    from miningmap.licences import LicenceError, chosen_licence

    try:
        return chosen_licence(spdx, contents.pools)
    except LicenceError as error:
        raise CommandUsageError(f"--licence: {error}") from None


def _write_tables(
    folder: Path, span: Range, contents: Contents, document: BeliefsDocument, *, parquet: bool
) -> list[Row]:
    """Write all tables, and return the rows of what was believed."""
    from launch.dataset.edition import write_beliefs, write_tables
    from streams.beliefs.excerpt import believed_on
    from streams.queries.dataset import day_of

    believed = believed_on(document, list(map(day_of, span.windows)))
    with _bar("computing", len(span.windows), span.windows) as windows:
        places = write_tables(folder, windows, contents.cells, believed, parquet=parquet)
    if not places:
        raise CommandError(f"nothing is known of {span.names}: no place has hashrate in any window")
    return write_beliefs(folder, believed, span.windows)


def _write_descriptions(
    folder: Path, span: Range, contents: Contents, licence: Licence, believed: list[Row]
) -> str:
    """Write what describes the other files, and return the digest."""
    from launch.dataset.descriptions import Facts
    from launch.dataset.edition import write_descriptions

    facts = Facts(
        range=span,
        licence=licence,
        messages=contents.messages,
        sources=contents.sources,
        beliefs=believed,
        simulated=contents.simulated,
    )
    return write_descriptions(folder, facts)


def _bar(label: str, length: int, items: Iterable[T] | None = None) -> Any:  # noqa: ANN401
    """Return a progress bar on standard error; where that is no terminal, its label alone."""
    return click.progressbar(items, length=length, label=label, file=sys.stderr)


# --- two editions ---------------------------------------------------------------------------------


@dataset.command()
@click.argument("before", metavar="A", type=FOLDER)
@click.argument("after", metavar="B", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def diff(before: Path, after: Path, *, as_json: bool) -> None:
    """List what differs between the figures of two editions, and why.

    Lists every place whose share or hashrate differs (by more than 1e-9 of it), the largest change
    first. Then, for each window in which any figure differs, the other columns that do, and what
    differs in what it was made from: messages, beliefs, rules, pools, the method and the software.
    Both folders are checked against their SHA256SUMS first.

    The exit code is 0 if all figures are the same, 1 if some differ, and 2 for a folder that is no
    edition.
    """
    import msgspec

    from launch.dataset.descriptions import MESSAGES_FILE
    from launch.dataset.differences import text
    from launch.dataset.reading import EditionError, changed_messages, read_edition, verify
    from streams.queries.dataset_diff import compare

    with usage_errors(EditionError):
        for folder in (before, after):
            verify(folder)
        old, new = read_edition(before), read_edition(after)
    common = [window for name, window in old.windows.items() if name in new.windows]
    size = (after / MESSAGES_FILE).stat().st_size
    with usage_errors(EditionError), _bar("comparing", size) as bar:
        messages = changed_messages(before, after, common, lambda at: bar.update(at - bar.pos))
        bar.update(size - bar.pos)
    comparison = compare(old, new, messages)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(comparison)))
    else:
        click.echo(text(comparison), nl=False)
    if not comparison.equal:
        sys.exit(1)


COMMANDS = (dataset,)
