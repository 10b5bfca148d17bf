"""The outbox's messages on the disk, which can be full, slow, damaged or not there at all.

Everything is done by one thread, so a slow disk delays neither polls nor partners. After an error
the spool is opened anew at the next attempt: what was wrong with the disk may be over.
"""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec
import structlog

from miningmap.kafka.producer import Record
from miningmap.spool import NewRow, Spool, SpooledRow, SpoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

T = TypeVar("T")

MAX_MESSAGES: Final = 500
MAX_BYTES: Final = 1 << 20
"""The most messages, and bytes of them, that are read and delivered at a time."""

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Record)
_log = structlog.get_logger(__name__)


class OnDisk(NamedTuple):
    """A message on the disk; ids rise in the order in which messages were saved."""

    id: int
    record: Record


class Disk:
    """Messages in a folder, in the order in which they were saved.

    Attributes:
        error: why messages cannot be saved or read at the moment; ``None`` if they can.
    """

    def __init__(
        self, folder: Path, max_bytes: int, lost: Callable[[int], None] = lambda _messages: None
    ) -> None:
        """Prepare to open the folder when it is first used.

        Args:
            folder: on a disk of this machine.
            max_bytes: the limit of the spool.
            lost: called with how many messages are lost, because the spool is full or they are
                damaged; from another thread.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self._lost = lost
        self._spool: Spool | None = None
        self._delivering = 0  # the id of the last message that oldest() has returned
        self._delivered: set[int] = set()  # ids of messages that could not be removed yet
        self._is_dropping = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self.error: str | None = None

    @property
    def messages(self) -> int:
        """How many messages are saved."""
        return 0 if self._spool is None else len(self._spool)

    @property
    def size(self) -> int:
        """What counts towards the limit, in bytes."""
        return 0 if self._spool is None else self._spool.size

    async def save(self, records: Sequence[Record], saved: Callable[[Sequence[int]], None]) -> None:
        """Save messages; what has begun is finished, also if the caller is cancelled meanwhile.

        Args:
            records: the messages.
            saved: called with their ids, from another thread.

        Raises:
            SpoolError: none was saved.
        """
        await self._do(lambda spool: self._append(spool, records, saved))

    async def oldest(self) -> list[OnDisk]:
        """Return the oldest messages that have to be delivered, as many as one delivery may have.

        Raises:
            SpoolError: they cannot be read.
        """
        return await self._do(self._read)

    async def remove(self, ids: Iterable[int]) -> None:
        """Remove messages that Kafka has.

        If they cannot be removed now, the next removal removes them too, and until then they are
        not returned again. If the process is killed before, they are published once more.
        """
        self._delivered.update(ids)
        with suppress(SpoolError):  # the log says why
            await self._do(self._remove)

    async def settle(self) -> None:
        """Wait until what has begun is finished."""
        await asyncio.get_running_loop().run_in_executor(self._thread, lambda: None)

    async def close(self) -> None:
        """Close the spool; its messages stay."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def _do(self, use: Callable[[Spool], T]) -> T:
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._thread, self._use, use)
        except SpoolError as error:
            if self.error is None:
                _log.error("spool_unavailable", error=str(error))
            self.error = str(error)
            raise
        if self.error is not None:
            self.error = None
            _log.info("spool_available", messages=self.messages)
        return result

    # --- in the thread ----------------------------------------------------------------------------

    def _use(self, use: Callable[[Spool], T]) -> T:
        try:
            if self._spool is None:
                self._spool = self._opened()
            return use(self._spool)
        except SpoolError:
            self._close()
            raise

    def _opened(self) -> Spool:
        spool = Spool(self._folder, self._max_bytes)
        if spool.set_aside:
            _log.error("spool_damaged", folder=str(self._folder), renamed=spool.set_aside)
            self._delivered.clear()
        if len(spool):
            _log.info("spool_found", messages=len(spool), bytes=spool.size)
        return spool

    def _close(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _append(
        self, spool: Spool, records: Sequence[Record], saved: Callable[[Sequence[int]], None]
    ) -> None:
        rows = [NewRow(_encoder.encode(record), math.inf, None) for record in records]
        added = spool.append(rows, keep_until=self._delivering)
        saved(added.ids)
        if added.dropped:
            self._lost(added.dropped)
            if not self._is_dropping:
                self._is_dropping = True
                _log.error("outbox_full", bytes=self._max_bytes, where="disk")

    def _read(self, spool: Spool) -> list[OnDisk]:
        last = 0
        while rows := spool.oldest(MAX_MESSAGES, MAX_BYTES, after=last):
            last = rows[-1].id
            left = [row for row in rows if row.id not in self._delivered]
            if found := [message for row in left if (message := self._decoded(row))]:
                self._delivering = last
                return found
        self._is_dropping = False
        return []

    def _decoded(self, row: SpooledRow) -> OnDisk | None:
        try:
            return OnDisk(row.id, _decoder.decode(row.row))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.error("spooled_message_damaged", id=row.id, error=str(error))
        self._delivered.add(row.id)
        self._lost(1)
        return None

    def _remove(self, spool: Spool) -> None:
        ids = list(self._delivered)
        spool.remove(SpooledRow(id_, b"") for id_ in ids)
        self._delivered.difference_update(ids)
