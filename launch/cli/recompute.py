"""Answers from a file of messages, without Kafka, Redis or any other server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from launch.cli.beliefs import configured_beliefs
from launch.cli.common import (
    EXISTING,
    CommandUsageError,
    message_lines,
    tell_left_out,
    usage_errors,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.method.beliefs import Beliefs
    from streams.queries.parameters import SharesQuery


@click.command()
@click.argument("file", type=EXISTING)
@click.option("--as-of", required=True, help="A time such as 2026-11-22T15:00:00Z.")
@click.option("--window", default="1h", show_default=True, help="A window of /api/v1/shares.")
@click.option("--level", default="country", show_default=True, help="country or subdivision.")
@click.option("--country", default="", help="With --level subdivision: an ISO code such as CN.")
@click.option("--adjust", default="published", show_default=True, help="published or none.")
@click.option("--prior", default="default", show_default=True, help="default, none or an id.")
@click.option(
    "--beliefs",
    "only",
    type=click.Path(exists=True, path_type=Path),
    help="Use only the beliefs in this file or folder, not the configured ones.",
)
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

    Totals of 0 and messages from before Bitcoin's first block, which are dead letters in the live
    system, are left out and counted on standard error.
    """
    import msgspec

    from streams import beliefs
    from streams.queries.recompute import read_cells
    from streams.queries.shares import answer_from

    query = query_of(parameters)
    with usage_errors(beliefs.BeliefsError):
        loaded = beliefs.load_only(only) if only else beliefs.load(configured_beliefs(context))
    for error in beliefs.unknown_pools(loaded):
        click.echo(f"miningmap: beliefs name an {error}", err=True)
    _check_prior(query, loaded)
    with message_lines(file) as lines:
        cells, left_out = read_cells(lines)
    tell_left_out(left_out)
    click.echo(msgspec.json.encode(answer_from(cells, query, loaded)))


def _check_prior(query: SharesQuery, loaded: Beliefs) -> None:
    from streams.queries.parameters import ParameterError
    from streams.queries.shares import check_prior

    try:
        check_prior(query.prior, loaded)
    except ParameterError as error:
        raise CommandUsageError(f"--{error.parameter}: {error}") from None


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


COMMANDS = (recompute,)
