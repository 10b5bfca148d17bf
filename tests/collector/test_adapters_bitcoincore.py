"""The operator's own Bitcoin Core node: requests, credentials, and accepted responses."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from collector.http.fetcher import Fetcher
from collector.metrics import Metrics
from collector.polling.reports import parse_readings
from collector.registry import choose, load
from collector.sources.base import (
    CredentialsError,
    NetworkReading,
    PermanentError,
    Rate,
    Request,
    SourceError,
    TransientError,
)
from collector.sources.credentials import Credentials
from miningmap.settings import Collector, SettingsError
from tests.cases import all_cases
from tests.collector.recordings import sources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from collector.sources.base import Source

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
NODES: Final = ("network/bitcoincore", "network/bitcoincore_mininginfo")
COOKIE: Final = "__cookie__:0123456789abcdef"
# base64 of "alice:open sesame" and of the cookie
ALICE: Final = "Basic YWxpY2U6b3BlbiBzZXNhbWU="
COOKIE_HEADER: Final = "Basic X19jb29raWVfXzowMTIzNDU2Nzg5YWJjZGVm"


class Node:
    """A node's JSON-RPC over real HTTP: 401 without the right credentials, 500 with an error."""

    def __init__(self) -> None:
        self.authorization = ALICE
        self.error: dict[str, object] | None = None
        self.chain: dict[str, object] = {"chain": "main", "initialblockdownload": False}
        self.calls: list[tuple[str, list[int]]] = []
        app = web.Application()
        app.router.add_post("/", self._handle)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.server.make_url("/"))

    async def _handle(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != self.authorization:
            return web.Response(status=401)
        call = json.loads(await request.read())
        self.calls.append((call["method"], call["params"]))
        if self.error:
            answer = {"result": None, "error": self.error, "id": call["id"]}
            return web.json_response(answer, status=500)
        results = {
            "getblockchaininfo": self.chain,
            "getnetworkhashps": 9.3e20,
            "getmininginfo": {"networkhashps": 9.3e20, "chain": "main", "warnings": "old"},
        }
        return web.json_response(
            {"result": results[call["method"]], "error": None, "id": call["id"]}
        )


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node()
    async with node.server:
        yield node


def credentials(source: Source, **given: str) -> Credentials:
    return Credentials({source.slug: {name: SecretStr(text) for name, text in given.items()}})


async def poll(path: str, **given: str) -> list[object]:
    source = replace(load(path), rate=Rate(1000, 1))  # the second request is sent at once
    secrets = credentials(source, **given)
    configured = replace(secrets.configured(source), rate=source.rate)
    metrics = Metrics(CollectorRegistry())
    async with Fetcher(Collector(), metrics, credentials=secrets) as fetcher:
        return list(parse_readings(configured, await fetcher.fetch(configured)))


@pytest.mark.parametrize("path", NODES)
async def test_requests_are_authorised_with_user_and_password(node: Node, path: str) -> None:
    readings = await poll(path, url=node.url, user="alice", password="open sesame")
    assert readings == [NetworkReading(9.3e20)]


async def test_the_hashrate_is_the_mean_of_the_latest_120_blocks(node: Node) -> None:
    await poll(NODES[0], url=node.url, user="alice", password="open sesame")
    assert node.calls == [("getblockchaininfo", []), ("getnetworkhashps", [120, -1])]


async def test_the_cookie_file_is_read_at_each_poll(node: Node, tmp_path: Path) -> None:
    cookie = tmp_path / ".cookie"
    for content, header in [(COOKIE, COOKIE_HEADER), ("alice:open sesame\n", ALICE)]:
        cookie.write_text(content)
        node.authorization = header
        assert await poll(NODES[0], url=node.url, cookie_file=str(cookie))


async def test_a_missing_cookie_file_fails_the_poll_and_not_the_start(
    node: Node, tmp_path: Path
) -> None:
    cookie = str(tmp_path / ".cookie")
    secrets = credentials(load(NODES[0]), url=node.url, cookie_file=cookie)
    assert "bitcoincore" in {s.slug for s in choose(sources(), Collector(), secrets)}
    with pytest.raises(
        CredentialsError, match=r"COOKIE_FILE: cannot read .*\.cookie: No such file"
    ):
        await poll(NODES[0], url=node.url, cookie_file=cookie)


async def test_wrong_credentials_are_an_error_that_does_not_quote_them(node: Node) -> None:
    with pytest.raises(CredentialsError, match=r"HTTP 401") as caught:
        await poll(NODES[0], url=node.url, user="alice", password="sesame")
    assert "sesame" not in str(caught.value)
    assert node.calls == []


@pytest.mark.parametrize("given", [{}, {"user": "alice"}, {"password": "open sesame"}])
async def test_without_credentials_no_request_is_sent(node: Node, given: dict[str, str]) -> None:
    with pytest.raises(CredentialsError, match=r"set user and password, or cookie_file") as caught:
        await poll(NODES[0], url=node.url, **given)
    assert caught.value.reason == "unauthorized"
    assert node.calls == []


async def test_a_starting_node_is_a_transient_error(node: Node) -> None:
    node.error = {"code": -28, "message": "Loading block index…"}
    with pytest.raises(TransientError):
        await poll(NODES[0], url=node.url, user="alice", password="open sesame")


@pytest.mark.parametrize("path", NODES)
async def test_a_node_in_initial_block_download_has_no_reading(node: Node, path: str) -> None:
    node.chain = {"chain": "main", "initialblockdownload": True}
    assert await poll(path, url=node.url, user="alice", password="open sesame") == []


@pytest.mark.parametrize("path", NODES)
@pytest.mark.parametrize("chain", ["test", "testnet4", "signet", "regtest"])
async def test_a_node_on_a_test_chain_is_rejected(node: Node, path: str, chain: str) -> None:
    node.chain = {"chain": chain, "initialblockdownload": False}
    with pytest.raises(PermanentError, match=f"follows the chain '{chain}', not 'main'"):
        await poll(path, url=node.url, user="alice", password="open sesame")


def answer(result: object) -> bytes:
    return json.dumps({"result": result, "error": None, "id": "miningmap"}).encode()


SYNCED: Final = answer({"chain": "main", "initialblockdownload": False})


@all_cases("warnings", ["", "old: This is a pre-release", [], ["one", "two"]])
def test_warnings_may_be_text_or_a_list(warnings: object) -> None:
    info = {"networkhashps": 934512955213370500000, "chain": "main", "warnings": warnings}
    readings = parse_readings(load(NODES[1]), [SYNCED, answer(info)])
    assert readings == [NetworkReading(9.345129552133705e20)]


def test_mining_info_of_a_test_chain_is_rejected() -> None:
    info = {"networkhashps": 1.5e15, "chain": "signet"}
    with pytest.raises(PermanentError, match="'signet'"):
        parse_readings(load(NODES[1]), [SYNCED, answer(info)])


@all_cases(
    ("result", "readings"),
    [(9.3e20, [NetworkReading(9.3e20)]), (930, [NetworkReading(930.0)]), (0, []), (-1, [])],
)
def test_a_hashrate_of_0_or_less_is_unknown(result: float, readings: list[NetworkReading]) -> None:
    assert parse_readings(load(NODES[0]), [SYNCED, answer(result)]) == readings


def test_an_error_with_status_200_is_a_transient_error() -> None:
    error = json.dumps({"result": None, "error": {"code": -28, "message": "Rewinding blocks…"}})
    with pytest.raises(TransientError, match="-28 Rewinding"):
        parse_readings(load(NODES[0]), [error.encode()] * 2)


@all_cases("path", NODES)
@all_cases(
    ("url", "error"),
    [
        ("http://alice:sesame@127.0.0.1:8332/", r"__PASSWORD"),
        ("http://alice@127.0.0.1:8332/", r"__PASSWORD"),
        ("127.0.0.1:8332", "must be like http://127.0.0.1:8332/"),
        ("ftp://127.0.0.1/", "must be like"),
        ("http://", "must be like"),
        ("http://127.0.0.1:sesame/", "must be like"),
    ],
)
def test_an_invalid_url_or_one_with_credentials_stops_the_start(
    path: str, url: str, error: str
) -> None:
    source = load(path)
    secrets = credentials(source, url=url, cookie=COOKIE)
    name = f"MININGMAP_CREDENTIALS__{source.slug.upper()}__URL: "
    with pytest.raises(SettingsError, match=f"^{name}.*{error}") as caught:
        choose(sources(), Collector(), secrets)
    assert "sesame" not in str(caught.value)


def test_a_node_is_polled_once_its_url_is_set() -> None:
    secrets = credentials(load(NODES[0]), url="https://node.example:8332/rpc", cookie=COOKIE)
    (chosen,) = [s for s in choose(sources(), Collector(), secrets) if s.slug == "bitcoincore"]
    assert {request.url for request in chosen.requests} == {"https://node.example:8332/rpc"}
    assert chosen.requests[1].body == load(NODES[0]).requests[1].body


@all_cases(
    ("secrets", "header"),
    [
        ({"user": "alice", "password": "open sesame"}, ALICE),
        ({"cookie": COOKIE}, COOKIE_HEADER),
        ({"user": "alice", "password": "open sesame", "cookie": COOKIE}, ALICE),
        ({"user": "alice", "cookie": COOKIE}, COOKIE_HEADER),
    ],
)
def test_credentials_are_only_in_the_header(secrets: Mapping[str, str], header: str) -> None:
    authorise = load(NODES[0]).authorise
    assert authorise is not None
    request = Request("http://127.0.0.1:8332/", headers={"X": "kept"}, body=b"kept")
    signed = authorise(request, secrets, NOW)
    assert signed == replace(request, headers={"X": "kept", "Authorization": header})
    assert not any(secret in repr(signed) for secret in secrets.values())


def test_errors_name_the_source() -> None:
    with pytest.raises(SourceError) as caught:
        parse_readings(load(NODES[0]), [answer({}), answer(1)])
    assert caught.value.source == "bitcoincore"
