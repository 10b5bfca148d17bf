"""The command line: one module of commands for each kind of work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from launch.cli import demo, partner, recompute, services, sources, transfer
from launch.cli.common import EXISTING, Commands
from miningmap import __version__, logs

if TYPE_CHECKING:
    from pathlib import Path


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="miningmap")
@click.option("--config", type=EXISTING, help="Settings as TOML; the environment wins.")
@click.pass_context
def main(context: click.Context, config: Path | None) -> None:
    """Where Bitcoin's hashrate is, live, and how sure that is."""
    logs.keep_quiet()
    context.obj = config


for module in (demo, services, sources, partner, transfer, recompute):
    for command in module.COMMANDS:
        main.add_command(command)
