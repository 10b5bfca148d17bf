"""The whole system as processes of one command: what ``demo`` and ``up`` start."""

from __future__ import annotations

import asyncio
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import aiohttp

from launch.local.supervisor import Child

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from miningmap.settings import Settings

_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


def url(host: str, port: int, path: str = "") -> str:
    """An address of one of the services, as this machine reaches it."""
    host = _ANY.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"


def services(settings: Settings, env: Mapping[str, str], config: Path | None) -> list[Child]:
    """Streams, endpoint and collector.

    Args:
        settings: as this process has them.
        env: what the services are to have otherwise.
        config: the TOML file that the settings are from, so that the services have them too.
    """
    given = ["--config", str(config)] if config else []

    def service(name: str, host: str, port: int) -> Child:
        async def ready() -> bool:
            return await is_ok(url(host, port, "/healthz"))

        return Child(name, [sys.executable, "-m", "launch", *given, name], env, ready)

    streams, endpoint, collector = settings.streams, settings.endpoint, settings.collector
    return [
        service("streams", streams.metrics_host, streams.metrics_port),
        service("endpoint", endpoint.host, endpoint.port),
        service("collector", collector.metrics_host, collector.metrics_port),
    ]


async def is_ok(address: str) -> bool:
    """Whether an address answers 200 right now."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session,
            session.get(address) as answer,
        ):
            return answer.status == HTTPStatus.OK
    except (aiohttp.ClientError, TimeoutError):
        return False


async def until_ok(address: str, within_s: float) -> None:
    """Wait until an address answers 200.

    Raises:
        TimeoutError: it did not in time.
    """
    try:
        async with asyncio.timeout(within_s):
            while not await is_ok(address):  # noqa: ASYNC110 - another process decides
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise TimeoutError(f"{address} was not 200 after {within_s:g} s") from None
