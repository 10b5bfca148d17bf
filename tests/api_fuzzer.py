"""Runs schemathesis: valid and invalid requests by an OpenAPI document, the same each time."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.commands import run_command

if TYPE_CHECKING:
    from collections.abc import Mapping

DEADLINE_S = 300.0


async def finds_nothing(
    *arguments: str, examples: int, folder: Path, environment: Mapping[str, str] | None = None
) -> None:
    """Check that schemathesis finds no fault.

    It has one worker, because Python 3.11 can fail to parse code in several threads at once, and
    runs in a new folder, because it would repeat failures that it finds stored in the current one.

    Args:
        arguments: of schemathesis, after those that all runs have.
        examples: how many random requests each operation gets, beside those that schemathesis
            derives from the schemas.
        folder: a new one.
        environment: variables in addition to those of this process.
    """
    ended = await run_command(
        [
            Path(sys.executable).with_name("schemathesis"),
            *("--no-color", *arguments),
            *("--seed", "1", "--max-examples", str(examples), "--workers", "1"),
        ],
        cwd=folder,
        env=os.environ | (environment or {}),
        within_s=DEADLINE_S,
    )
    assert ended.code == 0, ended.output.decode()
