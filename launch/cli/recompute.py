"""Answers from a file of messages, without Kafka, Redis or any other server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from launch.cli.beliefs import configured_beliefs
from launch.cli.common import (
    EXISTING,
    CommandUsageError,
    message_lines,
    settings_if_readable,
    tell_left_out,
    time_of,
    usage_errors,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.beliefs import BeliefsDocument
    from streams.method.beliefs import Beliefs
    from streams.method.cells import MemoryCells
    from streams.method.swings import SwingSettings
    from streams.queries.parameters import SharesQuery

ADJUST: Final = click.option(
    "--adjust", default="published", show_default=True, help="published or none."
)
PRIOR: Final = click.option(
    "--prior", default="default", show_default=True, help="default, none or an id."
)
BELIEFS: Final = click.option(
    "--beliefs",
    "only",
    type=click.Path(exists=True, path_type=Path),
    help="Use only the beliefs in this file or folder, not the configured ones.",
)


@click.command()
@click.argument("file", type=EXISTING)
@click.option("--as-of", required=True, help="A time such as 2026-11-22T15:00:00Z.")
@click.option("--window", default="1h", show_default=True, help="A window of /api/v1/shares.")
@click.option("--level", default="country", show_default=True, help="country or subdivision.")
@click.option("--country", default="", help="With --level subdivision: an ISO code such as CN.")
@ADJUST
@PRIOR
@BELIEFS
@click.pass_context
def recompute(
    context: click.Context,
    /,
    file: Path,
    only: Path | None,
    **parameters: str,
) -> None:
    """Compute the answer of /api/v1/shares offline from FILE (one message a line, .gz too).

    Beliefs are those of the settings. Without the extra "server" no settings can be read: then the
    shipped beliefs are used.

    Totals of 0, messages from before Bitcoin's first block and those that are too large, which are
    dead letters in the live system, are left out and counted on standard error.
    """
    import msgspec

    from streams.queries.shares import answer_from

    query = query_of(parameters)
    loaded = beliefs_of(context, only, query.prior)
    click.echo(msgspec.json.encode(answer_from(cells_of(file), query, loaded)))


@click.command()
@click.argument("file", type=EXISTING)
@click.option("--from", "start", required=True, help="The first minute: 2026-11-22T15:00:00Z.")
@click.option("--to", "end", required=True, help="The last minute.")
@BELIEFS
@click.pass_context
def swings(context: click.Context, /, file: Path, start: str, end: str, only: Path | None) -> None:
    """Find the swings in FILE (messages, one a line, .gz too) as a JSON array of swing/1.

    A swing is a place's share, or a pool's hashrate, that moves against its own last day or week.
    Every whole minute from --from to --to is evaluated, both included, as if nothing had swung
    before. FILE should have the messages of the 38 days before --from too: they tell how much a
    place usually moves, and where pools measured their miners.

    Beliefs, thresholds and what is muted are those of the settings. Without the extra "server" no
    settings can be read: then the shipped beliefs and the default thresholds are used.
    """
    import msgspec

    from streams.queries.swings import detect, minutes_between

    first, last = time_of("--from", start), time_of("--to", end)
    if first > last:
        raise CommandUsageError("--from: must not be after --to")
    loaded = beliefs_of(context, only)
    muted = _muted(context, loaded)
    cells = cells_of(file)
    with click.progressbar(
        minutes_between(first, last), label="evaluating minutes", file=sys.stderr
    ) as minutes:
        events = list(detect(cells, minutes, loaded, configured_swings(context), muted))
    click.echo(msgspec.json.encode(events))


def configured_swings(context: click.Context) -> SwingSettings:
    """Return when swings fire by the settings, or by default where these cannot be read.

    Raises:
        MissingExtraError: that is configured, and the packages that read settings are missing.
    """
    from streams.method.swings import SwingSettings
    from streams.queries.swings import swing_settings

    settings = settings_if_readable(context, "MININGMAP_SWINGS")
    return swing_settings(settings.swings) if settings else SwingSettings()


def _muted(context: click.Context, loaded: Beliefs) -> list[str]:
    """Return the ids of the annotations that are muted; tells of those that do not exist."""
    from streams.beliefs import unknown_annotations

    settings = settings_if_readable(context, "MININGMAP_SWINGS")
    muted = settings.swings.muted if settings else []
    for error in unknown_annotations(loaded, muted):
        click.echo(f"miningmap: MININGMAP_SWINGS__MUTED: {error}", err=True)
    return muted


def read_beliefs(context: click.Context, only: Path | None) -> tuple[BeliefsDocument, Beliefs]:
    """Return what ``only`` or the configuration says, with its sources, and the beliefs of it.

    Tells of pools that nobody knows.

    Raises:
        CommandUsageError: beliefs are invalid.
    """
    from streams import beliefs
    from streams.beliefs.documents import read

    with usage_errors(beliefs.BeliefsError):
        document = read(only) if only else beliefs.configured(configured_beliefs(context))
        loaded = beliefs.beliefs_of(document)
    for error in beliefs.unknown_pools(loaded):
        click.echo(f"miningmap: beliefs name an {error}", err=True)
    return document, loaded


def beliefs_of(context: click.Context, only: Path | None, prior: str = "default") -> Beliefs:
    """Return the beliefs in ``only``, or the configured ones; tells of pools that nobody knows.

    Raises:
        CommandUsageError: beliefs are invalid, or the network prior ``prior`` is none of them.
    """
    from streams.queries.parameters import ParameterError
    from streams.queries.shares import check_prior

    _, loaded = read_beliefs(context, only)
    try:
        check_prior(prior, loaded)
    except ParameterError as error:
        raise CommandUsageError(f"--{error.parameter}: {error}") from None
    return loaded


def cells_of(file: Path) -> MemoryCells:
    """Return the cells of a file of messages; tells how many messages are left out.

    Raises:
        CommandUsageError: a line is not a valid message.
    """
    from streams.queries.recompute import read_cells

    with message_lines(file) as lines:
        cells, left_out = read_cells(lines)
    tell_left_out(left_out)
    return cells


def query_of(texts: Mapping[str, str]) -> SharesQuery:
    """Return the query of these parameters, named as those of /api/v1/shares.

    Raises:
        CommandUsageError: one of them is wrong.
    """
    from streams.queries.parameters import ParameterError, SharesParameters

    try:
        parameters = SharesParameters.parse(texts)
        if parameters.as_of is None:  # over HTTP an empty value means now
            raise ParameterError("as_of", "expected a time such as 2026-11-22T15:00:00Z")
        return parameters.query(parameters.as_of)
    except ParameterError as error:
        raise CommandUsageError(f"--{error.parameter.replace('_', '-')}: {error}") from None


COMMANDS = (recompute, swings)
