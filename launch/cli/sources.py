"""Commands about sources: list all of them and the pools, and poll one of them once."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from launch.cli.common import EXISTING, command_errors, settings_errors, settings_of, usage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.table import Table

_PIPED_WIDTH: Final = 160
_NARROW: Final = 12


@click.command()
@click.option(
    "--json", "as_json", is_flag=True, help="Print everything about each source, as JSON."
)
@click.option("--markdown", is_flag=True, help="Print the page docs/sources.md.")
@click.pass_context
def sources(context: click.Context, /, *, as_json: bool, markdown: bool) -> None:
    """List every pool and network source."""
    import msgspec

    from collector.catalogue import describe
    from collector.registry import discover
    from collector.sources.markdown import document

    if markdown:
        click.echo(document(discover()), nl=False)
        return
    settings = settings_of(context)
    with settings_errors(context):
        rows = describe(settings)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))
    else:
        _print_table(rows)


def _print_table(rows: Sequence[dict[str, object]]) -> None:
    """Print the main fields of each source; long texts are folded."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("slug", "kind", "state", "auth", "every", "rate", "locates"):
        is_word = name in {"slug", "kind", "every", "rate"}
        table.add_column(name, no_wrap=is_word, max_width=None if is_word else _NARROW)
    for name in ("why not more often", "terms"):
        table.add_column(name, overflow="fold")
    for row in rows:
        located = str(row["locates"]).partition(":")[0].replace("nothing", "-")
        words = (row["slug"], row["kind"], row["state"], row["auth"], f"{row['poll_s']} s")
        table.add_row(*map(str, (*words, row["rate"], located, row["poll_reason"], row["terms"])))
    _print(table)


def _print(table: Table) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(table)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print who covers each pool, as JSON.")
@click.pass_context
def pools(context: click.Context, /, *, as_json: bool) -> None:
    """List the pools that are known by name, and who covers each of them.

    Their slugs are what `partner add --pool` and beliefs name.
    """
    import msgspec

    from collector.catalogue import describe_pools
    from collector.intake.partners import PartnersError
    from miningmap.settings import SettingsError

    with usage_errors(SettingsError, PartnersError):
        rows = describe_pools(settings_of(context))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))
    else:
        _print_pools(rows)


def _print_pools(rows: Sequence[dict[str, Any]]) -> None:
    """Print each pool with its own sources; those that list many pools follow in one line."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("pool", "name"):
        table.add_column(name, no_wrap=True)
    for name in ("sources", "partners"):
        table.add_column(name, overflow="fold")
    for row in rows:
        partners = ", ".join(row["partners"])
        table.add_row(row["pool"], row["name"], _states(row["sources"]) or "-", partners or "-")
    _print(table)
    relays = rows[0]["relays"]
    click.echo(f"sources that list many pools, each those that it knows: {_states(relays)}")


def _states(sources: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{source['source']} ({source['state']})" for source in sources)


@click.command(name="try")
@click.argument("slug")
@click.option(
    "--payload",
    "payloads",
    type=EXISTING,
    multiple=True,
    help="Parse this recorded body instead of sending a request; give one for each request of the "
    "source.",
)
@click.pass_context
def try_(context: click.Context, /, slug: str, payloads: tuple[Path, ...]) -> None:
    """Poll one source once, and print the resulting messages or the error."""
    from collector.catalogue import TrialError, try_source
    from collector.sources.base import SourceError
    from miningmap.messages import encode

    settings = settings_of(context)
    bodies = [path.read_bytes() for path in payloads] or None
    with usage_errors(TrialError), settings_errors(context), command_errors(SourceError):
        messages = asyncio.run(try_source(slug, bodies, settings))
    for message in messages:
        click.echo(encode(message))
    if not messages:
        click.echo(f"{slug} answered that it knows no figure", err=True)


COMMANDS = (sources, pools, try_)
