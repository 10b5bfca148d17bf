"""Run a command to its end, from a test that goes on meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Ended(NamedTuple):
    """What came of a command: its exit code, and its output and errors in their order."""

    code: int | None
    output: bytes


async def run_command(
    command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], within_s: float
) -> Ended:
    """Run a command; it is killed if it does not end in time.

    Raises:
        TimeoutError: it did not.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(within_s):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ended(process.returncode, output)
