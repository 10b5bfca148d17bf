"""``import-history`` and ``export``: tables into Kafka, and messages out of it."""

from __future__ import annotations

import asyncio
import csv
import io
import itertools
import json
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from endpoint.service import application
from launch.cli.recompute import query_of
from launch.local.embedded import free_port
from launch.local.running import RunningDemo, announced
from miningmap import places
from miningmap.cbeci.monthly_tables import reports
from miningmap.kafka.producer import Record
from miningmap.kafka.topics import REPORTS
from miningmap.messages import Network, decode, decode_lines, encode
from miningmap.redis_client import connect
from miningmap.settings import Endpoint, Retention
from miningmap.times import parse_rfc3339, rfc3339, utc_now
from streams import beliefs
from streams.method.beliefs import Beliefs
from streams.queries.recompute import read_cells
from streams.queries.shares import answer_from
from streams.redis.store import Store
from tests.streams import golden
from tests.streams.fixtures import NOON, empty, network, report
from tests.streams.processes import processed, publish, streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp.test_utils import TestClient as Client
    from redis.asyncio import Redis

    from miningmap.messages import Message
    from miningmap.settings import Settings
    from tests.cli.conftest import Run
    from tests.servers import KafkaServer

SERVERS = "MININGMAP_KAFKA__BOOTSTRAP_SERVERS"
DAY = timedelta(days=1)
FOR_EVER = Retention(minutes_h=10_000_000, hours_d=400_000)
PUBLISHED = golden.FOLDER.parent / "ccaf" / "mining_countries_v1.2.0.csv"
COUNTRIES = """\
date,country,monthly_hashrate_%,monthly_absolute_hashrate_EH/S
2021-06-01,Mainland China,50.00%,60.00
2021-06-01,United States,30.01%,36.01
2021-06-01,"Iran, Islamic Rep.",12.50%,15.00
2021-06-01,Germany *,7.50%,9.00
2021-06-01,Ireland *,0.0%,0.00
2021-07-01,United States,80.00%,80.00
2021-07-01,Other,20.00%,20.00
2021-07-01,Mainland China,0%,0.00
"""
PROVINCES = """\
Date,Province,Share of Chinese hashrate
2021-06-01,Sichuan,60.00
2021-06-01,Nei Mongol,40.00
2021-07-01,Sichuan,0.00
"""


@pytest.fixture
def countries(tmp_path: Path) -> Path:
    path = tmp_path / "countries.csv"
    path.write_text(COUNTRIES)
    return path


@pytest.fixture
def provinces(tmp_path: Path) -> Path:
    path = tmp_path / "provinces.csv"
    path.write_text(PROVINCES)
    return path


@pytest.fixture
def no_broker(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address without a broker."""
    servers = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv(SERVERS, servers)
    return servers


@pytest.fixture
def broker(clean_kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> KafkaServer:
    monkeypatch.setenv(SERVERS, clean_kafka.bootstrap_servers)
    return clean_kafka


@pytest.fixture
async def redis_client(settings: Settings) -> AsyncIterator[Redis]:
    client = connect(settings.redis)
    yield client
    await client.aclose()


# --- the running demo -----------------------------------------------------------------------------


@pytest.fixture
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders in which no demo of this machine is announced."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.usefixtures("own_folders", "no_broker")
def test_messages_go_into_the_running_demo_and_come_out_of_it(
    run: Run, messages: Path, countries: Path, clean_kafka: KafkaServer
) -> None:
    with announced(RunningDemo("page", "intake", clean_kafka.bootstrap_servers, "redis")):
        assert run("publish", "--demo", messages).stderr.endswith("3 messages published\n")
        assert run("import-history", "--demo", countries).exit_code == 0
        exported = run("export", "--demo").stdout.splitlines()
    assert len(exported) == 3 + 2


@pytest.mark.usefixtures("own_folders")
def test_without_a_demo_the_option_is_one_line(run: Run, messages: Path) -> None:
    for words in (["publish", messages], ["import-history", messages], ["export"]):
        result = run(*words, "--demo")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            "miningmap: --demo: no demo is running; start one with: miningmap demo\n"
        )


# --- import-history: errors -----------------------------------------------------------------------


@pytest.mark.usefixtures("no_broker")
def test_a_bad_row_is_named_before_the_broker_is_contacted(run: Run, countries: Path) -> None:
    countries.write_text(COUNTRIES.replace("Germany *", "Germny"))
    result = run("import-history", countries)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"miningmap: {countries}: line 5: unknown country: 'Germny'; ")
    assert result.stderr.endswith("; nothing was imported\n")


def test_a_month_beyond_the_network_of_its_time_is_named_and_nothing_is_imported(
    run: Run, broker: KafkaServer, settings: Settings, countries: Path
) -> None:
    june = parse_rfc3339("2021-06-01T00:00:00Z")
    known = network(59e18, start=june, end=june + 30 * DAY)
    send(broker, settings, [known])
    result = run("import-history", countries)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"miningmap: {countries}: line 2: 2021-06: 120 EH/s is more than twice the network's "
        "59 EH/s at that time; nothing was imported\n"
    )
    assert "1 messages exported" in run("export").stderr


@pytest.mark.usefixtures("no_broker")
def test_at_most_twenty_errors_are_listed(run: Run, countries: Path) -> None:
    bad = [f"2021-08-01,Nowhere {number},1%,1\n" for number in range(23)]
    countries.write_text(COUNTRIES + "".join(bad))
    result = run("import-history", countries)
    assert result.exit_code == 2
    first, *listed, last = result.stderr.splitlines()
    assert first == "miningmap: 23 errors, nothing was imported:"
    assert [line.split(": ")[1] for line in listed] == [f"line {n}" for n in range(10, 30)]
    assert last == "  and 3 more"
    countries.write_text(COUNTRIES + "".join(bad[:20]))
    assert len(run("import-history", countries).stderr.splitlines()) == 21


@pytest.mark.usefixtures("no_broker")
def test_an_error_names_the_missing_table_of_countries(run: Run, provinces: Path) -> None:
    result = run("import-history", provinces)
    assert result.exit_code == 2
    assert result.stderr == (
        f"miningmap: {provinces}: has only shares of China; give CBECI's table of countries "
        "(mining_countries of v1.1.1 or later) too; nothing was imported\n"
    )


@pytest.mark.usefixtures("no_broker")
def test_unreadable_files_are_named(run: Run, tmp_path: Path) -> None:
    huge = tmp_path / "huge.csv"
    huge.write_bytes(bytes(5 * 1024 * 1024 + 1))
    for words, error in (
        ((), "Missing argument 'FILE-OR-URL...'; see miningmap import-history --help"),
        ((tmp_path / "none.csv",), f"{tmp_path / 'none.csv'}: No such file or directory"),
        ((tmp_path,), f"{tmp_path}: Is a directory"),
        ((huge,), f"{huge}: is larger than 5242880 bytes; expected one of CBECI's tables"),
    ):
        result = run("import-history", *words)
        assert (result.exit_code, result.stderr) == (2, f"miningmap: {error}\n")


@pytest.mark.usefixtures("no_broker")
def test_an_unreachable_url_is_a_failure(run: Run) -> None:
    address = f"HTTP://127.0.0.1:{free_port()}/export.csv"
    result = run("import-history", address)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"miningmap: {address}: Cannot connect to host")
    assert result.stderr.count("\n") == 1


# --- import-history: results ----------------------------------------------------------------------


def export(run: Run, *words: str) -> list[Message]:
    result = run("export", *words)
    assert result.exit_code == 0, result.stderr
    return [decode(line) for line in result.stdout_bytes.splitlines()]


def content(messages: list[Message]) -> list[dict[str, Any]]:
    """Return the messages as JSON without the time at which they were fetched."""
    return [json.loads(encode(message)) | {"fetched_at": None} for message in messages]


@pytest.mark.usefixtures("broker")
def test_months_are_published_with_progress_on_standard_error(
    run: Run, countries: Path, provinces: Path
) -> None:
    result = run("import-history", countries, provinces)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("publishing")
    assert result.stderr.endswith("2 months of cbeci-sample, 2021-06 to 2021-07, published\n")
    june, july = content(export(run))
    assert (june["pool"], june["source"], june["simulated"]) == ("cbeci-sample", "cbeci", False)
    assert june["hashrate"] == pytest.approx(120.01e18)
    assert " ".join(place["code"] for place in june["places"]) == "CN-NM CN-SC DE IE IR US"
    assert [place["hashrate"] for place in july["places"]] == [0.0, 20e18, 80e18]


@pytest.mark.usefixtures("broker")
def test_a_repeated_import_publishes_equal_messages(run: Run, countries: Path) -> None:
    for _ in range(2):
        assert run("import-history", countries).exit_code == 0
    messages = export(run)
    assert content(messages[2:]) == content(messages[:2])
    assert messages[2].fetched_at > messages[0].fetched_at


def test_months_are_written_as_messages_without_a_broker(
    run: Run, countries: Path, provinces: Path, tmp_path: Path, no_broker: str
) -> None:
    """In the form that recompute reads."""
    file = tmp_path / "months.jsonl"
    result = run("import-history", countries, provinces, "--output", file)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "2 months of cbeci-sample, 2021-06 to 2021-07, written\n"
    bodies = {"c": countries.read_bytes(), "p": provinces.read_bytes()}
    written = [decode(line) for line in file.read_bytes().splitlines()]
    assert content(written) == content([*reports(bodies, fetched_at=utc_now())])
    printed = run("import-history", countries, provinces, "--output", "-").stdout_bytes
    assert content([decode(line) for line in printed.splitlines()]) == content(written)
    month = ("--window", "2021-06", "--as-of", rfc3339(utc_now()))
    answer = json.loads(run("recompute", file, *month).stdout)
    assert (answer["shares"][0]["code"], answer["cohort"][0]["pool"]) == ("CN", "cbeci-sample")
    assert no_broker not in result.stderr

    both = run("import-history", countries, "--demo", "--output", file)
    assert (both.exit_code, both.stderr.count("\n")) == (2, 1)
    assert both.stderr.startswith("miningmap: --demo: nothing is published with --output")
    over = run("import-history", countries, "--output", countries)
    assert (over.exit_code, over.stdout) == (2, "")
    assert over.stderr == f"miningmap: --output {countries}: is also read; choose another name\n"
    assert countries.read_text() == COUNTRIES
    countries.write_text(COUNTRIES.replace("60.00", "many"))
    wrong = run("import-history", countries, "--output", file)
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "line 2: 'many' is not a hashrate in EH/s" in wrong.stderr
    assert len(file.read_bytes().splitlines()) == 2


@pytest.mark.usefixtures("broker")
async def test_a_table_can_be_downloaded_with_the_content_type_html(run: Run) -> None:
    async def serve(_: web.Request) -> web.Response:
        return web.Response(text=COUNTRIES, content_type="text/html")

    app = web.Application()
    app.router.add_get("/cbeci/api/v1.2.0/download/mining_countries", serve)
    async with TestServer(app) as server:
        address = server.make_url("/cbeci/api/v1.2.0/download/mining_countries")
        result = await asyncio.to_thread(run, "import-history", str(address))
    assert result.exit_code == 0, result.stderr
    assert len(await asyncio.to_thread(export, run)) == 2


@pytest.mark.usefixtures("broker")
async def test_imported_months_are_in_the_api_and_in_the_downloaded_tables(
    run: Run, countries: Path, provinces: Path, settings: Settings, redis_client: Redis
) -> None:
    """Also if they are older than the retention of hours, or are imported twice."""
    await empty(redis_client)
    app = application(Store(redis_client, settings.retention), Beliefs(), Endpoint())
    async with streams(settings), TestClient(TestServer(app)) as http:
        assert (await downloaded(http, "mining_countries")).count("\n") == 1
        for _ in range(2):
            result = await asyncio.to_thread(run, "import-history", countries, provinces)
            assert result.exit_code == 0, result.stderr
            await processed(settings)
            june = await shares(http, window="2021-06")
            total = 50 + 30.01 + 12.5 + 7.5
            assert june == pytest.approx(
                {c: p / total for c, p in (("CN", 50), ("US", 30.01), ("IR", 12.5), ("DE", 7.5))}
                | {"IE": 0}
            )
            inside = await shares(http, window="2021-06", level="subdivision", country="CN")
            assert inside == pytest.approx({"CN-SC": 0.6 * june["CN"], "CN-NM": 0.4 * june["CN"]})
            assert await shares(http, window="2021-07") == {"US": 0.8, "OTHER": 0.2, "CN": 0}
            assert await shares(http, window="2021-08") == {}
            assert await downloaded(http, "mining_countries") == COUNTRIES
            assert await downloaded(http, "mining_provinces") == PROVINCES


@pytest.mark.skipif(not PUBLISHED.exists(), reason="CBECI's own table is not beside the project")
@pytest.mark.usefixtures("broker")
async def test_every_published_share_is_in_the_api_and_in_the_downloaded_table(
    run: Run, settings: Settings, redis_client: Redis
) -> None:
    published: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for row in csv.DictReader(io.StringIO(PUBLISHED.read_text())):
        percent = float(row["monthly_hashrate_%"].removesuffix("%"))
        published[places.resolve(row["country"])][row["date"][:7]] = percent
    app = application(Store(redis_client, settings.retention), Beliefs(), Endpoint())
    answered: dict[str, dict[str, float]] = {}
    async with streams(settings), TestClient(TestServer(app)) as http:
        result = await asyncio.to_thread(run, "import-history", PUBLISHED)
        assert result.exit_code == 0, result.stderr
        await processed(settings)
        for code in published:
            answered[code] = await history(http, code)
        assert await downloaded(http, "mining_countries") == PUBLISHED.read_text()
    assert sum(len(months) for months in published.values()) == 290
    for code, months in published.items():
        for month, percent in months.items():
            total = sum(of_place[month] for of_place in published.values())
            # Within 0.005 percentage points of the month's total.
            assert answered[code][month] == pytest.approx(percent / total, abs=0.00005), month


async def history(http: Client[web.Request, web.Application], code: str) -> dict[str, float]:
    parameters = {"code": code, "step": "month", "from": "2019-09-01", "to": "2022-02-01"}
    async with http.get("/api/v1/history", params=parameters) as answer:
        assert answer.status == 200, await answer.text()
        return {point["at"][:7]: point["share"] for point in (await answer.json())["points"]}


async def downloaded(http: Client[web.Request, web.Application], name: str) -> str:
    async with http.get(f"/cbeci/api/v1.2.0/download/{name}") as answer:
        assert answer.status == 200, await answer.text()
        return await answer.text()


async def shares(http: Client[web.Request, web.Application], **parameters: str) -> dict[str, float]:
    async with http.get("/api/v1/shares", params=parameters) as answer:
        assert answer.status == 200, await answer.text()
        return {row["code"]: row["share"] for row in (await answer.json())["shares"]}


# --- export ---------------------------------------------------------------------------------------


def send(kafka: KafkaServer, settings: Settings, messages: list[Message], *raw: Record) -> None:
    assert settings.kafka.bootstrap_servers == kafka.bootstrap_servers
    asyncio.run(publish(settings, messages, *raw))


def test_empty_topics_give_an_empty_export(run: Run, broker: KafkaServer) -> None:
    assert broker.running
    result = run("export")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("exporting")
    assert result.stderr.endswith("0 messages exported\n")


def test_messages_are_exported_unchanged(run: Run, broker: KafkaServer, settings: Settings) -> None:
    plain = encode(report("b", {"US": 1.0})).replace(b'"pool":', b'"more":"kept", "pool":')
    pretty = json.dumps(json.loads(encode(report("b", {"CA": 2.0}))), indent=1).encode()
    broken = [b"not JSON", b'{"schema":"report/2"}', b'{"schema":"report/1"}', b""]
    broken += map(encode, [report("b"), report("b", {"US": 1.0}, start=utc_now() + DAY)])
    broken += [plain.replace(b"kept", text) for text in (b"\xff", b"\xed\xa0\x80", rb"\ud800")]
    broken.append(plain.replace(b'"more"', b'"more":"twice","more"'))
    raw = [Record(REPORTS, b"b", value) for value in (plain, *broken, pretty)]
    raw += [Record(REPORTS, key, plain) for key in (b"a", None)]
    send(broker, settings, [network(9.0), report("a", {"US": 3.0})], *raw)
    result = run("export")
    lines = result.stdout_bytes.splitlines(keepends=True)
    assert lines.index(plain + b"\n") < lines.index(b" ".join(pretty.split(b"\n")) + b"\n")
    assert lines[-1] == encode(network(9.0)) + b"\n"
    assert {decode(line) for line in lines[:-1]} == {
        report("a", {"US": 3.0}),
        report("b", {"US": 1.0}),
        report("b", {"CA": 2.0}),
    }
    assert result.stderr.endswith("4 messages exported\n12 invalid messages left out\n")
    assert run("export").stdout_bytes == result.stdout_bytes
    assert all(json.loads(line.decode()) for line in lines)


def test_a_range_selects_the_messages_that_overlap_it(
    run: Run, broker: KafkaServer, settings: Settings
) -> None:
    start, minute = NOON, timedelta(minutes=1)
    send(
        broker,
        settings,
        [
            report("ends-before", hashrate=1, start=start - minute, end=start),
            report("held-into-it", hashrate=1, start=start - minute, end=start, hold_s=1),
            report(
                "around-it",
                hashrate=1,
                start=start - 12 * 60 * minute,
                end=start + 12 * 60 * minute,
            ),
            report("begins-in-it", hashrate=1, start=start + 4 * minute),
            report("begins-after", hashrate=1, start=start + 5 * minute),
            network(1.0, start=start - minute),
            network(2.0, start=start),
        ],
    )
    since, until = ("--from", rfc3339(start)), ("--to", "2026-11-22T13:05:00+01:00")

    def pools(*words: str) -> set[str]:
        return {getattr(message, "pool", "network") for message in export(run, *words)}

    inside = {"held-into-it", "around-it", "begins-in-it", "network"}
    assert pools(*since, *until) == inside
    assert pools(*since) == inside | {"begins-after"}
    assert pools(*until) == inside | {"ends-before"}
    networks = [m.hashrate for m in export(run, *since) if isinstance(m, Network)]
    assert networks == [2.0]


def test_invalid_times_are_named(run: Run) -> None:
    for words, error in (
        (("--from", "yesterday"), "--from: 'yesterday' is not a time; expected one such as "),
        (("--to", "2026-11-22T15:00:00"), "--to: '2026-11-22T15:00:00' has no time zone"),
        (("--from", "2026-11-22T15Z", "--to", "2026-11-22T15Z"), "--from: must be before --to"),
    ):
        result = run("export", *words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"miningmap: {error}")
        assert result.stderr.count("\n") == 1


def test_an_export_replaces_the_older_file_completely(
    run: Run, broker: KafkaServer, settings: Settings, tmp_path: Path
) -> None:
    send(broker, settings, [report("a", {"US": 3.0})])
    target = tmp_path / "out" / "messages.jsonl"
    target.parent.mkdir()
    target.write_text("older and longer than what comes" * 100)
    result = run("export", "--output", target)
    assert (result.exit_code, result.stdout) == (0, "")
    assert target.read_bytes() == encode(report("a", {"US": 3.0})) + b"\n"
    assert list(target.parent.iterdir()) == [target]


def test_a_failed_export_keeps_the_older_file(run: Run, no_broker: str, tmp_path: Path) -> None:
    target = tmp_path / "messages.jsonl"
    target.write_text("older")
    result = run("export", "--output", target)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"miningmap: Kafka at {no_broker}: ")
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_text() == "older"


@pytest.mark.usefixtures("no_broker")
def test_an_invalid_output_path_is_an_error(run: Run, tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "out"
    result = run("export", "--output", missing)
    assert result.exit_code == 1
    assert result.stderr == f"miningmap: --output {missing}: No such file or directory\n"
    result = run("export", "--output", "/dev/null")
    assert result.exit_code == 2
    assert result.stderr.startswith(
        "miningmap: --output /dev/null: exists and is not a regular file; "
    )


# --- recomputed answers equal the live ones -------------------------------------------------------

AS_OF = NOON + timedelta(hours=3, seconds=30)


def world() -> list[Message]:
    """Messages of every kind, of a pool with a prior, and of one that goes dark."""
    messages: list[Message] = []
    midnight = NOON.replace(hour=0)
    for n in range(35):
        start = midnight - (n + 1) * DAY
        places = {"KZ": 2.0 + n, "CN-ZJ": 1.0, "CN-SC": 7.0 / (n + 1)}
        messages.append(report("b", places, source="partner", start=start, end=start + DAY))
    for n in range(36 * 4):
        start = AS_OF.replace(second=0) - timedelta(minutes=15 * n)
        end = start + timedelta(minutes=10)
        messages += [
            report(
                "a",
                {"US-TX": 50 + n / 7, "CN-ZJ": 10.0, "CN-SC": 20.0, "DE": 1 / (n + 1)},
                hashrate=90 + n / 7,
                start=start,
                end=end,
                hold_s=240,
            ),
            report("b", hashrate=40 + n / 3, source="totals", start=start, end=end, hold_s=300),
            report("c", hashrate=5.0 + n, source="blocks", start=start, end=end, hold_s=300),
            network(300.0 + n, start=start, end=end, hold_s=600),
        ]
    start = NOON - timedelta(hours=5)
    dark = {"US-GA": 3.0, "OTHER": 0.0}
    for end in (start + timedelta(minutes=50), start + timedelta(hours=1)):
        messages.append(report("d", dark, kind="estimated", start=start, end=end))
    return messages


WINDOWS = (
    *("now", "1h", "24h", "7d", "30d"),
    *("2026-11", "2026-10", "2026-11-21", "2026-11-22", "2026-11-22T07", "2020-01"),
)
LEVELS: tuple[dict[str, str], ...] = (
    {},
    {"adjust": "none"},
    {"level": "subdivision", "country": "CN"},
    {"level": "subdivision", "country": "US"},
    {"level": "subdivision", "country": "FR"},
)
QUERIES = [
    {"window": window, "as_of": rfc3339(AS_OF), **level} for window in WINDOWS for level in LEVELS
]


def formatted(body: str | bytes) -> str:
    """Round every float to nine significant digits."""
    return json.dumps(json.loads(body, parse_float=lambda text: format(float(text), ".9g")))


BELIEVED = {
    "network": [
        {"id": "network/n", "series": [{"from": "2020-01-01", "weights": {"US": 3, "KZ": 2}}]},
        {"id": "network/m", "series": [{"from": "2020-01-01", "weights": {"OTHER": 1}}]},
    ],
    "claims": [
        {
            "id": "claims/no",
            "place": "NO",
            "at_least": 1e17,
            "from": "2020-01-01",
            "until": "2030-01-01",
        }
    ],
    "rules": [{"id": "cn-zhejiang", "place": "CN-ZJ", "applies_to": "*"}],
}


@pytest.mark.usefixtures("broker")
async def test_recompute_on_an_export_equals_the_live_answers(
    run: Run, settings: Settings, redis_client: Redis, tmp_path: Path
) -> None:
    believed = tmp_path / "beliefs.json"
    believed.write_text(json.dumps(BELIEVED))
    loaded = beliefs.load_only(believed)
    settings.retention = FOR_EVER
    app = application(Store(redis_client, FOR_EVER), loaded, Endpoint(), now=lambda: AS_OF)
    messages = world()
    async with streams(settings), TestClient(TestServer(app)) as http:
        await publish(settings, [*messages[::2], *reversed(messages)])  # half of them twice
        await processed(settings)
        live = [await body(http, parameters) for parameters in QUERIES]
    file = tmp_path / "messages.jsonl"
    result = await asyncio.to_thread(run, "export", "--output", file)
    assert result.exit_code == 0, result.stderr
    with file.open("rb") as lines:
        cells, _ = read_cells(lines)
    for parameters, want in zip(QUERIES, live, strict=True):
        answer = answer_from(cells, query_of(parameters), loaded)
        assert formatted(msgspec.json.encode(answer)) == formatted(want), parameters
    # The command adds only options and files, so one query per level is enough.
    for parameters, want in zip(QUERIES[: len(LEVELS)], live, strict=False):
        named = {f"--{name.replace('_', '-')}": value for name, value in parameters.items()}
        options = itertools.chain.from_iterable(named.items())
        offline = run("recompute", file, "--beliefs", believed, *options)
        assert offline.exit_code == 0, offline.stderr
        assert formatted(offline.stdout) == formatted(want), parameters
    answers = [json.loads(want) for want in live]
    assert sum(bool(answer["shares"]) for answer in answers) > 25
    assert {"a", "b", "c"} == {member["pool"] for member in answers[0]["cohort"]}
    assert answers[0]["excluded"] == [{"pool": "d", "reason": "stale"}]


async def body(http: Client[web.Request, web.Application], parameters: dict[str, str]) -> bytes:
    async with http.get("/api/v1/shares", params=parameters) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


def test_what_is_exported_can_be_published_again(
    run: Run, broker: KafkaServer, settings: Settings, tmp_path: Path
) -> None:
    more = b'"\\u03a9":"\\u2028\xe2\x80\xa8",\n"pool":'
    odd = encode(report("b", {"US": 1.0})).replace(b'"pool":', more)
    bad = odd.replace(b"u2028", b"ud800")
    send(broker, settings, [network(9.0)], *(Record(REPORTS, b"b", each) for each in (odd, bad)))
    file = tmp_path / "messages.jsonl"
    assert run("export", "--output", str(file)).exit_code == 0
    first = list(decode_lines(file.read_bytes().splitlines()))
    assert run("publish", str(file)).exit_code == 0
    twice = run("export").stdout_bytes.splitlines()
    assert sorted(map(encode, decode_lines(twice))) == sorted(map(encode, [*first, *first]))
