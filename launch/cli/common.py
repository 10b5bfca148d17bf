"""Helpers of the commands: one-line errors, settings, output files, publishing, services."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from launch.cli.extras import EXTRA_OF_COMMAND, can_load_settings, extra_of, install_command
from launch.words import counted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
    from datetime import datetime

    import httpx

    from miningmap.messages import Message
    from miningmap.settings import Kafka, Settings

BATCH: Final = 500
"""Messages that are published at once."""
ERRORS_SHOWN: Final = 20
LEFT_S: Final = 1.0
"""How long the tasks that a service has left may take to end, in seconds."""
_NO_SPACE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Errors of writing to a file, which name no file: a full disk, a quota, a limit, a broken disk."""
PORTS: Final = range(2**16)
EXISTING: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


# --- errors ---------------------------------------------------------------------------------------


class CommandError(click.ClickException):
    """The command failed: one line on standard error, exit code 1."""

    exit_code = 1
    prefix = "miningmap: "

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the error without a traceback."""
        click.echo(self.prefix + self.format_message(), err=file is None, file=file)


class CommandUsageError(CommandError):
    """The arguments or the settings are wrong: exit code 2."""

    exit_code = 2


class MissingExtraError(CommandUsageError):
    """A command or an option needs packages that are not installed: exit code 2."""

    prefix = ""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what} needs the extra "{extra}": {install_command(extra)}')


class Commands(click.Group):
    """A group that reports usage errors and missing extras in one line."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 - click's signature
    ) -> click.Context:
        """Parse the options of the group itself."""
        if sys.stdout is None:
            # It is closed (>&-), as a service may be started. click.echo() then writes nothing, and
            # so shall everything else.
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
            sys.stdout = nowhere
        with _one_line_usage_errors(), _one_line_output_errors():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Parse the options of a command and run it.

        Raises:
            MissingExtraError: the command imports a package of an extra that is not installed.
            CommandError: the disk is full.
        """
        try:
            with _one_line_usage_errors(), _one_line_output_errors():
                return super().invoke(ctx)
        except ModuleNotFoundError as error:
            extra = extra_of(error.name or "")
            if extra is None:  # a module of this project, or a broken installation
                raise
            if extra == "server":
                extra = EXTRA_OF_COMMAND.get(ctx.invoked_subcommand or "", extra)
            command = f"{ctx.command_path} {ctx.invoked_subcommand or ''}".rstrip()
            raise MissingExtraError(command, extra) from None


@contextmanager
def _one_line_usage_errors() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        message = " ".join(error.format_message().split()).rstrip(".")
        advice = f"; see {error.ctx.command_path} --help" if error.ctx else ""
        raise CommandUsageError(message + advice) from None


@contextmanager
def _one_line_output_errors() -> Iterator[None]:
    """Report a full disk in one line. A closed pipe is left to click, for which it is no error.

    Raises:
        CommandError: standard output, or a file of the command, cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        _drop_unwritten_output()
        raise CommandError(f"cannot write: {error.strerror}; the output is incomplete") from None


def _drop_unwritten_output() -> None:
    """Discard what is left in the buffer, which the interpreter would try to write at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def usage_errors(*errors: type[Exception]) -> Iterator[None]:
    """Report these exceptions in one line, with exit code 2."""
    try:
        yield
    except errors as error:
        raise CommandUsageError(str(error)) from None


@contextmanager
def settings_errors(context: click.Context) -> Iterator[None]:
    """Report a wrong setting in one line, with its line in the file of ``--config`` if it has one.

    Raises:
        CommandUsageError: a setting is wrong.
    """
    from miningmap.settings import SettingsError, in_its_place

    try:
        yield
    except SettingsError as error:
        raise CommandUsageError(str(in_its_place(error, config_of(context)))) from None


@contextmanager
def command_errors(*errors: type[Exception]) -> Iterator[None]:
    """Report these exceptions in one line; also those that a task group raises.

    The exit code is 1, and 2 if a setting is wrong: the broker refuses the password, for example.
    Any other exception in the same group is a bug and propagates.
    """
    found: list[BaseException] = []
    try:
        yield
    except* errors as group:
        found = list(_leaves(group))
    if found:
        text = "; ".join(str(error) or type(error).__name__ for error in found)
        is_wrong_setting = any(isinstance(error, _settings_error()) for error in found)
        raise CommandUsageError(text) if is_wrong_setting else CommandError(text)


def _settings_error() -> type[Exception] | tuple[()]:
    """Return the error of a wrong setting; no class where settings cannot be loaded."""
    if not can_load_settings():
        return ()
    from miningmap.settings import SettingsError

    return SettingsError


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def listing(errors: Sequence[str], outcome: str) -> str:
    """Return a text for several errors: the first ones, a line each, and the outcome."""
    if len(errors) == 1:
        return f"{errors[0]}; {outcome}"
    more = len(errors) - ERRORS_SHOWN
    shown = [*errors[:ERRORS_SHOWN], *([f"and {more} more"] if more > 0 else [])]
    return "\n  ".join([f"{len(errors)} errors, {outcome}:", *shown])


def refuse_options(context: click.Context) -> None:
    """Refuse the options of a group in front of one of its commands, which does not use them.

    Raises:
        CommandUsageError: one is given.
    """
    for option in context.command.params:
        if context.get_parameter_source(option.name or "") == ParameterSource.COMMANDLINE:
            raise CommandUsageError(
                f"{option.opts[-1]}: not allowed in front of {context.invoked_subcommand}, which "
                f"has options of its own; see {context.command_path} {context.invoked_subcommand} "
                "--help"
            )


# --- addresses ------------------------------------------------------------------------------------


def time_of(option: str, text: str) -> datetime:
    """Return the time that an option was given.

    Raises:
        CommandUsageError: it is none, or has no time zone.
    """
    from miningmap.times import parse_rfc3339

    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise CommandUsageError(f"{option}: {error}") from None


def http_url(option: str, address: str) -> httpx.URL:
    """Return the address of a server that is given by an option.

    Raises:
        CommandUsageError: it is not a URL of HTTP.
    """
    import httpx

    try:
        url = httpx.URL(address)
        url.host.encode("idna")  # as a connection does
        usable = url.scheme in {"http", "https"} and url.host and (url.port or 0) in PORTS
    except (httpx.InvalidURL, ValueError):  # a host that is no domain name is a ValueError
        usable = False
    if not usable:
        raise CommandUsageError(f"{option}: expected a URL such as https://map.example")
    return url


# --- settings -------------------------------------------------------------------------------------


def config_of(context: click.Context) -> Path | None:
    """Return the file of ``--config``."""
    config: Path | None = context.find_root().obj
    return config


def settings_of(context: click.Context) -> Settings:
    """Load the settings of this call, ``--config`` included.

    Libraries stay silent from here on, because a command reports its errors itself; a service
    configures its own logs.

    Raises:
        CommandUsageError: a setting is wrong.
    """
    from miningmap import logs
    from miningmap.settings import SettingsError, load

    logs.keep_quiet()
    with usage_errors(SettingsError):
        return load(config_of(context))


def settings_if_readable(context: click.Context, section: str) -> Settings | None:
    """Load the settings, or return ``None`` where the packages that read them are missing.

    Args:
        context: the call.
        section: the beginning of the variables that the command would read.

    Raises:
        MissingExtraError: such a variable is set, and the packages are missing.
    """
    if can_load_settings():
        return settings_of(context)
    for name in sorted(os.environ):
        if name.upper().startswith((section, "MININGMAP_SECRETS_DIR")):
            raise MissingExtraError(name, "server")
    return None


# --- files ----------------------------------------------------------------------------------------


@contextmanager
def message_lines(
    file: Path, *, reached: Callable[[int], object] | None = None
) -> Iterator[Iterator[bytes]]:
    """Read the lines of a file of messages, which may be compressed (``.gz``).

    Args:
        file: of messages, one a line.
        reached: called now and then with the position in the file, in bytes.

    Raises:
        CommandUsageError: the file cannot be read, or a line is not a valid message.
    """
    import gzip
    import zlib

    from miningmap.inputs import watched
    from miningmap.messages import LineError

    try:
        with file.open("rb") as raw:
            lines = gzip.GzipFile(fileobj=raw) if file.suffix == ".gz" else raw
            tell = reached if raw.seekable() else None  # a pipe has no position
            yield watched(lines, lambda: tell(raw.tell()) if tell else None)
    except LineError as error:
        raise CommandUsageError(f"{file}: {error}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CommandUsageError(f"{file}: is not a complete gzip file: {error}") from None


def tell_left_out(number: int) -> None:
    """Tell on standard error how many messages were left out that become no cell at any time."""
    if number:
        why = "totals of 0, before Bitcoin's first block, or too large"
        click.echo(f"{counted(number, 'message')} left out: {why}", err=True)


@contextmanager
def output_file(output: str, *inputs: str | Path) -> Iterator[IO[bytes]]:
    """Open standard output (``-``), or a file that appears under its name only when complete.

    Args:
        output: its name.
        inputs: what the content is made from; addresses are no files.

    Raises:
        CommandUsageError: something other than a regular file has that name, or an input.
        CommandError: the file cannot be written.
    """
    if output == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(output)
    if target.exists() and not target.is_file():
        raise CommandUsageError(
            f"--output {output}: exists and is not a regular file; use - to write to standard "
            "output"
        )
    if any(_is_same_file(target, name) for name in inputs):
        raise CommandUsageError(f"--output {output}: is also read; choose another name")
    part = target.with_name(f"{target.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(target)
    except OSError as error:
        raise CommandError(f"--output {output}: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def _is_same_file(path: Path, other: str | Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:  # one of them does not exist
        return False


# --- Kafka ----------------------------------------------------------------------------------------


async def publish_messages(
    kafka: Kafka, messages: Sequence[Message], *, published: Callable[[int], None] | None = None
) -> None:
    """Publish messages in batches, in their order.

    Args:
        kafka: how to reach the broker.
        messages: reports and network hashrates.
        published: called after each batch with the number of its messages.

    Raises:
        BrokerError: the broker did not acknowledge a batch.
    """
    from miningmap.kafka.producer import Publisher, record_of
    from miningmap.kafka.topics import NETWORK, REPORTS

    async with Publisher(kafka, frozenset({REPORTS, NETWORK})) as publisher:
        for start in range(0, len(messages), BATCH):
            batch = messages[start : start + BATCH]
            await publisher.publish([record_of(message) for message in batch])
            if published:
                published(len(batch))


# --- services -------------------------------------------------------------------------------------

_SELDOM: Final = 50_000
"""After how many new objects the garbage collector runs."""


def collect_garbage_seldom() -> None:
    """Let the garbage collector run less often: for a process that makes many objects at once.

    Messages and what becomes of them have no cycles, so they go without it, as do requests and
    what streams send. Of a poll little is left to it. By default it would look at all of a batch,
    and now and then at everything imported or at a thousand open streams, each 700 objects.
    """
    gc.collect()
    gc.freeze()  # what is imported stays anyway
    gc.set_threshold(_SELDOM)


def run_service(
    context: click.Context, name: str, run: Callable[[Settings, asyncio.Event], Awaitable[None]]
) -> None:
    """Run one service until it is asked to stop (SIGTERM, Ctrl-C).

    Raises:
        CommandUsageError: a setting is wrong.
        CommandError: the service failed; its log has the traceback.
    """
    import structlog

    from miningmap import logs
    from miningmap.loop_watchdog import watched_loop

    settings = settings_of(context)
    logs.configure(settings.log, name)
    log = structlog.get_logger(__name__)

    async def until_stopped() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for stop_signal in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(stop_signal, stop.set)
        beating = asyncio.create_task(watchdog.beat())
        try:
            await run(settings, stop)
        finally:
            beating.cancel()
        log.info("service_stopped")

    try:
        with settings_errors(context), watched_loop() as watchdog:
            _run(until_stopped())
    except CommandUsageError:
        raise
    except Exception as error:
        log.exception("service_failed")
        raise CommandError(f"{name} failed: {error!r}") from None


def _run(service: Coroutine[Any, Any, None]) -> None:
    """Run a service as ``asyncio.run`` does, but leave tasks alone that ignore their cancellation.

    While Kafka is unavailable, a task of Faust can wait for a thread that never ends. Closing the
    loop would wait for it as well, and the process would not end.
    """
    runner = asyncio.Runner()
    try:
        runner.run(service)
    finally:
        if runner.run(_cancel_left()):
            runner.close()


async def _cancel_left() -> bool:
    """Cancel all other tasks, and return whether they have ended in time."""
    if left := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=LEFT_S)
    return len(asyncio.all_tasks()) == 1
