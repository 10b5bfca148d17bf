"""Small disks that can be full: a tmpfs, which root may mount, also in most containers of CI."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.servers import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

FILLER: Final = "filler"
_BLOCK: Final = 64 * 1024


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A new disk of that size, which is unmounted at the end.

    Raises:
        UnavailableError: this process may not mount.
    """
    folder = Path(tempfile.mkdtemp(prefix="disk-"))
    mount = shutil.which("mount", path="/usr/bin:/bin:/usr/sbin:/sbin")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        if mount is None or subprocess.run(command, check=False, capture_output=True).returncode:
            raise UnavailableError("no disk of its own can be mounted here: run it as root")
        try:
            yield folder
        finally:
            # Lazily, because a server that was killed may not have closed its files yet.
            subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S607 - see mount
    finally:
        with suppress(OSError):
            folder.rmdir()


def fill(folder: Path) -> None:
    """Write a file until there is no room left."""
    with (folder / FILLER).open("wb", buffering=0) as file, suppress(OSError):
        size = _BLOCK
        while size:
            try:
                file.write(os.urandom(size))
            except OSError:
                size //= 2


def make_room(folder: Path) -> None:
    """Remove what :func:`fill` has written."""
    (folder / FILLER).unlink()
