"""A spool: entries on a disk of this machine until somebody else has taken them.

It is a SQLite database, whose commits survive a kill and a power cut (write-ahead log, synchronous
``FULL``). One process at a time uses a spool; a lock on a file ensures that. It is bounded: if it
is full, the oldest entries go first.

A spool that could not be written, such as on a full disk, can be used again as soon as there is
room: whatever failed changed nothing.
"""

from __future__ import annotations

import fcntl
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

ROW_OVERHEAD: Final = 64
"""Bytes that a row counts beside its content, for what the database keeps with it."""

_DATABASE: Final = "spool.sqlite3"
_DAMAGED: Final = "damaged-"
_VERSION: Final = 1
_PAGE: Final = 16_384
"""Bytes of a page of the database; in the usual 4096 there would be room for one row of a pool."""
_LOG_PAGES: Final = 256
"""The log has about so many pages before they are merged into the database."""
_SCHEMA: Final = (
    """
    CREATE TABLE rows (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT UNIQUE,
        expires REAL NOT NULL,
        row BLOB NOT NULL
    )
    """,
    "CREATE INDEX expiring ON rows (expires)",
)


class SpoolError(Exception):
    """The spool cannot be used; the text is one line."""


class NewRow(NamedTuple):
    """A row to keep.

    Attributes:
        row: its content.
        expires: from when nobody has a use for it, in seconds since the epoch.
        key: of rows with the same key only the latest is kept; ``None`` for a row of its own.
    """

    row: bytes
    expires: float
    key: str | None


class Added(NamedTuple):
    """What became of new rows: their ids, and how many of the oldest rows made room for them."""

    ids: Sequence[int]
    dropped: int


class SpooledRow(NamedTuple):
    """A row in the spool; ids rise in the order in which rows were added."""

    id: int
    row: bytes


class Spool:
    """The rows in one folder, in the order in which they were added.

    Attributes:
        size: what counts towards the limit, in bytes.
        set_aside: the name of a damaged database that was set aside, so that this one is empty.
    """

    own_folder: ClassVar[str] = "give each its own folder"
    """What to do if another process uses the folder."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Open the spool, and create it if needed.

        Args:
            folder: of the spool, on a disk of this machine.
            max_bytes: the limit of its size.

        Raises:
            SpoolError: the folder cannot be written, or another process uses it.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self.set_aside: str | None = None
        with self._errors():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _locked(folder, self.own_folder)
            try:
                self._database = self._opened()
                self._count, self.size = self._counted()
            except BaseException:
                self._lock.close()
                raise

    def close(self) -> None:
        """Close the spool; its rows stay."""
        try:
            with suppress(sqlite3.Error):  # whatever is wrong, nothing is left to be written
                self._database.close()
        finally:
            self._lock.close()

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._count

    @property
    def has_room(self) -> bool:
        """Whether at least half of the limit is left."""
        return self.size <= self._max_bytes / 2

    def add(self, rows: Sequence[NewRow]) -> int:
        """Add rows as :meth:`append` does, and return how many of the oldest were dropped."""
        return self.append(rows).dropped

    def append(self, rows: Sequence[NewRow], *, keep_until: int = 0) -> Added:
        """Add rows, which are on the disk when this returns; a full spool drops its oldest rows.

        Args:
            rows: to add.
            keep_until: rows up to the one with this id are not dropped, because they are on their
                way.

        Raises:
            SpoolError: they cannot be written; none was added, and none was dropped.
        """
        with self._changes():
            ids = [self._replace(row) for row in rows]
            dropped = self._oldest_of(self.size - self._max_bytes, keep_until)
            for id_ in dropped:
                self._delete("id = ?", id_)
        return Added(ids, len(dropped))

    def oldest(self, max_rows: int, max_bytes: int, *, after: int = 0) -> list[SpooledRow]:
        """Return the oldest rows: at least one if there is any, else as many as fit.

        Args:
            max_rows: the most rows.
            max_bytes: the most bytes, each row with one for a separator.
            after: the id of the last row to leave out.

        Raises:
            SpoolError: the spool cannot be read.
        """
        taken: list[SpooledRow] = []
        left = max_bytes
        with self._errors():
            for row in self._from_oldest(after):
                left -= len(row.row) + 1
                if taken and (left < 0 or len(taken) == max_rows):
                    break
                taken.append(row)
        return taken

    def remove(self, rows: Iterable[SpooledRow]) -> None:
        """Remove rows, because somebody else has taken them.

        Raises:
            SpoolError: they cannot be removed; all of them are still there.
        """
        with self._changes():
            for row in rows:
                self._delete("id = ?", row.id)

    def expire(self, now: float) -> int:
        """Drop the rows that nobody has a use for at this time, and return how many.

        Raises:
            SpoolError: they cannot be dropped.
        """
        with self._changes():
            return self._delete("expires <= ?", now)

    # --- the database -----------------------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection:
        try:
            return _open(self._folder / _DATABASE)
        except sqlite3.OperationalError:  # such as a full disk: the rows are still there
            raise
        except sqlite3.DatabaseError:
            self.set_aside = self._set_aside()
            return _open(self._folder / _DATABASE)

    def _set_aside(self) -> str:
        """Rename a damaged database together with its log, which sqlite3's tools may repair."""
        for suffix in ("", "-wal", "-shm"):
            file = self._folder / f"{_DATABASE}{suffix}"
            with suppress(FileNotFoundError):
                file.rename(self._folder / f"{_DAMAGED}{_DATABASE}{suffix}")
        return _DAMAGED + _DATABASE

    def _counted(self) -> tuple[int, int]:
        query = "SELECT COUNT(*), COALESCE(SUM(LENGTH(row)), 0) FROM rows"
        count, size = self._database.execute(query).fetchone()
        return count, size + count * ROW_OVERHEAD

    def _from_oldest(self, after: int) -> Iterator[SpooledRow]:
        query = "SELECT id, row FROM rows WHERE id > ? ORDER BY id"
        rows = self._database.execute(query, (after,))
        return (SpooledRow(*row) for row in rows)

    def _oldest_of(self, size: int, after: int) -> list[int]:
        """Return the ids of as many of the oldest rows as have this size together."""
        ids = []
        if size > 0:
            for row in self._from_oldest(after):
                ids.append(row.id)
                size -= len(row.row) + ROW_OVERHEAD
                if size <= 0:
                    break
        return ids

    def _replace(self, row: NewRow) -> int:
        """Insert a row in place of the one with the same key, and return its id."""
        if row.key is not None:
            self._delete("key = ?", row.key)
        insert = "INSERT INTO rows (row, expires, key) VALUES (?, ?, ?)"
        id_ = self._database.execute(insert, row).lastrowid
        self._count += 1
        self.size += len(row.row) + ROW_OVERHEAD
        return id_ or 0  # SQLite has an id for every row that it has inserted

    def _delete(self, condition: str, value: str | float) -> int:
        """Delete the rows that meet a condition, which is a literal of this module."""
        query = f"SELECT COUNT(*), SUM(LENGTH(row)) FROM rows WHERE {condition}"  # noqa: S608
        count: int
        count, size = self._database.execute(query, (value,)).fetchone()
        if count:
            self._database.execute(f"DELETE FROM rows WHERE {condition}", (value,))  # noqa: S608
            self._count -= count
            self.size -= size + count * ROW_OVERHEAD
        return count

    @contextmanager
    def _changes(self) -> Iterator[None]:
        """Change rows in one transaction; if it fails, the numbers are those of before, too."""
        before = self._count, self.size
        try:
            with self._errors(), self._database:
                yield
        except BaseException:
            self._count, self.size = before
            raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise SpoolError(f"spool {self._folder}: {reason}") from None


def _locked(folder: Path, own_folder: str) -> BinaryIO:
    file = (folder / "lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise SpoolError(f"spool {folder}: another process uses it; {own_folder}") from None
    return file


def _open(path: Path) -> sqlite3.Connection:
    """Open a database with its schema.

    Raises:
        sqlite3.DatabaseError: it is damaged, or of another version of this software.
    """
    # A spool may be used from a thread of its own, which is not the one that opened it.
    database = sqlite3.connect(path, check_same_thread=False)
    try:
        database.execute(f"PRAGMA page_size = {_PAGE}")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            with database:
                database.execute("BEGIN")  # sqlite3 begins no transaction before CREATE by itself
                for statement in _SCHEMA:
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {_VERSION}")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"version {version}")
        (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            raise sqlite3.DatabaseError(state)
    except BaseException:
        database.close()
        raise
    return database
