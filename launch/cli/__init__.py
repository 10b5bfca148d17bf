"""The command line: one module for each group of commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from launch.cli import (
    beliefs,
    compare,
    dataset,
    demo,
    notify,
    partner,
    rebuild,
    recompute,
    redrive,
    services,
    sources,
    transfer,
)
from launch.cli.common import EXISTING, Commands, MissingExtraError
from launch.cli.extras import can_load_settings
from miningmap import __version__

if TYPE_CHECKING:
    from pathlib import Path


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="miningmap")
@click.option(
    "--config", type=EXISTING, help="TOML file of settings; environment variables override it."
)
@click.pass_context
def main(context: click.Context, config: Path | None) -> None:
    """Where Bitcoin's hashrate is, live, and how sure that is."""
    if config and not can_load_settings():  # no command may ignore it
        raise MissingExtraError("--config", "server")
    context.obj = config


for module in (
    demo,
    services,
    notify,
    sources,
    partner,
    transfer,
    redrive,
    rebuild,
    recompute,
    compare,
    dataset,
    beliefs,
):
    for command in module.COMMANDS:
        main.add_command(command)
