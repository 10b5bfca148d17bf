"""Commands about sources: which there are, and what one of them says."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

import click

from miningmap.cli.common import EXISTING, failure, misuse, settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SHORT: Final = ("slug", "kind", "state", "auth", "poll_s")
_LONG: Final = ("poll_reason", "locates", "terms")
_PIPED_WIDTH: Final = 160


@click.command()
@click.option("--json", "as_json", is_flag=True, help="All that is declared, as JSON.")
@click.option("--markdown", is_flag=True, help="The page docs/sources.md.")
@click.pass_context
def sources(context: click.Context, /, *, as_json: bool, markdown: bool) -> None:
    """List every pool and network source."""
    import msgspec

    from collector.catalogue import describe
    from collector.discovery import discover
    from collector.page import document
    from miningmap.settings import SettingsError

    if markdown:
        click.echo(document(discover()), nl=False)
        return
    with misuse(SettingsError):
        rows = describe(settings_of(context))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))
    else:
        _print_table(rows)


def _print_table(rows: Sequence[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name in _SHORT:
        table.add_column(name.replace("_", " "), no_wrap=True)
    for name in _LONG:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(str(row[name]) for name in (*_SHORT, *_LONG)))
    Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(table)


@click.command(name="try")
@click.argument("slug")
@click.option(
    "--payload",
    "payloads",
    type=EXISTING,
    multiple=True,
    help="Parse this recorded body instead of asking; once for each of the source's requests.",
)
@click.pass_context
def try_(context: click.Context, /, slug: str, payloads: tuple[Path, ...]) -> None:
    """Ask one source once, and print the messages that it makes, or its error."""
    from collector.catalogue import TrialError, try_source
    from collector.source import SourceError
    from miningmap.messages import encode
    from miningmap.settings import SettingsError

    settings = settings_of(context)
    bodies = [path.read_bytes() for path in payloads] or None
    with misuse(TrialError, SettingsError), failure(SourceError):
        messages = asyncio.run(try_source(slug, bodies, settings))
    for message in messages:
        click.echo(encode(message))
    if not messages:
        click.echo(f"{slug} says that it knows no figure", err=True)


COMMANDS = (sources, try_)
