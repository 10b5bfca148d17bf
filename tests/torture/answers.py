"""The answers after a run: the API, ``recompute`` and the brute-force model must agree.

The model is ``tests/streams/model.py``, which was written from method.md alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import httpx

from miningmap.kafka.topics import DEAD_LETTERS
from miningmap.messages import decode
from tests.servers import ROOT
from tests.streams.model import World, answer
from tests.torture.checker import differences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.torture.observed import Log
    from tests.torture.system import System

WINDOWS: Final = ("1h", "24h")


async def answer_problems(system: System, log: Log, windows: Sequence[str] = WINDOWS) -> list[str]:
    """Where the API or ``recompute`` differ from the model, as of the last whole minute."""
    as_of = datetime.now(UTC).replace(second=0, microsecond=0)
    refused = {each.origin for each in log.records if each.topic == DEAD_LETTERS}
    lines = [
        each.value
        for each in log.records
        if each.topic != DEAD_LETTERS and each.position not in refused
    ]
    file = system.folder / "messages.jsonl"
    file.write_bytes(b"\n".join(lines))
    world = World(list(map(decode, lines)))
    problems: list[str] = []
    for window in windows:
        want = await asyncio.to_thread(answer, world, window, as_of)
        served, computed = await asyncio.gather(
            _served(system, window, as_of), _recomputed(system, window, as_of)
        )
        for name, found in (("the API", served), ("recompute", computed)):
            problems += [f"{name}, {window}{each}" for each in differences(want, found)]
    return problems


async def _served(system: System, window: str, as_of: datetime) -> Any:
    async with httpx.AsyncClient(timeout=30) as client:
        parameters = {"window": window, "as_of": f"{as_of:%Y-%m-%dT%H:%M:%SZ}"}
        response = await client.get(f"{system.api}/api/v1/shares", params=parameters)
        return response.raise_for_status().json()


async def _recomputed(system: System, window: str, as_of: datetime) -> Any:
    beliefs = system.folder / "beliefs.json"
    beliefs.write_text("{}")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "launch", "recompute", str(system.folder / "messages.jsonl")),
        *("--as-of", f"{as_of:%Y-%m-%dT%H:%M:%SZ}", "--window", window, "--beliefs", str(beliefs)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, f"recompute ended with code {process.returncode}"
    return json.loads(output)
