"""Answers from a file of messages, without Kafka, Redis or any other server."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click

from launch.cli.common import (
    EXISTING,
    CommandUsageError,
    MissingExtraError,
    settings_of,
    usage_errors,
)
from launch.cli.extras import can_load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from streams.beliefs import BeliefOptions
    from streams.queries.parameters import SharesQuery

CONFIGURES_BELIEFS: Final = ("MININGMAP_METHOD", "MININGMAP_SECRETS_DIR")
"""Beginnings of the variables that can configure beliefs."""


@click.command()
@click.argument("file", type=EXISTING)
@click.option("--as-of", required=True, help="A time such as 2026-11-22T15:00:00Z.")
@click.option("--window", default="1h", show_default=True, help="A window of /api/v1/shares.")
@click.option("--level", default="country", show_default=True, help="country or subdivision.")
@click.option("--country", default="", help="With --level subdivision: an ISO code such as CN.")
@click.option("--adjust", default="published", show_default=True, help="published or none.")
@click.option(
    "--priors", type=EXISTING, help="Use only these priors, not the configured or the default ones."
)
@click.option("--rules", type=EXISTING, help="Use only these rules, not the configured ones.")
@click.pass_context
def recompute(
    context: click.Context,
    /,
    file: Path,
    priors: Path | None,
    rules: Path | None,
    **parameters: str,
) -> None:
    """Compute the answer of /api/v1/shares offline from FILE (one message a line).

    Priors and rules are those of the settings. Without the extra "server" no settings can be read:
    then the default prior and no rules are used.
    """
    import msgspec

    from miningmap.messages import LineError
    from streams import beliefs
    from streams.queries.recompute import read_cells
    from streams.queries.shares import answer_from

    query = query_of(parameters)
    options = _configured_beliefs(context)
    if priors:
        options = replace(options, priors_file=priors, default_prior=False)
    if rules:
        options = replace(options, rules_file=rules, zhejiang_pools=())
    with usage_errors(beliefs.BeliefsError):
        loaded = beliefs.load(options)
    for error in beliefs.unknown_pools(loaded):
        click.echo(f"miningmap: priors or rules name an {error}", err=True)
    try:
        with file.open("rb") as lines:
            cells = read_cells(lines)
    except LineError as error:
        raise CommandUsageError(f"{file}: {error}") from None
    click.echo(msgspec.json.encode(answer_from(cells, query, loaded)))


def _configured_beliefs(context: click.Context) -> BeliefOptions:
    """Return the configured beliefs, or the default ones where settings cannot be read.

    Raises:
        MissingExtraError: beliefs are configured, and the packages that read settings are missing.
    """
    from streams.beliefs import BeliefOptions

    if can_load_settings():
        return BeliefOptions(**settings_of(context).method.model_dump())
    for name in sorted(os.environ):
        if name.upper().startswith(CONFIGURES_BELIEFS):
            raise MissingExtraError(name, "server")
    return BeliefOptions()


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
