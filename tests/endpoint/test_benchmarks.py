"""The endpoint's benchmarks run and deliver every event. Their speed is not tested."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from launch.local.supervisor import bound_to_this_process
from tests.servers import ROOT

if TYPE_CHECKING:
    from tests.servers import KafkaServer, RedisServer

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="they read CPU and memory from /proc"),
]

DEADLINE_S = 120.0


async def printed(name: str, *options: str) -> list[str]:
    """Run a benchmark, which must succeed, and return the lines that it prints."""
    process = await asyncio.create_subprocess_exec(
        *bound_to_this_process([sys.executable, "-m", f"benchmarks.{name}", *options]),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(DEADLINE_S):
        output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().splitlines()


async def test_every_event_reaches_every_client(redis: RedisServer) -> None:
    assert redis.running  # so Redis is installed on this machine
    options = ("--clients", "50", "--for-s", "1", "--every-s", "0.25", "--no-hour", "--small")
    lines = await printed("stream", *options)
    assert any("| 200 of 200 |" in line for line in lines)


async def test_scrapes_are_measured_with_gzip_and_without(redis: RedisServer) -> None:
    assert redis.running
    lines = await printed("scrape", "--seconds", "1", "--small")
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    assert {"identity", "gzip"} <= set(rows)


async def test_serving_is_measured_beside_a_bare_handler(redis: RedisServer) -> None:
    assert redis.running
    lines = await printed(
        "serving", "--rounds", "1", "--round-s", "0.1", "--latency-s", "0.3", "--small"
    )
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    for answer in ("200", "200, gzip", "304"):
        assert {f"{answer}: bare handler", f"{answer}: /api/v1/shares"} <= set(rows)
    assert {"bare handler", "/api/v1/shares, gzip"} <= set(rows)


async def test_each_service_is_started_and_weighed(kafka: KafkaServer, redis: RedisServer) -> None:
    assert kafka.running
    assert redis.running
    options = ("--starts", "1", "--idle-s", "0.2", "--settled-s", "0")
    lines = await printed("footprint", *options)
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    assert {"streams", "collector", "endpoint", "notify", "aiohttp", "all"} <= set(rows)
