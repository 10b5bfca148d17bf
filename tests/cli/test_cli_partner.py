"""``miningmap partner``: tokens in a file, and rows to a real intake with a real Redis."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from collector.intake.app import intake_app
from collector.intake.ledger import Ledger
from collector.intake.partners import Partners, PartnersFile
from collector.intake.rate_limit import Rate, RateLimiter
from collector.intake.tokens import add
from collector.metrics import Metrics
from miningmap import settings as config
from miningmap.cbeci.contribution import PATH
from miningmap.messages import Report
from miningmap.partner import push as pushing
from miningmap.plausibility import KnownFigures
from miningmap.redis_client import connect
from tests.partner.fixtures import ADDRESSES, write_database, write_dbip_database
from tests.streams.fixtures import network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from click.testing import Result

    from collector.outbox import ReportWithRows
    from miningmap.messages import Message
    from tests.cli.conftest import Run

SETTING = "MININGMAP_INTAKE__PARTNERS_FILE"
HEADER = "period_start_date,period,country,province,average_hashrate,unit\n"
TEXAS = "2026-09-01,monthly,United States,Texas,1.5,eh/s\n"
QUEBEC = "2026-09-01,monthly,Canada,Québec,300,ph/s\n"
NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)


@pytest.fixture
def partners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configured file of partners, which does not exist yet."""
    file = tmp_path / "partners.json"
    monkeypatch.setenv(SETTING, str(file))
    return file


# --- add, list, revoke ----------------------------------------------------------------------------


def test_a_token_is_printed_once_and_kept_as_a_hash(run: Run, partners: Path) -> None:
    result = run("partner", "add", "partner-1", "--pool", "foundryusa")
    assert result.exit_code == 0
    token = result.stdout.removesuffix("\n")
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert token not in result.stderr
    assert token not in partners.read_text()
    found = Partners.load(partners).authenticate(token)
    assert found is not None
    assert result.stderr == (
        f"token {found.token_id} of partner-1 for foundryusa; only its hash is kept, so it "
        "cannot be shown again\n"
    )
    assert stat.S_IMODE(partners.stat().st_mode) == 0o600


def test_tokens_are_listed_and_revoked_by_partner_or_by_id(run: Run, partners: Path) -> None:
    for name, pool in [("one", "foundryusa"), ("one", "foundryusa"), ("two", "viabtc")]:
        run("partner", "add", name, "--pool", pool)
    first, second, third = (line.split("\t") for line in run("partner", "list").stdout.splitlines())
    assert (first[:2], third[:2]) == (["one", "foundryusa"], ["two", "viabtc"])

    gone = run("partner", "revoke", "one", "--token-id", first[2])
    assert (gone.exit_code, gone.stdout) == (0, "")
    assert gone.stderr == f"revoked token {first[2]} of one for foundryusa\n"
    listed = run("partner", "list").stdout.splitlines()
    assert listed == ["\t".join(second), "\t".join(third)]

    assert run("partner", "revoke", "one").exit_code == 0
    assert run("partner", "list").stdout.splitlines() == ["\t".join(third)]
    assert partners.exists()


@pytest.mark.parametrize(
    ("pool", "near"),
    [
        ("foundry", "; near matches: foundryusa (Foundry USA)"),
        ("Foundry USA", "; near matches: foundryusa (Foundry USA)"),
        ("mempool", ""),
    ],
)
def test_a_pool_that_is_not_known_is_refused_with_near_matches(
    run: Run, partners: Path, pool: str, near: str
) -> None:
    result = run("partner", "add", "partner-1", "--pool", pool)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"miningmap: --pool: unknown pool {pool!r}{near}; `miningmap pools` lists all, and "
        "--new-pool adds another\n"
    )
    assert not partners.exists()


def test_a_new_pool_is_added_on_purpose_and_known_from_then_on(run: Run, partners: Path) -> None:
    assert run("partner", "add", "one", "--pool", "my-farm", "--new-pool").exit_code == 0
    assert run("partner", "add", "one", "--pool", "my-farm").exit_code == 0
    assert run("partner", "list").stdout.count("one\tmy-farm\t") == 2
    assert partners.exists()


@pytest.mark.parametrize("pool", ["unknown", "unknown-pool", "null", "other", "n-a"])
@pytest.mark.parametrize("new", [(), ("--new-pool",)])
def test_a_pool_that_stands_for_none_is_refused(
    run: Run, partners: Path, pool: str, new: tuple[str, ...]
) -> None:
    result = run("partner", "add", "one", "--pool", pool, *new)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"miningmap: --pool: {pool!r} names no pool; give the slug of one pool\n"
    )
    assert not partners.exists()


def test_another_file_can_be_named(run: Run, partners: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    run("partner", "add", "one", "--pool", "foundryusa", "--file", other)
    assert len(json.loads(other.read_text())) == 1
    assert not partners.exists()
    assert run("partner", "list", "--file", other).stdout.startswith("one\tfoundryusa\t")


def test_an_empty_list_names_the_command_add(run: Run, partners: Path) -> None:
    partners.write_text("[]")
    result = run("partner", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "miningmap partner add" in result.stderr
    revoked = run("partner", "revoke", "one")
    assert revoked.stderr == "miningmap: unknown partner one; there are no partners\n"


def test_without_the_file_there_are_no_partners(run: Run, partners: Path) -> None:
    listed = run("partner", "list")
    assert (listed.exit_code, listed.stdout) == (0, "")
    assert listed.stderr == (
        f"there are no partners, because {partners} does not exist; add one with: "
        "miningmap partner add\n"
    )
    revoked = run("partner", "revoke", "one")
    assert revoked.exit_code == 2
    assert revoked.stderr == "miningmap: unknown partner one; there are no partners\n"
    assert not partners.exists()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ["add", "Foundry Inc.", "--pool", "ocean"],
            "NAME and pool must be slugs: lower-case letters",
        ),
        (["add", "two", "--pool", "foundryusa"], "foundryusa is already served by one"),
        (["add", "one"], "Missing option '--pool'"),
        (["revoke", "two"], "unknown partner two; expected one of: one"),
        (["revoke", "one", "--token-id", "1"], "unknown token 1 of one; expected one of: "),
        (["list", "--file", "/dev/null"], "/dev/null: "),
    ],
)
def test_wrong_usage_is_one_line(run: Run, partners: Path, words: list[str], error: str) -> None:
    run("partner", "add", "one", "--pool", "foundryusa")
    before = partners.read_bytes()
    result = run("partner", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"miningmap: {error}")
    assert result.stderr.count("\n") == 1
    assert partners.read_bytes() == before


def test_without_a_file_the_setting_is_named(run: Run) -> None:
    result = run("partner", "list")
    assert result.exit_code == 2
    assert result.stderr == f"miningmap: no file of partners: give --file, or set {SETTING}\n"


# --- push -----------------------------------------------------------------------------------------


class Intake:
    """The real intake with a real Redis; it collects the published reports in a list."""

    def __init__(self, url: str, token: Path, partners: Path, reports: list[Report]) -> None:
        self.url = url
        self.token = token
        self.partners = partners
        self.reports = reports

    def shown(self) -> dict[str, float]:
        """Return the hashrate by place of the latest report."""
        return {place.code: place.hashrate for place in self.reports[-1].places}


@pytest.fixture
async def intake(tmp_path: Path, redis_url: str) -> AsyncIterator[Intake]:
    reports: list[Report] = []

    async def publish(messages: Sequence[Message | ReportWithRows]) -> None:
        reports.extend(message for message in messages if isinstance(message, Report))

    async def known() -> KnownFigures:
        figures = KnownFigures()
        figures.add(network(950e18, start=NOW - timedelta(days=1)))
        return figures

    partners, token_file = tmp_path / "partners.json", tmp_path / "token"
    token, _ = add(partners, "partner-1", "foundryusa")
    token_file.write_text(token + "\n")
    async with connect(config.Redis(url=SecretStr(redis_url)), patient=False) as redis:
        app = intake_app(
            PartnersFile(partners).authenticate,
            publish,
            Ledger(redis),
            # The clock advances 0.4 s with each request, so the third one exceeds the rate.
            RateLimiter([Rate(2, 1)], itertools.count(0, 0.4).__next__),
            known=known,
            retention=config.Retention(),
            metrics=Metrics(CollectorRegistry()),
            simulated=True,
            now=lambda: NOW,
        )
        async with TestServer(app) as server:
            yield Intake(str(server.make_url("/")), token_file, partners, reports)


def rows(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "rows.csv"
    file.write_text(HEADER + "".join(lines), encoding="utf-8")
    return file


async def push(run: Run, file: Path, *words: str | Path) -> Result:
    return await asyncio.to_thread(run, "partner", "push", file, *words)


async def test_rows_are_pushed_with_progress_and_are_one_report(
    run: Run, intake: Intake, tmp_path: Path
) -> None:
    file = rows(tmp_path, TEXAS, QUEBEC)
    result = await push(run, file, "--to", intake.url, "--token-file", intake.token)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("pushing")
    assert result.stderr.endswith("2 rows of 1 period in 1 request: all accepted\n")
    assert intake.shown() == {"US-TX": 1.5e18, "CA-QC": 3e17}


async def test_the_token_may_be_in_the_environment_and_the_url_complete(
    run: Run, intake: Intake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MININGMAP_PARTNER_TOKEN", intake.token.read_text())
    url = intake.url.rstrip("/") + PATH
    assert (await push(run, rows(tmp_path, TEXAS), "--to", url)).exit_code == 0
    assert intake.shown() == {"US-TX": 1.5e18}


async def test_many_periods_are_several_requests_within_the_rate(
    run: Run, intake: Intake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushing.Table.requests, "__defaults__", (300,))
    lines = [f"2026-09-0{day},daily,US,,{day},eh/s\n" for day in range(1, 9)]
    file = rows(tmp_path, *lines)
    result = await push(run, file, "--to", intake.url, "--token-file", intake.token)
    assert result.exit_code == 0
    assert result.stderr.endswith("8 rows of 8 periods in 4 requests: all accepted\n")
    wait = "answered 429: Too many requests from your IP, try again later; trying again in 1 s"
    assert result.stderr.count(wait) == 1
    assert [report.start.day for report in intake.reports] == list(range(1, 9))


async def test_a_wrong_unit_is_named_by_its_line_with_the_one_that_would_fit(
    run: Run, intake: Intake, tmp_path: Path
) -> None:
    lines = ("Canada,Quebec,10,eh/s\n", "United States,Texas,20000,eh/s\n")
    file = rows(tmp_path, *(f"2026-11-15,weekly,{line}" for line in lines))
    result = await push(run, file, "--to", intake.url, "--token-file", intake.token)
    assert (result.exit_code, result.stdout) == (1, "")
    network_then = "more than twice the network's 950 EH/s at that time"
    assert (
        f"{file}: line 3: average_hashrate: 20000 eh/s is {network_then}; is the unit ph/s?"
        in result.stderr
    )
    assert intake.reports == []


async def test_a_dry_run_checks_and_sends_nothing(run: Run, intake: Intake, tmp_path: Path) -> None:
    file = rows(tmp_path, TEXAS, QUEBEC)
    result = await push(run, file, "--to", intake.url, "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{file}: 2 rows of 1 period in 1 request; nothing was sent\n"
    assert intake.reports == []


async def test_with_one_bad_line_nothing_is_sent_and_all_are_named(
    run: Run, intake: Intake, tmp_path: Path
) -> None:
    file = rows(tmp_path, TEXAS, TEXAS.replace("Texas", "Texsa"), QUEBEC.replace("300", "-1"))
    result = await push(run, file, "--to", intake.url, "--token-file", intake.token)
    assert result.exit_code == 2
    assert result.stderr == (
        f"miningmap: {file}: 2 errors, nothing was sent:\n"
        "  line 3: province: unknown subdivision of US: 'Texsa'; near matches: Texas (US-TX)\n"
        "  line 4: average_hashrate: average_hashrate should be a finite number, 0 or more\n"
    )
    assert intake.reports == []


async def test_errors_that_only_the_intake_finds_are_named_by_line(
    run: Run, intake: Intake, tmp_path: Path
) -> None:
    """The period has ended by the clock of the command, but not by that of the intake."""
    late = "2026-12-01,daily,US,,1,eh/s\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("miningmap.times.utc_now", lambda: datetime(2027, 1, 1, tzinfo=UTC))
        file = rows(tmp_path, TEXAS, late)
        result = await push(run, file, "--to", intake.url, "--token-file", intake.token)
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert last == (
        f"miningmap: {file}: line 3: period_start_date: the period that starts on 2026-12-01 has "
        "not ended yet (UTC); no row was accepted"
    )


async def test_a_revoked_token_is_an_error_that_does_not_quote_it(
    run: Run, intake: Intake, tmp_path: Path
) -> None:
    run("partner", "revoke", "partner-1", "--file", intake.partners)
    file = rows(tmp_path, TEXAS)
    result = await push(run, file, "--to", intake.url, "--token-file", intake.token)
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert last.endswith("answered 401: Invalid bearer token; no row was accepted")
    assert intake.token.read_text().strip() not in result.output


async def test_a_busy_intake_is_retried_after_retry_after(run: Run, tmp_path: Path) -> None:
    requests = []

    async def busy(request: web.Request) -> web.Response:
        requests.append(await request.json())
        if len(requests) < 3:
            error = {"error": "the rows could not be stored; send all of them again later"}
            return web.json_response(error, status=503, headers={"Retry-After": "0"})
        return web.json_response({"data": [], "status": "success"})

    app = web.Application()
    app.router.add_post(PATH, busy)
    token = tmp_path / "token"
    token.write_text("t")
    async with TestServer(app) as server:
        url = str(server.make_url("/"))
        result = await push(run, rows(tmp_path, TEXAS), "--to", url, "--token-file", token)
    assert result.exit_code == 0
    assert result.stderr.count("trying again in 0 s") == 2
    assert len(requests) == 3
    assert requests[0] == requests[2]


@pytest.mark.parametrize("wait", ["0", "86400"])
async def test_an_intake_that_stays_busy_or_requires_a_long_wait_is_an_error(
    run: Run, tmp_path: Path, wait: str
) -> None:
    requests = []

    async def busy(request: web.Request) -> web.Response:
        requests.append(await request.read())
        return web.json_response({"error": "no"}, status=503, headers={"Retry-After": wait})

    app = web.Application()
    app.router.add_post(PATH, busy)
    token = tmp_path / "token"
    token.write_text("t")
    async with TestServer(app) as server:
        url = str(server.make_url("/"))
        result = await push(run, rows(tmp_path, TEXAS), "--to", url, "--token-file", token)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].endswith("answered 503: no; no row was accepted")
    assert len(requests) == (pushing.ATTEMPTS if wait == "0" else 1)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], "--to: give the address of the intake, or use --dry-run"),
        (["--to", "map.example"], "--to: expected a URL such as https://map.example"),
        (["--to", "ftp://map.example"], "--to: expected a URL such as https://map.example"),
        *(
            (["--to", f"https://{place}"], "--to: expected a URL such as https://map.example")
            for place in ("127.0.0.1:99999", "127.0.0.1:-1", "[::ffff:1.2.3.4]:70000", "xn--a")
        ),
        (["--to", "https://me:secret@map.example"], "--to: a user or password in the URL is not"),
        (["--to", "http://map.example"], "--to: the token could be read on its way; use https"),
        (["--to", "https://map.example"], "no token: give --token-file, or set MININGMAP_PARTNER"),
        (["--to", "http://x.example", "--plain-http"], "no token: give --token-file, or set"),
        (["--to", "http://127.0.0.1", "--token-file", "two"], "--token-file two: expected a token"),
        (["--to", "http://[::1]:1", "--token-file", "empty"], "no token: give --token-file"),
        (["--to", "http://localhost", "--token-file", "odd"], "--token-file odd: expected a token"),
    ],
)
def test_missing_options_of_push_are_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], error: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in {"two": "a\nb", "empty": "\n", "odd": "tökén"}.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    result = run("partner", "push", rows(tmp_path, TEXAS), *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"miningmap: {error}")
    assert result.stderr.count("\n") == 1
    assert "secret" not in result.stderr


def test_a_token_in_the_environment_is_not_an_unknown_setting(
    run: Run, partners: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MININGMAP_PARTNER_TOKEN", "t")
    partners.write_text("[]")
    assert run("partner", "list").exit_code == 0


# --- aggregate ------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return write_database(tmp_path / "city.mmdb")


def miners(tmp_path: Path, *lines: str, header: str = "ip,hashrate") -> Path:
    file = tmp_path / "miners.csv"
    file.write_text("\n".join([header, *lines]))
    return file


def aggregated(run: Run, file: Path, database: Path, *words: str | Path) -> Result:
    options = ("--database", database, "--date", "2026-11-01", "--period", "daily")
    return run("partner", "aggregate", file, *options, *words)


def test_addresses_become_rows_and_are_not_in_the_output(
    run: Run, tmp_path: Path, database: Path
) -> None:
    file = miners(tmp_path, *(f"{address},100" for address in ADDRESSES.values()))
    result = aggregated(run, file, database, "--unit", "TH/s")
    assert result.exit_code == 0
    assert result.stdout == HEADER + (
        "2026-11-01,daily,CA,CA-QC,100.0,th/s\n"
        "2026-11-01,daily,CN,CN-SC,100.0,th/s\n"
        "2026-11-01,daily,NO,,100.0,th/s\n"
        "2026-11-01,daily,US,US-TX,200.0,th/s\n"
    )
    assert result.stderr.splitlines() == [
        "5 miners with 500 TH/s in 4 places",
        "not located and left out: 1 miner with 100 TH/s",
        "4 places with fewer than 3 miners: --min-miners 3 would merge them",
    ]
    assert not any(address in result.output for address in ADDRESSES.values())


def test_subdivisions_that_are_not_understood_are_counted_and_named(
    run: Run, tmp_path: Path
) -> None:
    database = write_dbip_database(tmp_path / "dbip.mmdb")
    addresses = ("192.0.2.1", "192.0.2.65", "192.0.2.129", "192.0.2.130", "192.0.2.193")
    file = miners(tmp_path, *(f"{address},100" for address in addresses))
    result = aggregated(run, file, database, "--unit", "TH/s")
    assert result.stdout == HEADER + (
        "2026-11-01,daily,CN,,200.0,th/s\n"
        "2026-11-01,daily,KZ,,100.0,th/s\n"
        "2026-11-01,daily,KZ,KZ-55,100.0,th/s\n"
        "2026-11-01,daily,US,US-TX,100.0,th/s\n"
    )
    assert result.stderr.splitlines()[1] == (
        "3 miners with 300 TH/s have a subdivision that is not understood "
        "(CN: Huadong, KZ: Baikal); only the country counts"
    )


def test_places_with_few_miners_are_merged(run: Run, tmp_path: Path, database: Path) -> None:
    texas = [f"192.0.2.{number},1" for number in range(1, 5)]
    file = miners(tmp_path, *texas, f"{ADDRESSES['sichuan']},2", f"{ADDRESSES['norway']},4")
    result = aggregated(run, file, database, "--unit", "EH/s", "--min-miners", "2")
    assert result.stdout == HEADER + (
        "2026-11-01,daily,OTHER,,6000000.0,th/s\n2026-11-01,daily,US,US-TX,4000000.0,th/s\n"
    )
    assert result.stderr == "6 miners with 10 EH/s in 2 places\n"


async def test_aggregated_rows_can_be_pushed(
    run: Run, tmp_path: Path, database: Path, intake: Intake
) -> None:
    file, out = miners(tmp_path, f"{ADDRESSES['texas']},1e15"), tmp_path / "rows.csv"
    result = aggregated(run, file, database, "-o", out)
    assert (result.exit_code, result.stdout) == (0, "")
    result = await push(run, out, "--to", intake.url, "--token-file", intake.token)
    assert result.exit_code == 0
    assert intake.shown() == {"US-TX": 1e15}


def test_a_list_by_place_needs_no_database(run: Run, tmp_path: Path) -> None:
    file = miners(tmp_path, "US-TX,1 PH/s", "Norway,2 PH/s", header="place,hashrate")
    options = ("--date", "2026-11-01", "--period", "weekly")
    result = run("partner", "aggregate", file, *options)
    assert result.stdout == HEADER + (
        "2026-11-01,weekly,NO,,2000.0,th/s\n2026-11-01,weekly,US,US-TX,1000.0,th/s\n"
    )


async def test_an_hour_is_aggregated_and_pushed_like_a_day(
    run: Run, tmp_path: Path, intake: Intake
) -> None:
    file, rows = miners(tmp_path, "US-TX,1 PH/s", header="place,hashrate"), tmp_path / "rows.csv"
    hour = NOW - timedelta(hours=1)
    options = ("--date", f"{hour:%Y-%m-%dT%H}", "--period", "hourly", "-o", rows)
    assert (await asyncio.to_thread(run, "partner", "aggregate", file, *options)).exit_code == 0
    start = f"{hour:%Y-%m-%dT%H}:00:00Z"
    assert rows.read_text() == HEADER + f"{start},hourly,US,US-TX,1000.0,th/s\n"
    result = await push(run, rows, "--to", intake.url, "--token-file", intake.token)
    assert result.exit_code == 0
    (report,) = intake.reports
    assert (report.start, report.end) == (hour, NOW)


@pytest.mark.parametrize("address", ["192.0.2.300", "192.0.2.17:3333", "my.farm.example"])
def test_a_bad_line_is_named_without_its_content(
    run: Run, tmp_path: Path, database: Path, address: str
) -> None:
    file, out = miners(tmp_path, f"{ADDRESSES['texas']},1", f"{address},1"), tmp_path / "rows.csv"
    result = aggregated(run, file, database, "-o", out)
    assert result.exit_code == 2
    assert result.stderr == (
        f"miningmap: {file}: line 3: ip: not an IP address; nothing was written\n"
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "error", "code"),
    [
        (["--min-miners", "2"], "fewer than 2 miners are located; nothing was written", 1),
        (["--unit", "W"], "unknown unit of hashrate: 'W'", 2),
        (["--date", "2026-11-31"], "--date: the day 2026-11-31 does not exist", 2),
        (["--date", "2026-11-01T05"], '--date: date should be in "YYYY-MM-DD" format', 2),
        (["--period", "hourly"], '--date: hour should be in "YYYY-MM-DDTHH:00:00Z" format', 2),
        (["--period", "yearly"], "Invalid value for '--period'", 2),
        (["--output", "."], "--output .: exists and is not a regular file", 2),
    ],
)
def test_errors_of_aggregate_are_one_line(
    run: Run, tmp_path: Path, database: Path, words: list[str], error: str, code: int
) -> None:
    result = aggregated(run, miners(tmp_path, f"{ADDRESSES['texas']},1"), database, *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert error in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_located_miner_is_an_error(run: Run, tmp_path: Path, database: Path) -> None:
    result = aggregated(run, miners(tmp_path, "10.0.0.1,1"), database)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no miner could be located; nothing was written" in result.stderr
    assert "10.0.0.1" not in result.stderr


def test_an_unexpected_error_shows_no_address(tmp_path: Path, database: Path) -> None:
    """For example, an error in a damaged database puts no address into a traceback or a log."""
    content = bytearray(database.read_bytes())
    middle = content.index(b"iso_code")
    content[middle - 40 : middle + 40] = b"\xff" * 80
    database.write_bytes(content)
    file = miners(tmp_path, *(f"{address},1" for address in ADDRESSES.values()))
    command = ("-m", "launch", "partner", "aggregate", file, "--database", database)
    done = subprocess.run(
        [sys.executable, *command, "--date", "2026-11-01", "--period", "daily"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"MININGMAP_LOG__LEVEL": "debug"},
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert not any(address in done.stdout + done.stderr for address in ADDRESSES.values())
