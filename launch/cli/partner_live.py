"""The commands of a pool that run on: `partner push --live` and `partner aggregate --every`."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import click

from launch.cli.common import CommandError, CommandUsageError, command_errors, usage_errors
from launch.words import counted
from miningmap.times import DAY_S, HOUR_S, MINUTE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence

    import httpx

    from miningmap.live_rows import LiveRow
    from miningmap.partner.aggregate import Address, Aggregate, Locate, Places
    from miningmap.partner.database import CurrentDatabase
    from miningmap.partner.live.forward import Forwarder, Post
    from miningmap.partner.live.snapshots import Source
    from miningmap.partner.live.watch import LiveAggregator
    from miningmap.partner.records import Location

STANDARD_INPUT: Final = Path("-")

MAX_AGE_S: Final = 5 * MINUTE_S
"""How long a list that does not change is repeated, unless the interval is longer."""

_UNITS_OF_TIME: Final = {"s": 1, "m": MINUTE_S, "h": HOUR_S, "d": DAY_S}
_UNITS_OF_SIZE: Final = {"MB": 10**6, "GB": 10**9}
_NUMBER: Final = re.compile(r"([1-9][0-9]{0,5})([A-Za-z]+)")
_PORT: Final = re.compile(r"tcp:(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})")
_LARGEST_PORT: Final = 2**16 - 1


# --- options --------------------------------------------------------------------------------------


class _WithUnit(click.ParamType):
    """A whole number with a unit, and at least a certain one."""

    def __init__(self, name: str, units: dict[str, int], example: str, least: str) -> None:
        self.name = name
        self._units = units
        self._example = example
        self._least = least

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return the number in the smallest unit."""
        if isinstance(value, int):
            return value
        match = _NUMBER.fullmatch(value)
        if match is None or match[2] not in self._units:
            units = ", ".join(self._units)
            self.fail(
                f"{value!r} is not a {self.name} such as {self._example} ({units})", param, ctx
            )
        number = int(match[1]) * self._units[match[2]]
        if value != self._least and number < self.convert(self._least, param, ctx):
            self.fail(f"{value} is less than {self._least}", param, ctx)
        return number


DURATION: Final = _WithUnit("duration", _UNITS_OF_TIME, "5m", least="1s")
SIZE: Final = _WithUnit("size", _UNITS_OF_SIZE, "64MB", least="4MB")
"""At least some requests of the largest size."""


def default_spool() -> Path:
    """Return the folder for state that the XDG Base Directory Specification gives to a user."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():  # the specification ignores such a value
        state = Path.home() / ".local" / "state"
    return state / "miningmap" / "spool"


# --- push --live ----------------------------------------------------------------------------------


def push_live(
    file: Path, url: str, token: Callable[[], str], *, folder: Path | None, max_bytes: int
) -> None:
    """Forward the rows of a file, a pipe or standard input until its end or a signal.

    Args:
        file: the input; ``-`` for standard input.
        url: of the intake, with the path for live rows.
        token: returns the token; called for each request.
        folder: of the spool; by default that of the user.
        max_bytes: the limit of the spool.

    Raises:
        CommandError: the spool or the input cannot be used, a line or a row was refused, or rows
            wait for the next start.
    """
    from miningmap.partner.http import intake_client
    from miningmap.partner.live.forward import Forwarder
    from miningmap.partner.live.lines import InputError
    from miningmap.partner.live.spool import Spool
    from miningmap.spool import SpoolError

    say = _speaker("push")
    folder = folder or default_spool()
    with command_errors(SpoolError, InputError), closing(Spool(folder, max_bytes)) as spool:
        if spool.set_aside:
            say(f"spool {folder}: damaged; it is now {spool.set_aside}, and a new one is used")
        if len(spool):
            say(f"spool {folder}: {counted(len(spool), 'row')} from an earlier run, sent first")
        client = intake_client()
        forwarder = Forwarder(spool, _poster(client, url, token), say)
        stopped = _run_until_signal(_forward(file, client, forwarder))
        _conclude(say, forwarder, len(spool), stopped=stopped)


async def _forward(file: Path, client: httpx.AsyncClient, forwarder: Forwarder) -> None:
    from miningmap.partner.live.forward import MAX_ROW
    from miningmap.partner.live.lines import read_lines

    def descriptor() -> int:
        return 0 if file == STANDARD_INPUT else os.open(file, os.O_RDONLY)

    async with client:
        await forwarder.run(read_lines(descriptor, MAX_ROW))


def _poster(client: httpx.AsyncClient, url: str, token: Callable[[], str]) -> Post:
    import msgspec

    from miningmap.partner.http import send_reports

    async def post(rows: Sequence[bytes]) -> None:
        raw = [cast("LiveRow", msgspec.Raw(row)) for row in rows]
        await send_reports(client, url, token(), raw)

    return post


def _run_until_signal(work: Coroutine[object, object, None]) -> bool:
    """Run until the end, or until SIGTERM or Ctrl-C, and return whether one of these came."""
    stopped = False

    async def run() -> None:
        nonlocal stopped
        task = asyncio.ensure_future(work)

        def stop() -> None:
            nonlocal stopped
            stopped = True
            task.cancel()

        for stop_signal in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(stop_signal, stop)
        try:
            await task
        except asyncio.CancelledError:
            if not stopped:
                raise

    asyncio.run(run())
    return stopped


def _conclude(
    say: Callable[[str], None], forwarder: Forwarder, waiting: int, *, stopped: bool
) -> None:
    """Print what became of the rows.

    Raises:
        CommandError: the input has ended, and not all of its rows were accepted.
    """
    counts = forwarder.counts
    numbers = (
        (counts.skipped, "line", "skipped"),
        (counts.refused, "row", "refused"),
        (counts.dropped, "row", "dropped"),
        (waiting, "row", "left in the spool, to be sent at the next start"),
    )
    parts = [f"{counted(number, noun)} {what}" for number, noun, what in numbers if number]
    text = ", ".join([f"{counted(counts.accepted, 'row')} accepted", *parts])
    if parts and not stopped:
        raise CommandError(f"{text}: {forwarder.failure}" if forwarder.failure else text)
    say(text)


# --- aggregate --every ----------------------------------------------------------------------------


def source_of(text: str) -> Source:
    """Return where the list of miners is read from.

    Args:
        text: a path, ``unix:PATH`` or ``tcp:HOST:PORT``.

    Raises:
        CommandUsageError: an address is malformed.
    """
    from miningmap.partner.live.snapshots import MinersFile, TcpSocket, UnixSocket

    if text.startswith("unix:"):
        return UnixSocket(text.removeprefix("unix:"))
    if not text.startswith("tcp:"):
        return MinersFile(Path(text))
    match = _PORT.fullmatch(text)
    if match is None or int(match["port"]) > _LARGEST_PORT:
        raise CommandUsageError(f"{text}: expected an address such as tcp:127.0.0.1:4028")
    return TcpSocket(match["v6"] or match["host"], int(match["port"]))


def aggregate_live(
    source: Source,
    path: Path | None,
    unit: str,
    *,
    least: int,
    every_s: int,
    max_age_s: int,
    summary: Callable[[Aggregate, Places], Iterable[str]],
) -> None:
    """Write a live row for each interval to standard output, until a signal or a closed pipe.

    Args:
        source: of the list of miners.
        path: of the database of addresses.
        unit: of hashrates without a unit.
        least: places with fewer miners are merged.
        every_s: the length of an interval, in seconds.
        max_age_s: a list that has not changed for longer is not repeated.
        summary: returns what is printed about the first list.

    Raises:
        CommandUsageError: an option is wrong, or the database is unusable at the start.
    """
    from miningmap.partner.live.watch import LiveAggregator, watch

    if every_s % MINUTE_S or every_s >= HOUR_S:
        raise CommandUsageError("--every: expected whole minutes, less than an hour")
    # Not by the event loop, which would see no signal while a reader lets a write wait.
    for stop_signal in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop_signal, _exit)
    say = _speaker("aggregate")
    with _database(path) as database:
        locate = _locate_in(database) if database else None
        aggregator = LiveAggregator(source, locate, unit, least=least, max_age_s=max_age_s, say=say)
        read = _Reader(aggregator, database, say, summary).read
        asyncio.run(watch(read, _write, every_s))


class _Reader:
    """Reads lists with the current database, and prints a summary of the first one."""

    def __init__(
        self,
        aggregator: LiveAggregator,
        database: CurrentDatabase | None,
        say: Callable[[str], None],
        summary: Callable[[Aggregate, Places], Iterable[str]],
    ) -> None:
        from miningmap.partner.live.troubles import Trouble

        self._aggregator = aggregator
        self._database = database
        self._say = say
        self._summary = summary
        self._trouble = Trouble(say)
        self._is_first = True

    async def read(self) -> tuple[Aggregate, Places] | None:
        """Return all miners and the places that a row may name; ``None`` without a usable list."""
        if self._database:
            await self._refresh(self._database)
        found = await self._aggregator.read()
        if found and self._is_first:
            self._is_first = False
            for line in self._summary(*found):
                self._say(line)
        return found

    async def _refresh(self, database: CurrentDatabase) -> None:
        from miningmap.partner.database import DatabaseError

        try:
            is_new = await asyncio.to_thread(database.refresh)
        except DatabaseError as error:
            self._trouble.begins("database", f"{error}; the last one stays in use")
            return
        self._trouble.is_over("the database can be read again")
        if is_new:
            self._say("the database has changed; the new one is used")


@contextmanager
def _database(path: Path | None) -> Iterator[CurrentDatabase | None]:
    if path is None:
        yield None
        return
    from miningmap.partner.database import CurrentDatabase, DatabaseError

    with usage_errors(DatabaseError):
        database = CurrentDatabase(path)
    with closing(database):
        yield database


def _locate_in(database: CurrentDatabase) -> Locate:
    from miningmap.partner.csv import TableError
    from miningmap.partner.database import DatabaseError

    def locate(address: Address) -> Location | None:
        try:
            return database.locate(address)
        except DatabaseError as error:  # with it no list is usable, until it is replaced
            raise TableError([str(error)]) from None

    return locate


def _write(line: bytes) -> None:
    """Write to standard output without a buffer, which would be written again at the end."""
    left = memoryview(line)
    while left:
        left = left[os.write(sys.stdout.fileno(), left) :]


def _exit(*_signal: object) -> NoReturn:
    raise SystemExit(0)


def _speaker(command: str) -> Callable[[str], None]:
    """Return a function that prints lines of one command of a pipeline."""
    from miningmap.inputs import printable

    return lambda text: click.echo(f"{command}: {printable(text)}", err=True)
