"""Partners that say where their miners are: their tokens here, their rows at the pool."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import closing
from datetime import datetime  # noqa: TC003 - click gives one
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from launch.cli.common import EXISTING, Failure, Misuse, listing, misuse, settings_of, written
from miningmap.cbeci.contribution import PARTNER_TOKEN, PATH, PERIODS

if TYPE_CHECKING:
    from miningmap.partner.aggregate import Aggregate, Places
    from miningmap.partner.push import Table

FEW: Final = 3
"""Fewer miners than this at one place, and official statistics would not tell of it."""

FILE: Final = click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Of partners; by default that of MININGMAP_INTAKE__PARTNERS_FILE.",
)


@click.group()
def partner() -> None:
    """Let pools push where their miners are (add, list, revoke), and push (aggregate, push)."""


# --- at the intake --------------------------------------------------------------------------------


@partner.command()
@click.argument("name")
@click.option("--pool", required=True, metavar="SLUG", help="That the rows are about.")
@FILE
@click.pass_context
def add(context: click.Context, /, name: str, pool: str, file: Path | None) -> None:
    """Give the partner NAME a token, and print it: this once.

    NAME is a pseudonym. It is what logs and metrics call the partner, so choose one that tells
    nobody who that is. The same NAME again gets one more token: hand it over, then revoke the old
    one. A running collector knows the token at once.
    """
    from collector.intake.partners import PartnersError
    from collector.intake.tokens import add as add_token

    with misuse(PartnersError):
        token, made = add_token(_file(context, file), name, pool)
    click.echo(token)
    click.echo(
        f"token {made.token_id} of {name} for {pool}; only its hash is kept: it is not shown again",
        err=True,
    )


@partner.command("list")
@FILE
@click.pass_context
def list_(context: click.Context, /, file: Path | None) -> None:
    """List partners, their pools and the numbers of their tokens, one token a line."""
    from collector.intake.partners import PartnersError
    from collector.intake.tokens import listed

    with misuse(PartnersError):
        found = listed(_file(context, file))
    for one in found:
        click.echo(f"{one.name}\t{one.pool}\t{one.token_id}")
    if not found:
        click.echo("there are no partners: miningmap partner add", err=True)


@partner.command()
@click.argument("name")
@click.option("--token-id", type=int, help="Only this one of the partner's tokens.")
@FILE
@click.pass_context
def revoke(context: click.Context, /, name: str, token_id: int | None, file: Path | None) -> None:
    """Take the tokens of the partner NAME back; they are worth nothing from then on.

    What the partner has pushed stays. Other tokens keep their numbers.
    """
    from collector.intake.partners import PartnersError
    from collector.intake.tokens import revoke as revoke_tokens

    with misuse(PartnersError):
        for gone in revoke_tokens(_file(context, file), name, token_id):
            click.echo(f"revoked token {gone.token_id} of {name} for {gone.pool}", err=True)


def _file(context: click.Context, given: Path | None) -> Path:
    file = given or settings_of(context).intake.partners_file
    if file is None:
        raise Misuse("no file of partners: give --file, or set MININGMAP_INTAKE__PARTNERS_FILE")
    return file


# --- at the pool ----------------------------------------------------------------------------------


@partner.command()
@click.argument("file", type=EXISTING)
@click.option("--to", "address", metavar="URL", help="The intake, such as https://map.example.")
@click.option(
    "--token-file", type=EXISTING, help=f"That holds the token; else {PARTNER_TOKEN} is it."
)
@click.option("--dry-run", is_flag=True, help="Only check the file, here.")
@click.option("--plain-http", is_flag=True, help="Send the token unencrypted to another machine.")
def push(
    file: Path, *, address: str | None, token_file: Path | None, dry_run: bool, plain_http: bool
) -> None:
    """Send the rows in FILE to an intake.

    FILE is CSV with the columns period_start_date, period, country, province, average_hashrate and
    unit. All of it is checked first, as the intake does: with one bad row nothing is sent. A row
    that is sent again replaces the one before of the same place and period.
    """
    from miningmap.partner.csv import TableError
    from miningmap.partner.http import ContributeError
    from miningmap.partner.push import push as push_rows

    table = _table(file)
    said = (
        f"{_many(len(table.rows), 'row')} of {_many(len(table.periods), 'period')} in "
        f"{_many(len(table.requests()), 'request')}"
    )
    if dry_run:
        click.echo(f"{file}: {said}; nothing was sent", err=True)
        return
    url, token = _url(address, plain_http=plain_http), _token(token_file)
    done = 0
    try:
        with click.progressbar(length=len(table.rows), label="pushing", file=sys.stderr) as bar:

            def sent(rows: int) -> None:
                nonlocal done
                done += rows
                bar.update(rows)

            def waiting(why: str) -> None:
                click.echo(f"\n{why}", err=True)

            asyncio.run(push_rows(table, url, token, sent=sent, waiting=waiting))
    except TableError as error:
        raise Failure(f"{file}: {listing(error.errors, _outcome(done, table))}") from None
    except ContributeError as error:
        raise Failure(f"{error}; {_outcome(done, table)}") from None
    click.echo(f"{said}: all taken", err=True)


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _table(file: Path) -> Table:
    from miningmap.partner.csv import TableError
    from miningmap.partner.push import Table
    from miningmap.times import utc_now

    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            return Table(opened, utc_now())
    except TableError as error:
        raise Misuse(f"{file}: {listing(error.errors, 'nothing was sent')}") from None


def _outcome(done: int, table: Table) -> str:
    if not done:
        return "no row was taken"
    return f"{done} of {len(table.rows)} rows were taken; sending all again does no harm"


def _url(address: str | None, *, plain_http: bool) -> str:
    from yarl import URL

    if address is None:
        raise Misuse("--to: the address of the intake is wanted, or --dry-run")
    try:
        url = URL(address)
        host = url.host
    except ValueError:
        host = None
    if host is None or url.scheme not in {"http", "https"}:
        raise Misuse("--to: a URL such as https://map.example is wanted")
    if url.scheme == "http" and not _is_here(host) and not plain_http:
        raise Misuse(
            "--to: others could read the token on its way; use https, or --plain-http in a network "
            "of your own"
        )
    path = url.path.rstrip("/")
    return str(url.with_path(path if path.endswith(PATH) else path + PATH))


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(file: Path | None) -> str:
    name = f"--token-file {file}" if file else PARTNER_TOKEN
    try:
        text = file.read_text(encoding="ascii") if file else os.environ.get(PARTNER_TOKEN, "")
    except UnicodeDecodeError:
        text = "not a token"
    except OSError as error:
        raise Misuse(f"{name}: {error.strerror}") from None
    token = text.strip()
    if not token:
        raise Misuse(f"no token: give --token-file, or set {PARTNER_TOKEN}")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise Misuse(f"{name}: a token is one word")
    return token


@partner.command()
@click.argument("file", type=EXISTING)
@click.option("--database", type=EXISTING, help="Places of addresses, in MaxMind's format (.mmdb).")
@click.option("--date", required=True, type=click.DateTime(["%Y-%m-%d"]), help="First day, UTC.")
@click.option("--period", required=True, type=click.Choice(PERIODS), help="That begins on it.")
@click.option("--unit", default="H/s", show_default=True, help="Of hashrates that name none.")
@click.option(
    "--min-miners",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Put places with fewer miners together.",
)
@click.option("-o", "--output", default="-", metavar="FILE", help="Instead of standard output (-).")
def aggregate(
    file: Path,
    *,
    database: Path | None,
    date: datetime,
    period: str,
    unit: str,
    min_miners: int,
    output: str,
) -> None:
    """Turn a list of miners into rows for `push`, on a machine of the pool.

    FILE is CSV with the columns hashrate, and ip or place (a country, or a code such as US-TX). No
    address is in what this writes or says; errors name lines.

    Miners that the database does not know are left out and counted: rows have no place for what is
    not located, and OTHER is for what is known to be elsewhere.
    """
    from miningmap.partner.aggregate import fold, rows_of
    from miningmap.partner.csv import write_rows

    found = _aggregate(file, database, unit)
    if not found.located:
        raise Failure(f"{file}: no miner could be located; nothing was written")
    folded = fold(found.located, min_miners)
    if not folded:
        raise Failure(f"{file}: fewer than {min_miners} miners are located; nothing was written")
    table = write_rows(rows_of(folded, f"{date:%Y-%m-%d}", period))
    with written(output) as out:
        out.write(table.encode())
    for line in _told(found, folded, min_miners):
        click.echo(line, err=True)


def _aggregate(file: Path, database: Path | None, unit: str) -> Aggregate:
    from miningmap.partner.aggregate import DatabaseError, Locator
    from miningmap.partner.aggregate import aggregate as add_up
    from miningmap.partner.csv import TableError
    from miningmap.units import HashrateError, scale

    with misuse(HashrateError):
        scale(unit)
    try:
        with misuse(DatabaseError), file.open(encoding="utf-8-sig", newline="") as opened:
            if database is None:
                return add_up(opened, None, unit)
            with closing(Locator(database)) as locator:
                return add_up(opened, locator, unit)
    except TableError as error:
        raise Misuse(f"{file}: {listing(error.errors, 'nothing was written')}") from None


def _told(found: Aggregate, folded: Places, least: int) -> list[str]:
    from miningmap.units import format_hashrate

    located = sum(tally.hashrate for tally in found.located.values())
    miners = sum(len(tally.miners) for tally in found.located.values())
    told = [
        f"{_many(miners, 'miner')} with {format_hashrate(located)} in {_many(len(folded), 'place')}"
    ]
    lost = found.unlocated
    if lost.rows:
        told.append(
            f"not located and left out: {_many(len(lost.miners), 'miner')} with "
            f"{format_hashrate(lost.hashrate)}"
        )
    few = sum(len(tally.miners) < max(FEW, least) for tally in found.located.values())
    if few and least == 1:
        told.append(
            f"{few} places have fewer than {FEW} miners: --min-miners {FEW} would put them together"
        )
    return told


COMMANDS = (partner,)
