"""Clocks that go wrong: libfaketime (Debian's package ``faketime``) in the services' processes.

Only the wall clock is changed, never the monotonic one, as when somebody sets the time of a host.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.servers import UnavailableError

_FOLDERS: Final = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/local/lib/faketime")
_NAME: Final = "libfaketime.so.1"


def library() -> Path:
    """The library that has to be loaded.

    Raises:
        UnavailableError: it is not installed.
    """
    for pattern in _FOLDERS:
        for folder in Path("/").glob(pattern.removeprefix("/")):
            if (folder / _NAME).exists():
                return folder / _NAME
    raise UnavailableError("there is no libfaketime: install it (Debian: apt-get install faketime)")


class Clock:
    """The clock of some processes, which are started with :attr:`environment`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)
        self.environment = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: int) -> None:
        """Set the clock so many seconds ahead; negative: back."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self._file)  # a process that reads it meanwhile never sees half of it
