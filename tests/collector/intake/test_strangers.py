"""What the intake does for those without a token, and how little any request can cost or draw."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import zlib
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, cast

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from collector.intake.app import intake_app
from collector.intake.encoding import decoded
from collector.intake.ledger import Ledger
from collector.intake.partners import Partner
from collector.intake.rate_limit import FAILURES, FailedLogins, RateLimiter
from collector.intake.refusals import MAX_LISTED, MAX_TEXT, RefusedError
from collector.metrics import Metrics
from launch.local.embedded import free_port
from miningmap.cbeci import contribution
from miningmap.http.clients import FORWARDED, Clients
from miningmap.http.connections import Limits
from miningmap.http.server import serving
from miningmap.live_rows import PATH
from miningmap.rows import MAX_BODY, MAX_ROWS
from miningmap.settings import Retention
from tests.clock import Clock
from tests.collector.intake.fakes import HEADER, NOW, TOKEN, Kafka, Past
from tests.http.attackers import (
    HERE,
    MANY,
    Reply,
    ask,
    attacking,
    reply_of,
    until_refused_or_closed,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

PACKED = "Content-Encoding: gzip"
LONGEST_S = 0.4  # how long the event loop may be busy, on a slow machine; a bomb took seconds


class Intake:
    """An intake as it is served, without a ledger, which live rows do not need."""

    def __init__(self, trusted: tuple[str, ...] = ()) -> None:
        self.kafka = Kafka()
        self.port = free_port()
        self.registry = CollectorRegistry()
        self.slowest_s = 0.0
        clients = Clients([ip_network(network) for network in trusted])
        self._limits = Limits(connections=50, per_client=50, clients=clients)
        self._app = intake_app(
            lambda token: Partner("partner-1", "foundryusa", 7) if token == TOKEN else None,
            self.kafka.publish,
            Ledger(cast("Redis", None)),
            RateLimiter([]),
            known=Past().known_past,
            retention=Retention(),
            metrics=Metrics(self.registry),
            simulated=True,
            clients=clients,
            now=lambda: NOW,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Intake]:
        """Serve during the block, and note for how long the event loop was busy at most."""
        async with (
            serving(self._app, HERE, self.port, "INTAKE__PORT", limits=self._limits),
            asyncio.TaskGroup() as tasks,
        ):
            ticking = tasks.create_task(self._tick())
            yield self
            ticking.cancel()

    async def _tick(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.01)
            self.slowest_s = max(self.slowest_s, time.perf_counter() - before - 0.01)

    async def post(self, body: bytes, *headers: str, path: str = PATH, more: bytes = b"") -> Reply:
        lines = (f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", *headers)
        length = f"Content-Length: {len(body) + len(more)}"
        head = "\r\n".join([*lines, length, "Connection: close", "", ""]).encode()
        return await ask(self.port, head + body, within_s=30)

    def count(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def intake() -> Intake:
    return Intake()


def row(**changes: object) -> dict[str, Any]:
    fields = {
        "start": "2020-03-01T11:58:00Z",
        "end": "2020-03-01T11:59:00Z",
        "hashrate": 1e18,
        "places": [{"code": "US", "hashrate": 1e18}],
    }
    return fields | changes


def bomb(megabytes: int) -> bytes:
    """The beginning of a gzip file, of about a thousandth of its content."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first, other = (
        packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2)
    )
    return first + other * (megabytes - 1)


# --- bodies ---------------------------------------------------------------------------------------


async def test_a_bomb_without_a_token_is_not_decompressed(intake: Intake) -> None:
    packed = bomb(1000)
    async with intake.running():
        reply = await intake.post(packed, PACKED)
    assert reply.status == 401
    assert "Connection: close" in reply.head
    assert intake.slowest_s < LONGEST_S


async def test_a_bomb_with_a_token_is_413_before_it_costs_anything(intake: Intake) -> None:
    packed = bomb(1000)
    async with intake.running():
        for _ in range(3):
            assert (await intake.post(packed, PACKED, HEADER)).status == 413
    assert intake.slowest_s < LONGEST_S


async def test_after_401_the_connection_is_closed_without_reading_the_body(intake: Intake) -> None:
    async with intake.running(), attacking(intake.port) as strangers:
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n".encode()
        await strangers.connect(1, head)
        waiting = asyncio.create_task(until_refused_or_closed(strangers.sockets[0]))
        while not waiting.done():
            strangers.drip(bytes(65536))
            await asyncio.wait([waiting], timeout=0.01)
        assert reply_of(await waiting).status == 401


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, lambda b: zlib.compress(b)[2:-4]])
async def test_compressed_rows_are_accepted(intake: Intake, pack: Any) -> None:
    coding = "gzip" if pack is gzip.compress else "deflate"
    async with intake.running():
        body = pack(json.dumps([row()]).encode())
        reply = await intake.post(body, HEADER, f"Content-Encoding: {coding}")
    assert (reply.status, json.loads(reply.body)) == (200, {"accepted": 1})
    assert len(intake.kafka.messages) == 1


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "gzip,", "x" * 300])
@pytest.mark.parametrize("path", [PATH, contribution.PATH])
async def test_another_coding_is_415_with_those_that_are_understood(
    intake: Intake, coding: str, path: str
) -> None:
    async with intake.running():
        reply = await intake.post(b"[]", HEADER, f"Content-Encoding: {coding}", path=path)
    assert reply.status == 415
    assert "Accept-Encoding: gzip, deflate, identity" in reply.head
    assert b"Content-Encoding should be one of gzip, deflate, identity" in reply.body


def refused(packed: bytes) -> tuple[int, str]:
    with pytest.raises(RefusedError) as caught:
        decoded(packed, 31)
    return caught.value.refusal.status, str(caught.value)


def test_what_is_compressed_may_have_parts_but_not_endlessly_many() -> None:
    part = gzip.compress(b"[]")
    assert decoded(part * 16, 31) == b"[]" * 16
    assert refused(part * 17) == (
        400,
        "the body could not be read to its end: it has too many compressed parts",
    )
    assert refused(part[:-1])[1].endswith("its compressed data is cut off")
    assert refused(part + b"no gzip")[1].endswith("it cannot be decompressed")
    assert refused(b"no gzip!")[1].endswith("it cannot be decompressed")


def test_the_limit_is_for_the_decompressed_body() -> None:
    assert len(decoded(gzip.compress(bytes(MAX_BODY)), 31)) == MAX_BODY
    assert refused(gzip.compress(bytes(MAX_BODY + 1)))[0] == 413
    half = gzip.compress(bytes(MAX_BODY // 2))
    assert refused(half + half + gzip.compress(b"x"))[0] == 413


@pytest.mark.parametrize(("header", "asked"), [(HEADER, True), ("Authorization: Bearer x", False)])
async def test_only_those_with_a_token_are_asked_for_a_body(
    intake: Intake, header: str, *, asked: bool
) -> None:
    body = json.dumps([row()]).encode()
    async with intake.running(), asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(HERE, intake.port)
        lines = (f"POST {PATH} HTTP/1.1", "Host: x", "Content-Type: application/json", header)
        expected = (f"Content-Length: {len(body)}", "Expect: 100-continue", "", "")
        writer.write("\r\n".join([*lines, *expected]).encode())
        first = await reader.readline()
        assert first.split()[1] == (b"100" if asked else b"401")
        if asked:
            writer.write(body)
            await reader.readline()
            assert (await reader.readline()).split()[1] == b"200"
        writer.close()


async def test_a_token_may_have_few_requests_at_work(intake: Intake) -> None:
    async with intake.running(), attacking(intake.port, MANY) as senders:
        lines = (f"POST {PATH} HTTP/1.1", "Host: x", "Content-Type: application/json", HEADER)
        await senders.connect(10, "\r\n".join([*lines, "Content-Length: 99", "", ""]).encode())
        while len(replies := await refusals(intake)) < 3:
            pass
        assert {reply.status for reply in replies} == {429}
        assert b"10 requests at a time" in replies[0].body
        senders.close()
        async with asyncio.timeout(10):
            while (await intake.post(b"[]", HEADER)).status != 200:
                pass


async def refusals(intake: Intake) -> list[Reply]:
    replies = [await intake.post(b"[]", HEADER) for _ in range(3)]
    return [reply for reply in replies if reply.status != 200]


# --- logins ---------------------------------------------------------------------------------------


async def test_wrong_tokens_are_limited_by_address_counted_and_logged_once(intake: Intake) -> None:
    with capture_logs() as logs:
        async with intake.running():
            for _ in range(FAILURES.requests):
                assert (await intake.post(b"[]", "Authorization: Bearer x")).status == 401
            reply = await intake.post(b"[]", "Authorization: Bearer x")
            assert reply.status == 429
            assert "Connection: close" in reply.head
            assert "Retry-After: " in reply.head
            assert (await intake.post(b"[]", HEADER)).status == 200
    name = "miningmap_intake_failed_logins_total"
    assert [intake.count(name, status=status) for status in ("401", "429")] == [30, 1]
    failed = [entry for entry in logs if entry["event"] == "intake_login_failed"]
    assert [(entry["client"], entry["count"]) for entry in failed] == [("127.0.0.1", 1)]


async def test_behind_a_trusted_proxy_each_client_has_a_limit_of_its_own() -> None:
    intake = Intake(trusted=("127.0.0.0/8",))
    async with intake.running():
        for address in ("192.0.2.1", "192.0.2.2:567"):
            forwarded = f"{FORWARDED}: {address}"
            statuses = [(await intake.post(b"", forwarded)).status for _ in range(31)]
            assert statuses == [401] * 30 + [429]


class Stranger:
    """As much of a request as tells whose it is."""

    def __init__(self, remote: str) -> None:
        self.remote = remote
        self.headers: dict[str, str] = {}


def test_a_minute_later_an_address_may_try_again_and_few_addresses_are_remembered() -> None:
    clock = Clock()
    failures = FailedLogins(Clients(), clock)
    one: Any = Stranger("192.0.2.1")
    assert [failures.wait_s(one) for _ in range(32)] == [0] * 30 + [60, 60]
    clock.now += 60
    assert failures.wait_s(one) == 0
    for number in range(20_000):
        others: Any = Stranger(f"10.0.{number >> 8}.{number & 255}")
        failures.wait_s(others)
    assert len(failures._quotas) == 10_000


# --- answers --------------------------------------------------------------------------------------

LONG = "x" * 1_000_000
REFUSED: dict[str, Any] = {
    "empty rows": [{}] * 300_000,
    "numbers": [1] * 400_000,
    "many places": [row(places=[{"code": "XX", "hashrate": 1}] * 20_000)],
    "places of another kind": [row(places=[1] * 400_000)],
    "unknown fields": [row(**{f"{'y' * 70}{number}": 1 for number in range(11_000)})],
    "a long field": [row(**{LONG: 1})],
    "a long code": [row(places=[{"code": LONG, "hashrate": 1}])],
    "long codes": [row(places=[{"code": "x" * 900, "hashrate": 1}]) for _ in range(900)],
    "a long time": [row(start=LONG)],
    "misspelt codes": [row(places=[{"code": f"U{n}", "hashrate": 1}]) for n in range(5000)],
    "the same time": [row(hashrate=1e18 + 1e9 * number) for number in range(6000)],
}


@pytest.mark.parametrize("name", REFUSED)
async def test_no_rows_draw_a_large_answer_or_a_long_line_in_the_log(
    intake: Intake, name: str
) -> None:
    body = json.dumps(REFUSED[name], separators=(",", ":")).encode()
    assert len(body) < MAX_BODY
    with capture_logs() as logs:
        async with intake.running():
            reply = await intake.post(body, HEADER)
    assert reply.status in {413, 422}
    assert len(reply.body) < 2 * MAX_LISTED
    assert max(len(str(value)) for entry in logs for value in entry.values()) <= MAX_TEXT
    assert intake.kafka.messages == []


async def test_no_rows_of_cambridge_draw_a_large_answer(intake: Intake) -> None:
    fields = {"period": "daily", "province": None, "average_hashrate": 1, "unit": "eh/s"}
    bodies = [
        [fields | {"period_start_date": "2020-01-01", "country": f"Chyna{n}"} for n in range(6000)],
        [fields | {"period_start_date": "2020-01-01", "country": "y" * 900} for _ in range(900)],
        [fields | {"period_start_date": "2020-01-01", "country": LONG}],
        [fields | {"period_start_date": LONG, "country": "US"}],
    ]
    async with intake.running():
        for rows in bodies:
            body = json.dumps({"data": rows}, separators=(",", ":")).encode()
            reply = await intake.post(body, HEADER, path=contribution.PATH)
            assert reply.status == 422
            assert len(reply.body) < 2 * MAX_LISTED
    assert intake.slowest_s < LONGEST_S


async def test_more_rows_than_can_be_valid_are_413(intake: Intake) -> None:
    async with intake.running():
        reply = await intake.post(json.dumps([1] * (MAX_ROWS + 1)).encode(), HEADER)
    assert reply.status == 413
    assert b"more than 10000 rows; send them in several requests" in reply.body
