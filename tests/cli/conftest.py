"""Fixtures that run the command line in this process, and its input files."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

import pytest
import structlog
from click.testing import CliRunner, Result

from launch.cli import main
from miningmap.logs import keep_quiet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REPORTS = """\
{"schema":"report/1","pool":"foundryusa","source":"partner","start":"2026-11-22T14:00:00Z",\
"end":"2026-11-22T14:59:30Z","hold_s":300,"hashrate":200e18,"places":[\
{"code":"US-TX","hashrate":60e18,"kind":"measured"},{"code":"CN-ZJ","hashrate":20e18,\
"kind":"measured"},{"code":"CN-SC","hashrate":80e18,"kind":"measured"}],\
"fetched_at":"2026-11-22T15:00:02Z","simulated":true}
{"schema":"network/1","source":"mempool","start":"2026-11-22T14:00:00Z",\
"end":"2026-11-22T14:59:30Z","hold_s":1800,"hashrate":800e18,\
"fetched_at":"2026-11-22T15:00:02Z","simulated":true}

{"schema":"report/1","pool":"ocean","source":"ocean","start":"2026-11-22T15:59:30+01:00",\
"end":"2026-11-22T16:00:00+01:00","hold_s":0,"hashrate":40e18,"places":[],\
"fetched_at":"2026-11-22T15:00:02Z","simulated":true}
"""


class Run(Protocol):
    """Run ``miningmap`` with these arguments; a traceback fails the test."""

    def __call__(self, *args: str | Path) -> Result: ...


@pytest.fixture
def run() -> Iterator[Run]:
    def invoke(*args: str | Path) -> Result:
        words = [str(arg) for arg in args]
        return CliRunner().invoke(main, words, catch_exceptions=False, prog_name="miningmap")

    aiokafka = logging.getLogger("aiokafka")
    level, configuration = aiokafka.level, structlog.get_config()
    keep_quiet()  # servers of a test log in this process
    yield invoke
    # A command configures logging for the whole process, which also runs all other tests.
    aiokafka.setLevel(level)
    structlog.configure(**configuration)


@pytest.fixture
def messages(tmp_path: Path) -> Path:
    """A file with three messages and an empty line."""
    path = tmp_path / "messages.jsonl"
    path.write_text(REPORTS)
    return path
