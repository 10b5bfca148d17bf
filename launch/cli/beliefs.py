"""Commands about beliefs: list what is believed, and check files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from launch.cli.common import Commands, refuse_options, settings_if_readable, usage_errors
from launch.cli.extras import can_load_settings
from launch.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from miningmap.api.models import BeliefRow
    from streams.beliefs import BeliefOptions, BeliefsDocument

_LONGEST: Final = 36
_HEADER: Final = ("id", "kind", "from", "until", "says", "figures")


@click.group(cls=Commands, invoke_without_command=True)
@click.option(
    "--json", "as_json", is_flag=True, help="Print everything about each belief, as JSON."
)
@click.option("--markdown", is_flag=True, help="Print the page docs/beliefs.md.")
@click.option(
    "--on",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="The day, such as 2026-11-22; by default today, in UTC.",
)
@click.pass_context
def beliefs(
    context: click.Context, /, *, as_json: bool, markdown: bool, on: datetime | None
) -> None:
    """List what is believed about where hashrate is: by whom, and from when to when.

    Beliefs are those of the settings. Without the extra "server" no settings can be read: then the
    shipped beliefs are listed.
    """
    if context.invoked_subcommand is not None:
        refuse_options(context)
        return
    import msgspec

    from miningmap.times import utc_now
    from streams.beliefs import BeliefsError, configured
    from streams.beliefs.documents import SHIPPED, read
    from streams.beliefs.markdown import page
    from streams.beliefs.rows import rows_on

    if markdown:
        click.echo(page(read(SHIPPED)), nl=False)
        return
    with usage_errors(BeliefsError):
        document = configured(configured_beliefs(context))
    rows = rows_on(document, (on or utc_now()).date())
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))
    else:
        _print_table(rows)


@beliefs.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path), metavar="FILE-OR-FOLDER")
def check(path: Path) -> None:
    """List all that is wrong with files of beliefs, by file and line."""
    from streams.beliefs.check import check as findings_of
    from streams.beliefs.documents import belief_files

    files = len(list(belief_files(path)))
    if not files:
        click.echo(f"{path}: has no file of beliefs, which ends in .toml or .json")
    findings = findings_of(path, pools=known_pools(), others=_shipped())
    for finding in findings:
        click.echo(finding)
    click.echo(f"{counted(files, 'file')}, {counted(len(findings), 'finding')}", err=True)
    if findings or not files:
        sys.exit(1)


def configured_beliefs(context: click.Context) -> BeliefOptions:
    """Return the configured beliefs, or the default ones where settings cannot be read.

    Raises:
        MissingExtraError: beliefs are configured, and the packages that read settings are missing.
    """
    from streams.beliefs import BeliefOptions

    settings = settings_if_readable(context, "MININGMAP_METHOD")
    return BeliefOptions(**settings.method.model_dump()) if settings else BeliefOptions()


def known_pools() -> frozenset[str]:
    """Return the slugs that have a name, and those of sources if the collector is installed."""
    from miningmap.pool_names import named_pools

    if not can_load_settings():
        return frozenset(named_pools())
    from collector.registry import discover
    from collector.sources.base import PoolSource

    sources = [source for source in discover() if isinstance(source, PoolSource)]
    return frozenset(named_pools()) | {source.pool for source in sources if source.pool is not None}


def _shipped() -> BeliefsDocument:
    """Return the shipped beliefs; none while they are being edited and cannot be read."""
    from streams.beliefs import BeliefsDocument, BeliefsError
    from streams.beliefs.documents import SHIPPED, read

    try:
        return read(SHIPPED)
    except BeliefsError:
        return BeliefsDocument()


def _print_table(rows: Sequence[BeliefRow]) -> None:
    lines = [_HEADER, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADER) - 1)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        click.echo("  ".join([*cells, line[-1]]))


def _cells(row: BeliefRow) -> tuple[str, ...]:
    from streams.beliefs.markdown import figures

    publisher = row.publisher or row.source
    says = publisher if len(publisher) <= _LONGEST else f"{publisher[: _LONGEST - 1]}…"
    return (row.id, row.kind, _day(row.start), _day(row.until), says, figures(row))


def _day(day: date | None) -> str:
    return "-" if day is None else day.isoformat()


COMMANDS = (beliefs,)
