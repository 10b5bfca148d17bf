"""``python -m launch.simulation``: run the simulated world as a process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launch.simulation.scenarios import DEFAULT, SCENARIOS
from launch.simulation.service import serve
from launch.simulation.world import World
from miningmap import logs
from miningmap.inputs import read_text
from miningmap.settings import SettingsError, load
from miningmap.times import parse_rfc3339, utc_now

if TYPE_CHECKING:
    from datetime import datetime


def _origin(_context: click.Context, _option: click.Parameter, text: str | None) -> datetime:
    if text is None:
        return utc_now()
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), required=True, help="Port to listen on; 0 for any."
)
@click.option("--seed", default=1, show_default=True, help="Seed of all randomness.")
@click.option(
    "--scenario", type=click.Choice(sorted(SCENARIOS)), default=DEFAULT, show_default=True
)
@click.option(
    "--origin",
    callback=_origin,
    help="Start of the run, e.g. 2026-11-22T15:00:00Z; the same as the history's. [default: now]",
)
@click.option(
    "--intake", help="Base address that the partner pushes to, e.g. http://127.0.0.1:8081."
)
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the partner's token.",
)
def main(
    *,
    host: str,
    port: int,
    seed: int,
    scenario: str,
    origin: datetime,
    intake: str | None,
    token_file: Path | None,
) -> None:
    """Serve the simulated sources at /HOST/PATH, and push a partner's rows to the intake."""
    if (intake is None) != (token_file is None):
        raise click.UsageError("--intake and --token-file must be given together")
    token = read_text(token_file).strip() if token_file else ""
    try:
        logs.configure(load().log, "simulation")
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    world = World(seed, origin, SCENARIOS[scenario])
    try:
        asyncio.run(serve(host, port, world, intake=intake, token=token))
    except OSError as error:
        raise click.ClickException(f"--port {port}: {error.strerror or error}") from None


if __name__ == "__main__":
    main()
