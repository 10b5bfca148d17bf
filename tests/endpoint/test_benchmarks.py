"""The endpoint's benchmarks run, and lose nothing on the way; how fast it is, a test cannot say."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from launch.local.supervisor import bound_to_this_process
from tests.servers import ROOT

if TYPE_CHECKING:
    from tests.servers import RedisServer

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="they read CPU and memory from /proc"),
]

DEADLINE_S = 120.0


async def printed(name: str, *options: str) -> list[str]:
    """What a benchmark prints, which has to end well."""
    process = await asyncio.create_subprocess_exec(
        *bound_to_this_process([sys.executable, "-m", f"benchmarks.{name}", *options]),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(DEADLINE_S):
        said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode().splitlines()


async def test_every_event_reaches_every_client(redis: RedisServer) -> None:
    assert redis.running  # so that there is one on this machine
    options = ("--clients", "100", "--for-s", "3", "--every-s", "0.5", "--no-hour")
    lines = await printed("stream", *options)
    assert any("| 600 of 600 |" in line for line in lines)


async def test_serving_is_measured_beside_a_bare_handler(redis: RedisServer) -> None:
    assert redis.running
    lines = await printed("serving", "--rounds", "1", "--round-s", "0.2", "--latency-s", "1")
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    assert {"bare handler", "/api/v1/shares", "/api/v1/shares, gzip"} <= set(rows)
