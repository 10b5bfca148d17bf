"""Files with secrets: nobody else on the machine may be able to read or change them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_OTHERS: Final = stat.S_IROTH | stat.S_IWOTH


class ExposedFileError(Exception):
    """Others can read or change a file; the text is one line that says what to do."""


def require_private(path: Path) -> None:
    """Check that no other user of the machine can read or change a file.

    A file that others could read by its own mode is accepted where they cannot get to it:

    - in a folder that they cannot enter, or below one;
    - on a file system that is mounted for reading only, as Docker and Kubernetes mount secrets.
      Its modes cannot be changed there, and a container has no other users.

    Args:
        path: of the file; what is no regular file, such as a pipe, is accepted.

    Raises:
        ExposedFileError: others can.
        OSError: there is no such file, or it cannot be examined.
    """
    resolved = path.resolve()
    mode = resolved.stat().st_mode
    if not stat.S_ISREG(mode) or not mode & _OTHERS:
        return
    if os.statvfs(resolved).f_flag & os.ST_RDONLY:
        return
    if all(folder.stat().st_mode & stat.S_IXOTH for folder in resolved.parents):
        can = "read" if mode & stat.S_IROTH else "change"
        raise ExposedFileError(f"others can {can} {path}; run: chmod 600 {path}")
