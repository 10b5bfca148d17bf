"""Lines of a pipe as they come; whoever writes to it waits for the reader."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miningmap.partner.live.lines import CHUNK_BYTES, CHUNKS_AHEAD, InputError, read_lines

if TYPE_CHECKING:
    from pathlib import Path

MAX_LINE = 10


async def read(descriptor: int, max_line: int = MAX_LINE) -> list[bytes | None]:
    return [line async for chunk in read_lines(lambda: descriptor, max_line) for line in chunk]


def expected(content: bytes) -> list[bytes | None]:
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line if len(line) <= MAX_LINE else None for line in lines]


@given(
    st.lists(st.binary(max_size=30) | st.sampled_from([b"\n", b"a\n", b"x" * 11, b"\n\n"])),
)
def test_lines_are_the_same_however_the_input_is_divided(parts: list[bytes]) -> None:
    async def divided() -> list[bytes | None]:
        reading, writing = os.pipe()
        try:
            task = asyncio.create_task(read(reading))
            for part in parts:
                os.write(writing, part)
                await asyncio.sleep(0)
            os.close(writing)
            return await task
        finally:
            os.close(reading)

    assert asyncio.run(divided()) == expected(b"".join(parts))


async def test_a_line_is_given_as_soon_as_it_is_complete() -> None:
    reading, writing = os.pipe()
    chunks = read_lines(lambda: reading, MAX_LINE)
    for line in (b"one", b"two"):
        os.write(writing, line + b"\nto")
        assert (await anext(chunks))[-1] == (line if line == b"one" else b"totwo")
    os.close(writing)
    assert [chunk async for chunk in chunks] == [[b"to"]]
    os.close(reading)


async def test_a_pipe_is_not_read_ahead_of_the_reader() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    chunks = read_lines(lambda: reading, MAX_LINE)
    os.write(writing, b"line\n")
    assert await anext(chunks) == [b"line"]
    written = 0
    line = b"x" * 1023 + b"\n"
    loop = asyncio.get_running_loop()
    for _ in range(200):  # until the writer would have to wait, for good
        try:
            while True:
                written += os.write(writing, line)
        except BlockingIOError:
            await loop.run_in_executor(None, os.sched_yield)
    assert written < (CHUNKS_AHEAD + 4) * CHUNK_BYTES
    os.close(writing)
    rest = [line async for chunk in chunks for line in chunk]
    assert rest == [None] * (written // 1024)
    os.close(reading)


async def test_a_named_pipe_and_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    os.mkfifo(path)
    task = asyncio.create_task(_read_path(path))
    await asyncio.to_thread(path.write_bytes, b"a\nb")
    assert await task == [b"a", b"b"]
    with pytest.raises(InputError, match="No such file or directory"):
        await _read_path(tmp_path / "none")


async def _read_path(path: Path) -> list[bytes | None]:
    opened: list[int] = []

    def open_() -> int:
        opened.append(os.open(path, os.O_RDONLY))
        return opened[0]

    found = [line async for chunk in read_lines(open_, MAX_LINE) for line in chunk]
    os.close(opened[0])
    return found
