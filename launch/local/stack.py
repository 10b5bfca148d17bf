"""The services as child processes of one command: what ``demo`` and ``up`` start."""

from __future__ import annotations

import asyncio
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec

from launch.local.supervisor import Child
from miningmap.api.models import Answer
from miningmap.http.server import url_of
from miningmap.logs import resolved_format
from miningmap.times import utc_now
from streams.method.windows import ROLLING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from miningmap.settings import Log, Settings

# A service that listens on all addresses is reached over loopback.
_LOOPBACK_OF: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
_PROBE_TIMEOUT: Final = aiohttp.ClientTimeout(total=2)
_POLL_S: Final = 0.1


def url(host: str, port: int, path: str = "") -> str:
    """Return the address of a service as this machine reaches it."""
    return url_of(_LOOPBACK_OF.get(host, host), port) + path


def log_environment(log: Log) -> dict[str, str]:
    """Return the setting that gives children the log format of this process.

    Children write into pipes, so the format ``auto`` would always mean JSON to them.
    """
    return {"MININGMAP_LOG__FORMAT": resolved_format(log)}


def services(settings: Settings, env: Mapping[str, str], config: Path | None) -> list[Child]:
    """Return the declarations of streams, endpoint and collector as child processes.

    Args:
        settings: of this process.
        env: settings of the services that differ from those of this process.
        config: the TOML file with the settings of this process, if there is one.
    """
    options = ["--config", str(config)] if config else []
    env = log_environment(settings.log) | dict(env)

    def service(name: str, host: str, port: int) -> Child:
        async def ready() -> bool:
            return await _get(url(host, port, "/healthz")) is not None

        argv = [sys.executable, "-m", "launch", *options, name]
        return Child(name, argv, env, ready, restarts=True)

    streams, endpoint, collector = settings.streams, settings.endpoint, settings.collector
    return [
        service("streams", streams.metrics_host, streams.metrics_port),
        service("endpoint", endpoint.host, endpoint.port),
        service("collector", collector.metrics_host, collector.metrics_port),
    ]


async def until_ok(address: str, within_s: float) -> None:
    """Wait until an address responds with status 200.

    Raises:
        TimeoutError: it did not do so within ``within_s`` seconds.
    """
    try:
        async with asyncio.timeout(within_s):
            while await _get(address) is None:  # noqa: ASYNC110 - another process decides
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise TimeoutError(f"{address} did not answer 200 within {within_s:g} s") from None


async def until_every_window_has_shares(page: str, within_s: float) -> None:
    """Wait until the endpoint has shares for each rolling window, as of now or later.

    Raises:
        TimeoutError: a window has none within ``within_s`` seconds.
    """
    since = utc_now()
    address = ""
    try:
        async with asyncio.timeout(within_s):
            for window in ROLLING:
                address = f"{page}/api/v1/shares?window={window}"
                while not await _has_shares(address, since):  # noqa: ASYNC110 - as above
                    await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise TimeoutError(f"{address} had no shares after {within_s:g} s") from None


async def _has_shares(address: str, since: datetime) -> bool:
    body = await _get(address)
    if body is None:
        return False
    answer = msgspec.json.decode(body, type=Answer)
    return bool(answer.shares) and answer.as_of > since


async def _get(address: str) -> bytes | None:
    """Return the body of an address that responds with status 200, else ``None``."""
    try:
        async with (
            aiohttp.ClientSession(timeout=_PROBE_TIMEOUT) as session,
            session.get(address) as response,
        ):
            return await response.read() if response.status == HTTPStatus.OK else None
    except (aiohttp.ClientError, TimeoutError):
        return None
