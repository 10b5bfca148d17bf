"""``miningmap sources`` and ``miningmap try``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from miningmap.messages import Report, decode

if TYPE_CHECKING:
    from tests.cli.conftest import Run

RECORDINGS = Path(__file__).parents[1] / "recordings"
# Contract 3, and what a reader needs beside it.
FIELDS = {
    *("slug", "kind", "name", "auth", "poll_s", "poll_reason", "locates", "terms", "state"),
    *("urls", "confidence", "default"),
}


def recorded(source: str) -> list[tuple[str, dict[str, Any]]]:
    outcomes = json.loads((RECORDINGS / source / "expected.json").read_bytes())
    return [(f"{source}/{case}", outcome) for case, outcome in outcomes.items()]


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


def test_json_has_all_that_is_declared(listed: list[dict[str, Any]]) -> None:
    assert len(listed) > 5
    assert [row for row in listed if not row.keys() >= FIELDS] == []
    assert {row["kind"] for row in listed} == {"pools", "network"}
    folders = {path.parent for path in RECORDINGS.glob("*/*/expected.json")}
    kinds = {(row["kind"], row["slug"]) for row in listed}
    assert kinds == {(folder.parent.name, folder.name) for folder in folders}


def test_the_table_has_a_row_for_each(run: Run, listed: list[dict[str, Any]]) -> None:
    result = run("sources")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [
        [cell.strip() for cell in line.split("│")[1:6]]
        for line in result.stdout.splitlines()
        if line.startswith("│") and line[2] != " "
    ]
    assert rows == [
        [row["slug"], row["kind"], row["state"], row["auth"], str(row["poll_s"])] for row in listed
    ]
    assert "poll reason" in result.stdout
    assert "locates" in result.stdout
    assert "terms" in result.stdout


def test_what_the_settings_do_not_name_is_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MININGMAP_COLLECTOR__SOURCES", '["ocean", "network/mempool"]')
    rows = json.loads(run("sources", "--json").stdout)
    on = {(row["kind"], row["slug"]) for row in rows if row["state"] == "on"}
    assert on == {("pools", "ocean"), ("network", "mempool")}


def test_a_source_that_does_not_exist_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MININGMAP_COLLECTOR__SOURCES", '["ocaen"]')
    result = run("sources")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(
        "miningmap: MININGMAP_COLLECTOR__SOURCES: no source 'ocaen'; there are "
    )
    unknown = run("try", "ocaen")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert unknown.stderr.startswith("miningmap: no source 'ocaen'; there are ")
    assert "ocean" in unknown.stderr


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param(case, outcome, id=case)
        for source in ("pools/foundry", "pools/ckpool", "network/mempool")
        for case, outcome in recorded(source)
    ],
)
def test_a_recorded_body_gives_its_messages_or_its_error(
    run: Run, case: str, expected: dict[str, Any]
) -> None:
    source = case.rpartition("/")[0]
    result = run("try", source, *payloads(case))
    if "error" in expected:
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("miningmap: ")
        assert result.stderr.count("\n") == 1
        return
    assert result.exit_code == 0
    said = [decode(line.encode()) for line in result.stdout.splitlines()]
    assert [message.hashrate for message in said] == pytest.approx(
        [reading["hashrate"] for reading in expected["readings"]]
    )
    assert result.stderr == ("" if said else f"{source} says that it knows no figure\n")


def test_simulated_is_what_the_settings_say(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    body = payloads("pools/foundry/ok")
    assert not decode(run("try", "foundry", *body).stdout.encode()).simulated
    monkeypatch.setenv("MININGMAP_COLLECTOR__SIMULATED", "true")
    assert decode(run("try", "foundry", *body).stdout.encode()).simulated


def test_another_number_of_bodies_than_requests_is_wrong_usage(run: Run) -> None:
    result = run("try", "ckpool", *payloads("pools/ckpool/ok")[:2])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("miningmap: ckpool needs 3 payloads, the answers of https://")
    assert result.stderr.count("\n") == 1


async def test_without_a_body_the_source_is_asked(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.FileResponse:
        asked.append(request.path)
        return web.FileResponse(RECORDINGS / "pools/foundry/ok")

    app = web.Application()
    app.router.add_get("/{host}/{path:.*}", answer)
    async with TestServer(app) as server:
        monkeypatch.setenv("MININGMAP_COLLECTOR__UPSTREAM", str(server.make_url("")))
        result = await asyncio.to_thread(run, "try", "foundry")
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(asked) == 1
    message = decode(result.stdout.encode())
    assert isinstance(message, Report)
    assert (message.pool, message.source) == ("foundryusa", "foundry")


def test_a_source_that_cannot_be_reached_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MININGMAP_COLLECTOR__UPSTREAM", f"http://127.0.0.1:{unused_port()}")
    result = run("try", "foundry")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("miningmap: ")
    assert result.stderr.count("\n") == 1
