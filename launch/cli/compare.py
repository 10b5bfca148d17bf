"""Published figures beside the map's, from a file of messages or from a running map."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import click

from launch.cli.common import EXISTING, CommandError, CommandUsageError, http_url, listing
from launch.cli.recompute import ADJUST, BELIEFS, PRIOR, beliefs_of, cells_of, query_of
from launch.words import counted
from miningmap.inputs import ENCODING, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from miningmap.api.models import Answer
    from streams.method.beliefs import Beliefs
    from streams.method.cells import MemoryCells
    from streams.queries.compare import Comparison
    from streams.queries.figures import Figure

UNKNOWN: Final = "unknown"


@click.command()
@click.argument("file", type=EXISTING)
@click.option("--messages", type=EXISTING, help="Answer from this file of messages, offline.")
@click.option("--url", help="Ask the map at this address, such as http://127.0.0.1:8080.")
@click.option("--as-of", help="A time such as 2026-11-22T15:00:00Z; by default now.")
@ADJUST
@PRIOR
@BELIEFS
@click.option(
    "--coverage",
    help="The part of the network that the pools in the messages are, such as 0.37; used for "
    "windows without the network's hashrate.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything about each figure as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the same as CSV.")
@click.pass_context
def compare(
    context: click.Context,
    /,
    file: Path,
    *,
    messages: Path | None,
    url: str | None,
    as_of: str | None,
    only: Path | None,
    coverage: str | None,
    as_json: bool,
    as_csv: bool,
    **parameters: str,
) -> None:
    """Compare the published figures in FILE with what the map knows, and say what is excluded.

    FILE is CSV with the columns code (a place), window (as of /api/v1/shares) and source, and with
    share, share_low and share_high, or hashrate; optional columns are of (world or country) and
    note:

    \b
        code,window,share,source
        CN-SC,2019-12,54%,"CoinShares, December 2019"

    Each figure gets a verdict: inside or outside of the bounds that hold whatever is assumed about
    unmeasured hashrate, partly inside if it is a range, or "cannot say" if the bounds are unknown
    or exclude nothing. docs/compare.md has the details.

    The exit code is 0 whatever the verdicts are.
    """  # noqa: D301 - \b keeps click from filling the lines of the example
    if (messages is None) == (url is None):
        raise CommandUsageError("give either --messages or --url")
    if as_json and as_csv:
        raise CommandUsageError("give either --json or --csv, or neither")
    figures = _figures(file)
    if url is not None:
        for option, given in (("--beliefs", only), ("--coverage", coverage)):
            if given is not None:
                raise CommandUsageError(f"{option}: a running map uses its own; give --messages")
        compared = _compared_by_map(figures, url, parameters, as_of)
    else:
        assert messages is not None  # noqa: S101 - for mypy
        stated = None if coverage is None else _coverage(coverage)
        texts = parameters | {"as_of": _now() if as_of is None else as_of}
        loaded = beliefs_of(context, only, query_of(texts).prior)
        compared = _compared_offline(figures, cells_of(messages), texts, loaded, stated)
    _print(compared, as_json=as_json, as_csv=as_csv)
    _summarize(compared, can_state=messages is not None and coverage is None)


def _figures(file: Path) -> list[Figure]:
    from miningmap.partner.csv import TableError
    from streams.queries.figures import read_figures

    try:
        with file.open(encoding=ENCODING, newline="") as opened:
            return read_figures(opened)
    except TableError as error:
        errors = [f"{file}: {text}" for text in error.errors]
        raise CommandUsageError(listing(errors, "nothing was compared")) from None


def _coverage(text: str) -> float:
    from streams.queries.figures import parse_share

    try:
        if coverage := parse_share(text):
            return coverage
        raise ValueError("must be above 0")
    except ValueError as error:
        raise CommandUsageError(f"--coverage: {error}") from None


def _now() -> str:
    from miningmap.times import rfc3339, utc_now

    return rfc3339(utc_now())


# --- answers --------------------------------------------------------------------------------------


def _compared_offline(
    figures: Sequence[Figure],
    cells: MemoryCells,
    texts: Mapping[str, str],
    loaded: Beliefs,
    coverage: float | None,
) -> list[Comparison]:
    from streams.queries.compare import compare as compare_with
    from streams.queries.shares import answer_from

    def ask(window: str, country: str | None) -> Answer:
        level = {} if country is None else {"level": "subdivision", "country": country}
        query = query_of({**texts, "window": window, **level})
        return answer_from(cells, query, loaded, coverage)

    return compare_with(figures, ask)


def _compared_by_map(
    figures: Sequence[Figure], url: str, parameters: Mapping[str, str], as_of: str | None
) -> list[Comparison]:
    import httpx
    import msgspec

    from miningmap.client import ApiError, Client
    from streams.queries.compare import compare as compare_with

    query = query_of({**parameters, "as_of": _now() if as_of is None else as_of})
    base = http_url("--url", url)
    address = base.copy_with(userinfo=b"")  # errors quote no password
    try:
        with Client(str(base)) as mining:
            # All answers are about one moment, that of the map's clock unless one is given.
            at = mining.shares("now").as_of if as_of is None else query.as_of

            def ask(window: str, country: str | None) -> Answer:
                if country is None:
                    return mining.shares(window, adjust=query.adjust, prior=query.prior, as_of=at)
                return mining.shares(
                    window, country=country, adjust=query.adjust, prior=query.prior, as_of=at
                )

            return compare_with(figures, ask)
    except ApiError as error:
        if error.problem.status == httpx.codes.BAD_REQUEST:
            raise CommandUsageError(f"{address}: {error}") from None
        raise CommandError(f"{address}: {error}") from None
    except (httpx.HTTPError, msgspec.DecodeError) as error:
        raise CommandError(f"{address}: {str(error) or type(error).__name__}") from None


# --- output ---------------------------------------------------------------------------------------


def _print(compared: Sequence[Comparison], *, as_json: bool, as_csv: bool) -> None:
    import msgspec

    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(compared)))
    elif as_csv:
        from endpoint.http.csv import to_csv
        from streams.queries.compare import Comparison

        rows = msgspec.to_builtins(compared)
        click.echo(to_csv(Comparison.__struct_encode_fields__, rows), nl=False)
    else:
        click.echo("\n\n".join(map(_text, compared)))


def _text(row: Comparison) -> str:
    """Return a comparison as three lines: the figure, the verdict, and what the map knows."""
    known = [
        f"this map: {_percent(row.share)}",
        f"bounds: {_range(row.low, row.high)}",
        f"declared bounds: {_range(row.declared_low, row.declared_high)} ({row.declared_verdict})",
        f"evidence: {_percent(row.evidence)}",
        f"coverage: {_percent(row.coverage)}{', as stated' if row.coverage_stated else ''}",
    ]
    if row.belief is not None:
        known.insert(3, f"belief: {_range(*row.belief)} ({row.belief_verdict})")
    place = f"{row.name} ({row.code})"
    lines = [
        f"line {row.line}: {place}, {row.window}: {_figure(row)} - {printable(row.source)}",
        f"  {row.verdict}: {row.reason}",
        f"  {'; '.join(known)}",
    ]
    if row.simulated:
        lines.append("  The data of this map is simulated.")
    return "\n".join(lines)


def _figure(row: Comparison) -> str:
    from miningmap.places import country_of, name_of
    from miningmap.units import format_hashrate

    if row.figure_hashrate is not None:
        return format_hashrate(row.figure_hashrate)
    whole = "the world" if row.of == "world" else name_of(country_of(row.code))
    return f"{_range(row.figure_low, row.figure_high)} of {whole}"


def _range(low: float | None, high: float | None) -> str:
    return " to ".join(dict.fromkeys((_percent(low), _percent(high))))


def _percent(ratio: float | None) -> str:
    from streams.queries.compare import percent

    return UNKNOWN if ratio is None else percent(ratio)


def _summarize(compared: Sequence[Comparison], *, can_state: bool) -> None:
    verdicts = Counter(row.verdict for row in compared)
    parts = ", ".join(f"{number} {verdict}" for verdict, number in verdicts.most_common())
    click.echo(f"{counted(len(compared), 'figure')}: {parts}", err=True)
    if can_state and any(row.coverage is None for row in compared):
        advice = "--coverage states which part of the network the pools are"
        click.echo(f"where the network's hashrate is unknown, {advice}", err=True)


COMMANDS = (compare,)
