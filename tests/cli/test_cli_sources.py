"""``miningmap sources``, ``miningmap pools`` and ``miningmap try``."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from collector import pools
from collector.registry import discover
from collector.sources.base import PoolSource
from launch.local.embedded import free_port
from miningmap.messages import Report, decode
from miningmap.pool_names import is_known_pool, named_pools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Run

RECORDINGS = Path(__file__).parents[1] / "recordings"
# The fields of the contract, and others that readers need.
FIELDS = {
    *("slug", "kind", "name", "auth", "poll_s", "poll_reason", "locates", "terms", "state"),
    *("urls", "confidence", "default", "rate", "scope", "credentials", "unsure", "averaging_s"),
    *("hold_s", "home", "docs", "basis"),
}


def payloads(case: str) -> list[str | Path]:
    path = RECORDINGS / case
    files = [path] if path.is_file() else sorted(path.iterdir())
    return [word for file in files for word in ("--payload", file)]


@pytest.fixture
def listed(run: Run) -> list[dict[str, Any]]:
    result = run("sources", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    rows: list[dict[str, Any]] = json.loads(result.stdout)
    return rows


def test_json_has_all_declared_fields(listed: list[dict[str, Any]]) -> None:
    assert len(listed) > 5
    assert [row for row in listed if not row.keys() >= FIELDS] == []
    assert {row["kind"] for row in listed} == {"pools", "network"}
    folders = {path.parent for path in RECORDINGS.glob("*/*/expected.json")}
    kinds = {(row["kind"], row["slug"]) for row in listed}
    assert kinds == {(folder.parent.name, folder.name) for folder in folders}


def test_the_table_has_a_row_for_each_source(run: Run, listed: list[dict[str, Any]]) -> None:
    result = run("sources")
    assert (result.exit_code, result.stderr) == (0, "")
    heading, _, *lines = [line for line in result.stdout.splitlines() if line.strip()]
    words = ["slug", "kind", "state", "auth", "every", "rate", "locates"]
    assert re.split(r" {2,}", heading.strip()) == [*words, "why not more often", "terms"]
    rows = [re.split(r" {2,}", line.strip()) for line in lines if line[1] != " "]
    for words, row in zip(rows, listed, strict=True):
        slug, kind, state, auth, every, rate = words[:6]
        assert (slug, kind) == (row["slug"], row["kind"])
        assert row["state"].startswith(state)  # the remainder is on the next line
        assert row["auth"].startswith(auth)
        assert (every, rate) == (f"{row['poll_s']} s", row["rate"])
    assert max(map(len, result.stdout.splitlines())) <= 160


KEYED = """\
from dataclasses import replace

from collector.sources.decoding import decode, refused
from collector.pools.ocean import SOURCE as OCEAN
from collector.sources.base import Credential, Request


def configure(secrets):
    request = Request(f"https://pool.example/{secrets['api_key']}?key={secrets['api_key']}")
    return replace(SOURCE, requests=(request,))


def parse(bodies):
    raise refused(decode(bodies[0], str))


SOURCE = replace(
    OCEAN,
    slug="toy",
    default=False,
    requests=(Request("https://pool.example/API_KEY"),),
    credentials=(Credential("api_key", "the key"), Credential("coin", "a coin", required=False)),
    configure=configure,
    parse=parse,
)
"""


@pytest.fixture
def keyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A source with a key in its URL, called ``toy``."""
    (tmp_path / "toy.py").write_text(KEYED)
    with monkeypatch.context() as patch:
        patch.setattr(pools, "__path__", [*pools.__path__, str(tmp_path)])
        patch.setattr(sys, "dont_write_bytecode", True)
        importlib.invalidate_caches()
        yield
    if sys.modules.pop("collector.pools.toy", None):
        delattr(pools, "toy")


@pytest.mark.usefixtures("keyed")
def test_a_source_is_off_until_its_credentials_are_set(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def toy() -> dict[str, Any]:
        rows: list[dict[str, Any]] = json.loads(run("sources", "--json").stdout)
        return next(row for row in rows if row["slug"] == "toy")

    assert (toy()["state"], toy()["auth"]) == ("needs api_key", "api_key")
    assert toy()["credentials"] == [
        {"setting": f"MININGMAP_CREDENTIALS__TOY__{name}", "meaning": meaning, "required": required}
        for name, meaning, required in (("API_KEY", "the key", True), ("COIN", "a coin", False))
    ]
    assert re.search(r"^ toy +pools +needs +api_key", run("sources").stdout, re.MULTILINE)
    missing = run("try", "toy")
    assert (missing.exit_code, missing.stdout) == (2, "")
    setting = "MININGMAP_CREDENTIALS__TOY__API_KEY"
    assert missing.stderr == f"miningmap: {setting}: not set, but toy needs it\n"
    monkeypatch.setenv("MININGMAP_CREDENTIALS__TOY__API_KEY", "ENIGMATIC")
    assert toy()["state"] == "on"
    assert "ENIGMATIC" not in run("sources", "--json").stdout
    monkeypatch.setenv("MININGMAP_COLLECTOR__SOURCES", "[]")
    assert toy()["state"] == "off"
    monkeypatch.delenv("MININGMAP_CREDENTIALS__TOY__API_KEY")
    assert toy()["state"] == "off"


@pytest.mark.usefixtures("keyed")
@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 503 Out\r\n\r\n", "HTTP 503"),
        (b"HTTP/1.1 301 Moved\r\nLocation: /ENIGMATIC\r\n\r\n", "HTTP 301: moved"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<html>", "connection failed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "not JSON but HTML"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n"no ENIGMATIC xy"', "'no *** xy'"),
        (b"garbage\r\n\r\n", "connection failed"),
        (b"", "connection failed"),
    ],
)
async def test_trying_a_source_does_not_print_its_key(
    run: Run, monkeypatch: pytest.MonkeyPatch, answer: bytes, text: str
) -> None:
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("MININGMAP_COLLECTOR__UPSTREAM", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("MININGMAP_CREDENTIALS__TOY__API_KEY", "ENIGMATIC")
        result = await asyncio.to_thread(run, "try", "toy")
    assert requests[0].startswith(b"GET /pool.example/ENIGMATIC?key=ENIGMATIC ")
    assert (result.exit_code, result.stdout) == (1, "")
    assert text in result.stderr
    assert "ENIGMATIC" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_pools_are_listed_with_who_covers_them(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MININGMAP_COLLECTOR__SOURCES", '["foundry", "mempool"]')
    rows = {row["pool"]: row for row in json.loads(run("pools", "--json").stdout)}
    assert list(rows) == sorted(rows)
    assert set(rows) == {*named_pools(), *(s.pool for s in pool_sources() if s.pool)}
    assert rows["foundryusa"] == {
        "pool": "foundryusa",
        "name": "Foundry USA",
        "sources": [{"source": "foundry", "scope": "pool", "state": "on"}],
        "relays": [
            {"source": s.slug, "scope": "pool", "state": "on" if s.slug == "mempool" else "off"}
            for s in pool_sources()
            if s.pool is None
        ],
        "partners": [],
    }
    assert rows["spiderpool"]["sources"] == []
    assert [source["source"] for source in rows["f2pool-account"]["sources"]] == ["f2pool"]


def test_the_table_of_pools_has_a_line_for_each(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MININGMAP_INTAKE__PARTNERS_FILE", str(tmp_path / "partners.json"))
    run("partner", "add", "partner-1", "--pool", "my-farm", "--new-pool")
    pools_ = {row["pool"] for row in json.loads(run("pools", "--json").stdout)}
    result = run("pools")
    assert result.exit_code == 0
    table, _, relays = result.stdout.partition("\nsources that list many pools")
    heading, _, *lines = [line for line in table.splitlines() if line.strip()]
    assert heading.split() == ["pool", "name", "sources", "partners"]
    assert {line.split()[0] for line in lines} == pools_
    assert re.search(r"^ foundryusa +Foundry USA +foundry \(on\) +-", table, re.MULTILINE)
    assert re.search(r"^ my-farm +my-farm +- +partner-1", table, re.MULTILINE)
    assert "mempool (on)" in relays
    assert max(map(len, result.stdout.splitlines())) <= 160


def test_an_invalid_file_of_partners_is_named_by_pools(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "partners.json"
    file.write_text("{")
    monkeypatch.setenv("MININGMAP_INTAKE__PARTNERS_FILE", str(file))
    result = run("pools")
    assert (result.exit_code, result.stdout) == (2, "")
    assert str(file) in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_pool_of_every_source_is_known_by_name() -> None:
    assert [s.slug for s in pool_sources() if s.pool and not is_known_pool(s.pool)] == []


def pool_sources() -> list[PoolSource]:
    return [source for source in discover() if isinstance(source, PoolSource)]


def test_sources_outside_the_settings_are_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MININGMAP_COLLECTOR__SOURCES", '["ocean", "network/mempool"]')
    rows = json.loads(run("sources", "--json").stdout)
    on = {(row["kind"], row["slug"]) for row in rows if row["state"] == "on"}
    assert on == {("pools", "ocean"), ("network", "mempool")}


def test_an_unknown_source_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MININGMAP_COLLECTOR__SOURCES", '["ocaen"]')
    result = run("sources")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(
        "miningmap: MININGMAP_COLLECTOR__SOURCES: unknown source 'ocaen'; expected one of: "
    )
    unknown = run("try", "ocaen")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert unknown.stderr.startswith("miningmap: unknown source 'ocaen'; expected one of: ")
    assert "ocean" in unknown.stderr


# One recording of each kind of outcome; tests/collector/test_source_contract.py has them all.
@pytest.mark.parametrize(
    ("case", "hashrates"),
    [
        ("pools/foundry/ok", [2.33712345678e20]),
        ("pools/ckpool/ok", [2.5981e17]),
        ("network/mempool/ok", [9.077829864314339e20]),
    ],
)
def test_recorded_bodies_become_messages(run: Run, case: str, hashrates: list[float]) -> None:
    result = run("try", case.rpartition("/")[0], *payloads(case))
    assert (result.exit_code, result.stderr) == (0, "")
    messages = [decode(line.encode()) for line in result.stdout.splitlines()]
    assert [message.hashrate for message in messages] == pytest.approx(hashrates)


def test_the_time_of_fetching_stands_in_for_an_unset_time(run: Run, tmp_path: Path) -> None:
    body = tmp_path / "body"  # Go writes an unset time like this
    body.write_text('{"hashrate5minAvg":250000000000,"updatedAt":"0001-01-01T00:00:00Z"}')
    result = run("try", "foundry", "--payload", body)
    assert (result.exit_code, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    assert report["hashrate"] == 2.5e20
    assert report["end"] == report["fetched_at"]


def test_an_unknown_figure_gives_no_message(run: Run) -> None:
    result = run("try", "foundry", *payloads("pools/foundry/unknown-value"))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "foundry answered that it knows no figure\n"


@pytest.mark.parametrize(
    "case", ["pools/foundry/html", "pools/foundry/changed-shape", "pools/kanopool/error-as-200"]
)
def test_an_error_is_one_line(run: Run, case: str) -> None:
    result = run("try", case.rpartition("/")[0], *payloads(case))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("miningmap: ")
    assert result.stderr.count("\n") == 1


def test_the_settings_mark_messages_as_simulated(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    body = payloads("pools/foundry/ok")
    assert not decode(run("try", "foundry", *body).stdout.encode()).simulated
    monkeypatch.setenv("MININGMAP_COLLECTOR__SIMULATED", "true")
    assert decode(run("try", "foundry", *body).stdout.encode()).simulated


def test_a_number_of_bodies_other_than_of_requests_is_wrong_usage(run: Run) -> None:
    result = run("try", "ckpool", *payloads("pools/ckpool/ok")[:2])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(
        "miningmap: ckpool needs 6 payloads, not 1: the responses of https://"
    )
    assert result.stderr.count("\n") == 1


async def test_without_a_body_the_source_is_requested(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[str] = []

    async def answer(request: web.Request) -> web.FileResponse:
        requests.append(request.path)
        return web.FileResponse(RECORDINGS / "pools/foundry/ok")

    app = web.Application()
    app.router.add_get("/{host}/{path:.*}", answer)
    async with TestServer(app) as server:
        monkeypatch.setenv("MININGMAP_COLLECTOR__UPSTREAM", str(server.make_url("")))
        result = await asyncio.to_thread(run, "try", "foundry")
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(requests) == 1
    message = decode(result.stdout.encode())
    assert isinstance(message, Report)
    assert (message.pool, message.source) == ("foundryusa", "foundry")


def test_an_unreachable_source_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MININGMAP_COLLECTOR__UPSTREAM", f"http://127.0.0.1:{free_port()}")
    result = run("try", "foundry")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("miningmap: ")
    assert result.stderr.count("\n") == 1
