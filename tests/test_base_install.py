"""The modules of the base install import without the libraries of the services."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
SERVER_LIBRARIES: Final = (
    "aiohttp",
    "aiokafka",
    "faust",
    "prometheus_client",
    "pydantic",
    "pydantic_settings",
    "redis",
    "stamina",
    "structlog",
)
NAMES: Final = [
    "miningmap",
    "miningmap.logs",
    "miningmap.messages",
    "miningmap.places",
    "miningmap.pool_names",
    "miningmap.times",
    "miningmap.units",
    "streams.beliefs",
    "streams.queries.parameters",
    "streams.queries.recompute",
    "streams.queries.shares",
]
PACKAGES: Final = ("miningmap/api", "miningmap/cbeci", "streams/method")
PROGRAM: Final = """
import importlib, sys
libraries, names = (words.split(",") for words in sys.argv[1:])
sys.modules.update(dict.fromkeys(libraries))  # each import of one of them fails
failed = {}
for name in names:
    try:
        importlib.import_module(name)
    except ImportError as error:
        failed[name] = str(error)
from miningmap import logs
logs.keep_quiet()
sys.exit("\\n".join(f"{name}: {error}" for name, error in failed.items()) or None)
"""


def test_the_base_modules_import_without_the_libraries_of_the_services() -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in PACKAGES
        for path in sorted((ROOT / package).glob("*.py"))
    ]
    assert len(names) > len(PACKAGES)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, ",".join(SERVER_LIBRARIES), ",".join(NAMES + names)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
