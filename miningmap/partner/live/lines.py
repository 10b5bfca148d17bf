"""Lines of a file, a pipe or standard input as they come, without running ahead of the reader."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

Chunk: TypeAlias = "list[bytes | None]"
"""Lines without their newline; ``None`` for one that is too long."""

CHUNK_BYTES: Final = 1 << 16
CHUNKS_AHEAD: Final = 4


class InputError(Exception):
    """The input cannot be read; the text is one line."""


async def read_lines(open_: Callable[[], int], max_line: int) -> AsyncIterator[Chunk]:
    """Yield the lines that each read of a descriptor completes, until its end.

    A thread reads, because pipes, terminals and files differ in how they can be waited for. It is
    at most :data:`CHUNKS_AHEAD` reads ahead, so that whoever writes to a pipe waits.

    Args:
        open_: returns the descriptor, and may wait, as for a writer of a named pipe.
        max_line: the most bytes of a line.

    Raises:
        InputError: the input cannot be opened or read.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Chunk | OSError | None] = asyncio.Queue()
    room = threading.Semaphore(CHUNKS_AHEAD)

    def put(item: Chunk | OSError | None) -> None:
        room.acquire()
        loop.call_soon_threadsafe(queue.put_nowait, item)

    def read() -> None:
        try:
            try:
                for chunk in _chunks(open_(), max_line):
                    put(chunk)
            except OSError as error:
                put(error)
            else:
                put(None)
        except RuntimeError:  # the loop is closed: nobody reads any more
            pass

    # A daemon, because it may wait for input when the process ends. It has no buffer whose lock
    # the interpreter would need then.
    threading.Thread(target=read, name="input", daemon=True).start()
    while (item := await queue.get()) is not None:
        room.release()
        if isinstance(item, OSError):
            raise InputError(f"the input: {item.strerror or type(item).__name__}")
        yield item


def _chunks(descriptor: int, max_line: int) -> Iterator[Chunk]:
    rest, is_too_long = b"", False
    while read := _read(descriptor):
        *lines, rest = (rest + read).split(b"\n")
        chunk: Chunk = []
        for line in lines:
            chunk.append(None if is_too_long or len(line) > max_line else line)
            is_too_long = False
        if len(rest) > max_line:
            rest, is_too_long = b"", True
        if chunk:
            yield chunk
    if rest or is_too_long:
        yield [None if is_too_long else rest]


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, CHUNK_BYTES)
    except BlockingIOError:  # another process has made a shared descriptor non-blocking
        select.select([descriptor], [], [])
        return os.read(descriptor, CHUNK_BYTES)
