"""Commands that need no server: answers from a file of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from launch.cli.common import EXISTING, Misuse, misuse, settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from streams.queries.parameters import SharesQuery


@click.command()
@click.argument("file", type=EXISTING)
@click.option("--as-of", required=True, help="A time such as 2026-11-22T15:00:00Z.")
@click.option("--window", default="1h", show_default=True)
@click.option("--level", default="country", show_default=True, help="country or subdivision.")
@click.option("--country", default="", help="With --level subdivision: an ISO code such as CN.")
@click.option("--adjust", default="published", show_default=True, help="published or none.")
@click.option("--priors", type=EXISTING, help="Only these priors, instead of the configured ones.")
@click.option("--rules", type=EXISTING, help="Only these rules, instead of the configured ones.")
@click.pass_context
def recompute(
    context: click.Context, /, file: Path, priors: Path | None, rules: Path | None, **asked: str
) -> None:
    """Answer offline from FILE (messages, one a line), as /api/v1/shares does."""
    import msgspec

    from streams import beliefs
    from streams.queries.recompute import LineError, read_cells
    from streams.queries.recompute import recompute as answer

    question = _question(asked)
    method = settings_of(context).method
    given = {"priors_file": priors, "default_prior": False} if priors else {}
    given |= {"rules_file": rules, "zhejiang_pools": []} if rules else {}
    with misuse(beliefs.BeliefsError):
        held = beliefs.load(method.model_copy(update=given))
    try:
        with file.open("rb") as lines:
            cells = read_cells(lines)
    except LineError as error:
        raise Misuse(f"{file}: {error}") from None
    click.echo(msgspec.json.encode(answer(cells, question, held)))


def _question(asked: Mapping[str, str]) -> SharesQuery:
    from streams.queries.parameters import ParameterError, SharesParameters

    try:
        parameters = SharesParameters.parse(asked)
        if parameters.as_of is None:  # over HTTP that means now
            raise ParameterError("as_of", "expected a time such as 2026-11-22T15:00:00Z")
        return parameters.query(parameters.as_of)
    except ParameterError as error:
        raise Misuse(f"--{error.parameter.replace('_', '-')}: {error}") from None


COMMANDS = (recompute,)
