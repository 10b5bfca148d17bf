"""Demos that run on this machine: each announces its addresses, and commands find them.

A demo writes its addresses to a file of its own, in a folder that only its user can read, and holds
a lock on that file until it ends. A file without a lock belongs to a demo that was killed: process
ids would not tell, because they are used again.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME: Final = "miningmap"
_PREFIX: Final = "demo-"
_SUFFIX: Final = ".json"


class DemoError(Exception):
    """There is not exactly one demo, or it cannot be announced; the text is one line."""


class RunningDemo(msgspec.Struct, frozen=True):
    """The addresses of a demo: URLs, and ``HOST:PORT`` of the broker."""

    page: str
    intake: str
    bootstrap_servers: str
    redis: str


@contextmanager
def announced(demo: RunningDemo) -> Iterator[None]:
    """Make a demo known to other processes of this user until the block ends.

    Raises:
        DemoError: there is no place for that which only this user can read.
    """
    folder = _make_folder()
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=_PREFIX)
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(msgspec.json.encode(demo))
            file.flush()
            path = path.rename(path.with_suffix(_SUFFIX))  # complete and locked from the beginning
            yield
    finally:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # the folder has files of other demos
            folder.rmdir()


def only_demo() -> RunningDemo:
    """Return the demo of this user that runs now.

    Raises:
        DemoError: none does, or several do.
    """
    match running_demos():
        case []:
            raise DemoError("no demo is running; start one with: miningmap demo")
        case [demo]:
            return demo
        case several:
            pages = " and ".join(demo.page for demo in several)
            raise DemoError(
                f"several demos are running, at {pages}; end all but one, or set the broker "
                "that the right one has printed"
            )


def running_demos() -> list[RunningDemo]:
    """Return all demos of this user, and remove the files of those that were killed."""
    paths = [
        path
        for folder in _folders()
        if _is_private(folder)
        for path in sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}"))
    ]
    return [demo for path in paths if (demo := _read(path)) is not None]


def _read(path: Path) -> RunningDemo | None:
    try:
        with path.open("rb") as file:
            if _is_locked(file.fileno()):
                return msgspec.json.decode(file.read(), type=RunningDemo)
            path.unlink(missing_ok=True)
    except FileNotFoundError:  # it has just ended
        pass
    except msgspec.DecodeError:  # of another version of this software
        pass
    return None


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _folders() -> list[Path]:
    """Return the folders for announcements, the best one first; they need not exist.

    Another login of the same user may lack the first one, so files are looked for in both.
    """
    folders = [Path(tempfile.gettempdir()) / f"{_NAME}-{os.geteuid()}"]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return [Path(runtime) / _NAME, *folders] if runtime else folders


def _make_folder() -> Path:
    """Return the first folder that only this user can read, and create it if needed.

    Raises:
        DemoError: there is none.
    """
    for folder in _folders():
        with suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
        if _is_private(folder):
            return folder
    raise DemoError(f"{_folders()[-1]} is not a folder that only this user can read; remove it")


def _is_private(folder: Path) -> bool:
    """Return whether this is a folder, and not a link, that nobody else could read or prepare."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    others = status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not others
