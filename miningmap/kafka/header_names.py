"""Read messages whose headers have names that are not UTF-8, instead of failing at them for ever.

Kafka says that such a name is text, and does not check it; librdkafka, for one, sends any bytes.
aiokafka 0.14 raises at the first one, in whatever reads the partition, and again after each start.
There is no way to leave out one message: so the batch is read once more, by aiokafka's own reader
in Python, with U+FFFD in place of what is no text.
"""

from __future__ import annotations

import struct
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

if TYPE_CHECKING:
    from collections.abc import Iterator

_LENGTH: Final = struct.Struct(">8xi")  # after the first offset of a batch


def tolerate_header_names() -> None:
    """Let all consumers of this process read any name of a header."""
    fetcher.MemoryRecords = _Records


class _Records:
    """The batches of one answer of the broker, as aiokafka's fetcher reads them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._records: Any = MemoryRecords(data)
        self._start = 0

    def has_next(self) -> bool:
        found: bool = self._records.has_next()
        return found

    def size_in_bytes(self) -> int:
        size: int = self._records.size_in_bytes()
        return size

    def next_batch(self) -> _Batch | None:
        batch = self._records.next_batch()
        if batch is None:
            return None
        (length,) = _LENGTH.unpack_from(self._data, self._start)
        end = self._start + _LENGTH.size + length
        raw = memoryview(self._data)[self._start : end]
        self._start = end
        return _Batch(batch, raw)


class _Batch:
    """One batch: aiokafka's, as long as that can read it."""

    def __init__(self, batch: Any, raw: memoryview) -> None:  # noqa: ANN401 - one of aiokafka's four
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the batch's own
        return getattr(self._batch, name)

    def __next__(self) -> Any:  # noqa: ANN401 - one of aiokafka's records
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        number = 0
        try:
            for record in self._batch:
                number += 1
                yield record
        # The reader in Python wraps the error.
        except (UnicodeDecodeError, CorruptRecordException) as error:
            if not isinstance(error.__cause__ or error, UnicodeDecodeError):
                raise
            yield from islice(_tolerant(self._raw), number, None)


def _tolerant(raw: memoryview) -> Iterator[Any]:
    batch = _DefaultRecordBatchPy(raw)
    batch._maybe_uncompress()  # noqa: SLF001 - there is no public way in
    batch._buffer = _Text(batch._buffer)  # noqa: SLF001
    return iter(batch)


class _Text(bytearray):
    """Bytes whose slices are any text."""

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401 - as bytearray
        found = super().__getitem__(key)
        return _Text(found) if isinstance(key, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)
