"""The spool of live rows on the disk of the pool, and the file of rows that were refused."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from miningmap import spool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import BinaryIO

    from miningmap.spool import SpooledRow

REFUSED: Final = "refused.jsonl"
MAX_REFUSED: Final = 1 << 24
"""Bytes in the file of refused rows; a full one replaces the one before."""


class Spool(spool.Spool):
    """Live rows (JSON) until the intake has accepted or refused them."""

    own_folder: ClassVar[str] = "give each its own by --spool"

    @property
    def refused_file(self) -> Path:
        """The file of rows that were refused for good."""
        return self._folder / REFUSED

    def refuse(self, refused: Mapping[SpooledRow, str]) -> None:
        """Move rows to the file of refused rows, each with the reason.

        If the process ends in between, a row is in both, and is refused again.

        Raises:
            SpoolError: they cannot be moved.
        """
        with self._errors():
            self._append_refused(refused)
        self.remove(list(refused))

    def _append_refused(self, refused: Mapping[SpooledRow, str]) -> None:
        path = self.refused_file
        with suppress(FileNotFoundError):
            if path.stat().st_size > MAX_REFUSED:
                path.replace(path.with_suffix(".1.jsonl"))
        with path.open("ab+") as file:
            if not _ends_with_line(file):
                file.write(b"\n")
            for spooled, reason in refused.items():
                row = msgspec.Raw(spooled.row)
                file.write(msgspec.json.encode({"reason": reason, "row": row}) + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _ends_with_line(file: BinaryIO) -> bool:
    """Whether the next line can begin here; not after a line that a power cut has torn."""
    if not file.seek(0, os.SEEK_END):
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
