"""Commands for partners: manage tokens at the intake, make and send rows at the pool."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import closing, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from launch.cli.common import (
    EXISTING,
    CommandError,
    Commands,
    CommandUsageError,
    http_url,
    listing,
    output_file,
    settings_of,
    usage_errors,
)
from launch.cli.partner_live import (
    DURATION,
    MAX_AGE_S,
    SIZE,
    STANDARD_INPUT,
    aggregate_live,
    push_live,
    source_of,
)
from launch.words import counted
from miningmap.cbeci.contribution import PATH, PERIODS
from miningmap.inputs import ENCODING, read_text
from miningmap.partner import PARTNER_TOKEN
from miningmap.private_files import ExposedFileError, require_private

if TYPE_CHECKING:
    from collections.abc import Callable

    from miningmap.partner.aggregate import Aggregate, Places
    from miningmap.partner.push import Table

FEW: Final = 3
"""Official statistics do not publish figures of fewer units than this."""

NAMES_SHOWN: Final = 10
"""How many subdivisions are named that are not understood."""
LONGEST_NAME: Final = 64

FILE: Final = click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of partners; by default MININGMAP_INTAKE__PARTNERS_FILE.",
)


@click.group(cls=Commands)
def partner() -> None:
    """Manage partners' tokens (add, list, revoke); create and send rows (aggregate, push)."""


# --- at the intake --------------------------------------------------------------------------------


@partner.command()
@click.argument("name")
@click.option("--pool", required=True, metavar="SLUG", help="The pool that the rows are about.")
@click.option("--new-pool", is_flag=True, help="The pool is not in the list of `miningmap pools`.")
@FILE
@click.pass_context
def add(
    context: click.Context, /, name: str, *, pool: str, new_pool: bool, file: Path | None
) -> None:
    """Create a token for the partner NAME and print it; it cannot be shown again.

    NAME is a pseudonym, the only name of the partner in logs and metrics, so choose one that does
    not reveal who the partner is. A known NAME gets an additional token: give it to the partner,
    then revoke the old one. A running collector accepts the token immediately.

    SLUG is a pool and not a source: foundryusa, not foundry. `miningmap pools` lists all.
    """
    from collector.catalogue import UnknownPoolError, check_pool
    from collector.intake.partners import PartnersError
    from collector.intake.tokens import add as add_token
    from collector.intake.tokens import listed
    from miningmap.pool_names import pool_slug

    path = _file(context, file)
    if pool_slug(pool) is None:
        raise CommandUsageError(f"--pool: {pool!r} names no pool; give the slug of one pool")
    with usage_errors(PartnersError):
        if not new_pool:
            try:
                check_pool(pool, listed(path) if path.exists() else [])
            except UnknownPoolError as error:
                raise CommandUsageError(
                    f"--pool: {error}; `miningmap pools` lists all, and --new-pool adds another"
                ) from None
        token, entry = add_token(path, name, pool)
    click.echo(token)
    click.echo(
        f"token {entry.token_id} of {name} for {pool}; only its hash is kept, so it cannot be "
        "shown again",
        err=True,
    )


@partner.command("list")
@FILE
@click.pass_context
def list_(context: click.Context, /, file: Path | None) -> None:
    """List partners, their pools and the ids of their tokens, one token a line."""
    from collector.intake.partners import PartnersError
    from collector.intake.tokens import listed

    path = _file(context, file)
    with usage_errors(PartnersError):
        entries = listed(path)
    for entry in entries:
        click.echo(f"{entry.name}\t{entry.pool}\t{entry.token_id}")
    if not entries:
        missing = "" if path.exists() else f", because {path} does not exist"
        click.echo(f"there are no partners{missing}; add one with: miningmap partner add", err=True)


@partner.command()
@click.argument("name")
@click.option("--token-id", type=int, help="Revoke only this token of the partner.")
@FILE
@click.pass_context
def revoke(context: click.Context, /, name: str, token_id: int | None, file: Path | None) -> None:
    """Revoke the tokens of the partner NAME; the intake rejects them immediately.

    Rows that the partner has pushed are kept, and so are the ids of other tokens.
    """
    from collector.intake.partners import PartnersError
    from collector.intake.tokens import revoke as revoke_tokens

    with usage_errors(PartnersError):
        for entry in revoke_tokens(_file(context, file), name, token_id):
            click.echo(f"revoked token {entry.token_id} of {name} for {entry.pool}", err=True)


def _file(context: click.Context, given: Path | None) -> Path:
    file = given or settings_of(context).intake.partners_file
    if file is None:
        raise CommandUsageError(
            "no file of partners: give --file, or set MININGMAP_INTAKE__PARTNERS_FILE"
        )
    return file


# --- at the pool ----------------------------------------------------------------------------------


@partner.command()
@click.argument(
    "file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    required=False,
)
@click.option("--to", "address", metavar="URL", help="The intake, such as https://map.example.")
@click.option(
    "--token-file",
    type=EXISTING,
    help=f"The file that holds the token; by default the token is in {PARTNER_TOKEN}.",
)
@click.option("--dry-run", is_flag=True, help="Check the file and send nothing.")
@click.option("--plain-http", is_flag=True, help="Send the token unencrypted to another machine.")
@click.option("--live", is_flag=True, help="Forward live rows, as JSON lines, until their end.")
@click.option(
    "--spool",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where live rows are kept until they are accepted.  [default: "
    "$XDG_STATE_HOME/miningmap/spool]",
)
@click.option(
    "--spool-max",
    type=SIZE,
    default="64MB",
    show_default=True,
    metavar="SIZE",
    help="Drop the oldest live rows beyond this size.",
)
@click.pass_context
def push(
    context: click.Context,
    /,
    file: Path | None,
    *,
    address: str | None,
    token_file: Path | None,
    dry_run: bool,
    plain_http: bool,
    live: bool,
    spool: Path | None,
    spool_max: int,
) -> None:
    """Send the rows in FILE to an intake.

    FILE is CSV with the columns period_start_date, period, country, province, average_hashrate and
    unit. The whole file is checked first, by the rules of the intake: if a row is invalid, nothing
    is sent. A row replaces an earlier one of the same place and period.

    With --live, FILE (or standard input) has live rows as JSON lines, such as `aggregate --every`
    writes. Each is kept on the disk until the intake has accepted it: rows wait while the intake is
    away, and are sent in order when it is back. An invalid line is named and skipped.
    """
    if live:
        from miningmap.live_rows import PATH as LIVE_PATH

        if dry_run:
            raise CommandUsageError("--dry-run: not with --live")
        push_live(
            file or STANDARD_INPUT,
            _url(address, LIVE_PATH, plain_http=plain_http),
            _current_token(token_file),
            folder=spool,
            max_bytes=spool_max,
        )
        return
    if spool:
        raise CommandUsageError("--spool: only with --live")
    if file is None or file == STANDARD_INPUT:
        raise _missing(context, "file")
    _push_table(file, address, token_file, dry_run=dry_run, plain_http=plain_http)


def _push_table(
    file: Path, address: str | None, token_file: Path | None, *, dry_run: bool, plain_http: bool
) -> None:
    """Check a table, and send it unless this is a dry run."""
    from miningmap.partner.csv import TableError
    from miningmap.partner.http import ContributeError
    from miningmap.partner.push import push as push_rows

    table = _table(file)
    content = (
        f"{counted(len(table.rows), 'row')} of {counted(len(table.periods), 'period')} in "
        f"{counted(len(table.requests()), 'request')}"
    )
    if dry_run:
        click.echo(f"{file}: {content}; nothing was sent", err=True)
        return
    url, token = _url(address, PATH, plain_http=plain_http), _token(token_file)
    accepted = 0
    try:
        with click.progressbar(length=len(table.rows), label="pushing", file=sys.stderr) as bar:

            def count(rows: int) -> None:
                nonlocal accepted
                accepted += rows
                bar.update(rows)

            def report_wait(text: str) -> None:
                click.echo(f"\n{text}", err=True)

            asyncio.run(push_rows(table, url, token, accepted=count, waiting=report_wait))
    except TableError as error:
        raise CommandError(f"{file}: {listing(error.errors, _outcome(accepted, table))}") from None
    except ContributeError as error:
        raise CommandError(f"{error}; {_outcome(accepted, table)}") from None
    click.echo(f"{content}: all accepted", err=True)


def _table(file: Path) -> Table:
    from miningmap.partner.csv import TableError
    from miningmap.partner.push import Table
    from miningmap.times import utc_now

    try:
        with file.open(encoding=ENCODING, newline="") as opened:
            return Table(opened, utc_now())
    except TableError as error:
        raise CommandUsageError(f"{file}: {listing(error.errors, 'nothing was sent')}") from None


def _outcome(accepted: int, table: Table) -> str:
    if not accepted:
        return "no row was accepted"
    return f"{accepted} of {len(table.rows)} rows were accepted; it is safe to send all again"


def _missing(context: click.Context, name: str) -> click.MissingParameter:
    """Return the error of a parameter that only this way to call the command needs."""
    parameter = _parameter(context, name)
    hint = parameter.get_error_hint(context).replace("[", "").replace("]", "")  # not optional here
    return click.MissingParameter(ctx=context, param=parameter, param_hint=hint)


def _parameter(context: click.Context, name: str) -> click.Parameter:
    return next(found for found in context.command.params if found.name == name)


def _url(address: str | None, api: str, *, plain_http: bool) -> str:
    """Return the URL of an intake, complete with the path of one of its APIs."""
    if address is None:
        raise CommandUsageError("--to: give the address of the intake, or use --dry-run")
    url = http_url("--to", address)
    if url.userinfo:
        raise CommandUsageError(
            "--to: a user or password in the URL is not sent; give the token by --token-file"
        )
    if url.scheme == "http" and not _is_loopback(url.host) and not plain_http:
        raise CommandUsageError(
            "--to: the token could be read on its way; use https, or --plain-http in your own "
            "network"
        )
    path = url.path.rstrip("/")
    return str(
        url.copy_with(path=path if path.endswith(api) else path + api, query=None, fragment=None)
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _current_token(file: Path | None) -> Callable[[], str]:
    """Return a function that returns the token, and reads a file again, which may have a new one.

    Raises:
        CommandUsageError: there is no token now; later the last one is returned then.
    """
    last = _token(file)

    def current() -> str:
        nonlocal last
        if file is not None and file.is_file():  # a pipe can be read only once
            with suppress(CommandUsageError):
                last = _token(file)
        return last

    return current


def _token(file: Path | None) -> str:
    origin = f"--token-file {file}" if file else PARTNER_TOKEN
    try:
        if file:
            require_private(file)
        text = read_text(file) if file else os.environ.get(PARTNER_TOKEN, "")
    except ExposedFileError as error:
        raise CommandUsageError(f"--token-file: {error}") from None
    except UnicodeDecodeError:
        text = "not a token"
    except OSError as error:
        raise CommandUsageError(f"{origin}: {error.strerror}") from None
    token = text.strip()
    if not token:
        raise CommandUsageError(f"no token: give --token-file, or set {PARTNER_TOKEN}")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise CommandUsageError(f"{origin}: expected a token, which is one word")
    return token


@partner.command()
@click.argument("file")
@click.option("--database", type=EXISTING, help="Database of addresses, in MaxMind's format.")
@click.option(
    "--date",
    metavar="DATE",
    help="First day (UTC), such as 2026-11-21; if the period is an hour, such as 2026-11-21T05.",
)
@click.option("--period", type=click.Choice(PERIODS), help="Starts on --date.")
@click.option("--unit", default="H/s", show_default=True, help="Unit of hashrates that have none.")
@click.option(
    "--min-miners",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Merge places with fewer miners.",
)
@click.option(
    "-o",
    "--output",
    default="-",
    metavar="FILE",
    help="Write to FILE instead of standard output (-).",
)
@click.option(
    "--every",
    type=DURATION,
    metavar="DURATION",
    help="Run on, and write a live row for each interval, such as 1m.",
)
@click.option(
    "--max-age",
    type=DURATION,
    metavar="DURATION",
    help="With --every: do not repeat a FILE that has not changed for longer.  [default: 5m, or "
    "--every if that is longer]",
)
@click.pass_context
def aggregate(
    context: click.Context,
    /,
    file: str,
    *,
    database: Path | None,
    date: str | None,
    period: str | None,
    unit: str,
    min_miners: int,
    output: str,
    every: int | None,
    max_age: int | None,
) -> None:
    """Turn a list of miners into rows for `push`, on a machine of the pool.

    FILE is CSV with the columns hashrate, and ip or place (a country, or a code such as US-TX), or
    JSON lines with these fields. The output and errors contain no address; errors name lines.

    Miners that the database cannot locate are left out, and their number is printed. They do not
    count as OTHER, which is for miners that are known to be in another country. Miners whose
    subdivision is not understood count in their country, and are printed with what it is called.

    With --every the list is read again for each interval and becomes a live row for `push --live`,
    on standard output. Its hashrate is that of all miners, located or not. FILE may then also be
    unix:PATH or tcp:HOST:PORT, a socket that writes the list to everybody who connects.
    """
    if every is None:
        if date is None:
            raise _missing(context, "date")
        if period is None:
            raise _missing(context, "period")
        path = _existing(context, file)
        _aggregate_period(path, database, date, period, unit, min_miners=min_miners, output=output)
        return
    if date or period or output != "-":
        raise CommandUsageError("--date, --period, --output: not with --every")
    _check_unit(unit)
    aggregate_live(
        source_of(file),
        database,
        unit,
        least=min_miners,
        every_s=every,
        max_age_s=max(every, MAX_AGE_S) if max_age is None else max_age,
        summary=lambda found, folded: _summary(found, folded, min_miners, is_live=True),
    )


def _existing(context: click.Context, file: str) -> Path:
    EXISTING.convert(file, _parameter(context, "file"), context)
    return Path(file)


def _aggregate_period(
    file: Path,
    database: Path | None,
    date: str,
    period: str,
    unit: str,
    *,
    min_miners: int,
    output: str,
) -> None:
    """Write the rows of one period."""
    from miningmap.partner.aggregate import fold, rows_of
    from miningmap.partner.csv import write_rows

    start_date = _start_date(date, period)
    found = _aggregate(file, database, unit)
    if not found.located:
        raise CommandError(f"{file}: no miner could be located; nothing was written")
    folded = fold(found.located, min_miners)
    if not folded:
        raise CommandError(
            f"{file}: fewer than {min_miners} miners are located; nothing was written"
        )
    table = write_rows(rows_of(folded, start_date, period))
    with output_file(output, file) as out:
        out.write(table.encode())
    for line in _summary(found, folded, min_miners, is_live=False):
        click.echo(line, err=True)


def _start_date(date: str, period: str) -> str:
    from miningmap.cbeci.contribution_rows import Period, parse_start

    try:
        return Period(parse_start(date, period), period).start_date
    except ValueError as error:
        raise CommandUsageError(f"--date: {error}") from None


def _aggregate(file: Path, path: Path | None, unit: str) -> Aggregate:
    from miningmap.partner.aggregate import aggregate as sum_by_place
    from miningmap.partner.csv import TableError

    _check_unit(unit)
    try:
        with file.open(encoding=ENCODING, newline="") as opened:
            if path is None:
                return sum_by_place(opened, None, unit)
            from miningmap.partner.database import Database, DatabaseError

            with usage_errors(DatabaseError), closing(Database(path)) as database:
                return sum_by_place(opened, database.locate, unit)
    except TableError as error:
        raise CommandUsageError(f"{file}: {listing(error.errors, 'nothing was written')}") from None


def _check_unit(unit: str) -> None:
    from miningmap.units import HashrateError, scale

    with usage_errors(HashrateError):
        scale(unit)


def _summary(found: Aggregate, folded: Places, least: int, *, is_live: bool) -> list[str]:
    from miningmap.units import format_hashrate

    located = sum(tally.hashrate for tally in found.located.values())
    miners = sum(len(tally.miners) for tally in found.located.values())
    places = counted(len(folded), "place")
    lines = [f"{counted(miners, 'miner')} with {format_hashrate(located)} in {places}"]
    unlocated = found.unlocated
    if unlocated.rows:
        what = "only in the total" if is_live else "left out"
        lines.append(
            f"not located and {what}: {counted(len(unlocated.miners), 'miner')} with "
            f"{format_hashrate(unlocated.hashrate)}"
        )
    if found.not_understood:
        lines.append(_not_understood(found.not_understood))
    few = sum(len(tally.miners) < FEW for tally in found.located.values())
    if few and least == 1:
        lines.append(
            f"{counted(few, 'place')} with fewer than {FEW} miners: --min-miners {FEW} would merge "
            "them"
        )
    return lines


def _not_understood(subdivisions: Places) -> str:
    """Name the subdivisions that are not understood, those with the most hashrate first."""
    from miningmap.units import format_hashrate

    total = sum(tally.hashrate for tally in subdivisions.values())
    miners = len({miner for tally in subdivisions.values() for miner in tally.miners})
    names = sorted(subdivisions, key=lambda name: (-subdivisions[name].hashrate, name))
    shown = [name[:LONGEST_NAME] for name in names[:NAMES_SHOWN]]
    more = len(names) - NAMES_SHOWN
    listed = ", ".join([*shown, *([f"and {more} more"] if more > 0 else [])])
    have = "has" if miners == 1 else "have"
    return (
        f"{counted(miners, 'miner')} with {format_hashrate(total)} {have} a subdivision that is "
        f"not understood ({listed}); only the country counts"
    )


COMMANDS = (partner,)
