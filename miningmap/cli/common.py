"""What the commands share: errors as one line, settings, running a service until told to stop."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from miningmap import logs
from miningmap.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

EXISTING: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


class Failure(click.ClickException):
    """The command did not do what it should have: one line on standard error, exit 1."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        """One line, without a traceback."""
        click.echo(f"miningmap: {self.format_message()}", err=file is None, file=file)


class Misuse(Failure):
    """Wrong usage or configuration: exit 2."""

    exit_code = 2


def settings_of(context: click.Context) -> Settings:
    """The settings of this call, ``--config`` included.

    Raises:
        Misuse: one of them is wrong.
    """
    with misuse(SettingsError):
        return load(context.find_root().obj)


@contextmanager
def misuse(*errors: type[Exception]) -> Iterator[None]:
    """Say these errors in one line and exit 2."""
    try:
        yield
    except errors as error:
        raise Misuse(str(error)) from None


@contextmanager
def failure(*errors: type[Exception]) -> Iterator[None]:
    """Say these errors in one line and exit 1."""
    try:
        yield
    except errors as error:
        raise Failure(str(error) or type(error).__name__) from None


def run_service(
    context: click.Context, name: str, run: Callable[[Settings, asyncio.Event], Awaitable[None]]
) -> None:
    """Run one service until it is told to stop (SIGTERM, Ctrl-C)."""
    settings = settings_of(context)
    logs.configure(settings.log, name)

    async def until_stopped() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, stop.set)
        await run(settings, stop)

    with misuse(SettingsError):
        asyncio.run(until_stopped())
