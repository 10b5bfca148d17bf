"""What the commands share: errors as one line, settings, running a service until told to stop."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click
import structlog

from miningmap import logs
from miningmap.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

ERRORS_SHOWN: Final = 20
EXISTING: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


class Commands(click.Group):
    """A group whose usage errors are one line too, like those of its commands."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 - click's signature
    ) -> click.Context:
        """Parse the group's own options."""
        with _in_one_line():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Parse a command's options and run it."""
        with _in_one_line():
            return super().invoke(ctx)


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        said = " ".join(error.format_message().split())
        help_ = f"; see {error.ctx.command_path} --help" if error.ctx else ""
        raise Misuse(said.rstrip(".") + help_) from None


class Failure(click.ClickException):
    """The command did not do what it should have: one line on standard error, exit 1."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        """One line, without a traceback."""
        click.echo(f"miningmap: {self.format_message()}", err=file is None, file=file)


class Misuse(Failure):
    """Wrong usage or configuration: exit 2."""

    exit_code = 2


def config_of(context: click.Context) -> Path | None:
    """The file of ``--config``."""
    config: Path | None = context.find_root().obj
    return config


def settings_of(context: click.Context) -> Settings:
    """The settings of this call, ``--config`` included.

    Raises:
        Misuse: one of them is wrong.
    """
    with misuse(SettingsError):
        return load(config_of(context))


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


def listing(errors: Sequence[str], outcome: str) -> str:
    """Errors for one exception: the first ones, a line each, and what became of the whole."""
    if len(errors) == 1:
        return f"{errors[0]}; {outcome}"
    more = len(errors) - ERRORS_SHOWN
    shown = [*errors[:ERRORS_SHOWN], *([f"and {more} more"] if more > 0 else [])]
    return "\n  ".join([f"{len(errors)} errors, {outcome}:", *shown])


@contextmanager
def written(output: str) -> Iterator[IO[bytes]]:
    """Standard output (``-``), or a file that takes its name only when it is whole."""
    if output == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(output)
    if target.exists() and not target.is_file():
        raise Misuse(f"--output {output}: is there and is no file; with - it goes to a pipe")
    part = target.with_name(f"{target.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(target)
    except OSError as error:
        raise Failure(f"--output {output}: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def run_service(
    context: click.Context, name: str, run: Callable[[Settings, asyncio.Event], Awaitable[None]]
) -> None:
    """Run one service until it is told to stop (SIGTERM, Ctrl-C).

    Raises:
        Misuse: a setting is wrong.
        Failure: the service failed for good; the log has the traceback.
    """
    settings = settings_of(context)
    logs.configure(settings.log, name)

    async def until_stopped() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, stop.set)
        await run(settings, stop)

    try:
        asyncio.run(until_stopped())
    except SettingsError as error:
        raise Misuse(str(error)) from None
    except Exception as error:  # noqa: BLE001 - whatever it is, this process is at its end
        structlog.get_logger(__name__).exception("service failed")
        raise Failure(f"{name} failed: {error!r}") from None
