"""The system's Chromium, for tests that look at the page."""

from __future__ import annotations

import os
import shutil
from typing import Final

from tests.conftest import missing

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS: Final = [
    "--no-sandbox",  # the tests may run as root, and open only their own page
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
]


def chromium() -> str:
    """Return the path of the browser; without one, skip the test, or fail it in CI."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise missing(
        "there is no Chromium; on Debian: apt-get install chromium", os.environ.get("CI", "")
    )
