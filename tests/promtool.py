"""Prometheus' own linter of metrics."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Final

from tests.conftest import missing

WITHIN_S: Final = 30


def faults(text: str) -> str:
    """Return what it finds in the answer to a scrape; nothing if all is well."""
    program = shutil.which("promtool")
    if program is None:
        error = "there is no promtool: install it (Debian: apt-get install prometheus)"
        raise missing(error, os.environ.get("CI", ""))
    done = subprocess.run(
        [program, "check", "metrics"],
        check=False,
        input=text,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )
    return done.stdout + done.stderr
