"""A list of miners as it is now: files that are being written, and sockets."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from miningmap.partner.live import snapshots
from miningmap.partner.live.snapshots import MinersFile, SnapshotError, TcpSocket, UnixSocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from miningmap.partner.live.snapshots import Source

LIST = b"place,hashrate\n" + b"US-TX,1 PH/s\n" * 20_000


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SETTLE_S", 0.2)


def aged(path: Path, age_s: float) -> None:
    at = time.time() - age_s
    os.utime(path, (at, at))


async def test_a_file_that_has_settled_is_read_with_its_age(tmp_path: Path) -> None:
    path = tmp_path / "miners.csv"
    path.write_bytes(LIST)
    aged(path, 90)
    snapshot = await MinersFile(path).read()
    assert snapshot.content == LIST
    assert 90 <= snapshot.age_s < 100


async def test_a_file_that_is_written_in_place_is_read_once_it_is_complete(
    tmp_path: Path,
) -> None:
    path = tmp_path / "miners.csv"
    started = asyncio.Event()

    async def write() -> None:
        with path.open("wb") as file:
            for start in range(0, len(LIST), 20_000):
                file.write(LIST[start : start + 20_000])
                file.flush()
                started.set()
                await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        await started.wait()
        read = group.create_task(MinersFile(path).read())
    assert read.result().content == LIST


async def test_a_file_that_is_replaced_while_it_is_read_is_one_or_the_other(
    tmp_path: Path,
) -> None:
    path, new = tmp_path / "miners.csv", tmp_path / "new"
    path.write_bytes(LIST)
    reading = asyncio.create_task(MinersFile(path).read())
    for _ in range(20):
        new.write_bytes(LIST + LIST)
        new.replace(path)
        await asyncio.sleep(0)
    assert (await reading).content in {LIST, LIST + LIST}


async def test_a_file_that_is_written_to_all_the_time_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "TIMEOUT_S", 0.5)
    path = tmp_path / "miners.csv"
    path.write_bytes(LIST)

    async def write() -> None:
        while True:
            with path.open("ab") as file:
                file.write(b"US-TX,1\n")
            await asyncio.sleep(0.01)

    writing = asyncio.create_task(write())
    with pytest.raises(SnapshotError, match=r"miners\.csv: is written to all the time"):
        await MinersFile(path).read()
    writing.cancel()


async def test_a_missing_file_and_what_is_no_file_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(SnapshotError, match=f"^{path}: not a regular file$"):
            await MinersFile(path).read()
    with pytest.raises(SnapshotError, match=r"none\.csv: No such file or directory"):
        await MinersFile(tmp_path / "none.csv").read()


@asynccontextmanager
async def sockets(tmp_path: Path, content: bytes | None) -> AsyncIterator[list[Source]]:
    """Serve a list by a Unix socket and a TCP port; ``None``: never close the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if content is None:
            await reader.read()  # until the client gives up
        else:
            writer.write(content)
            await writer.drain()
        writer.close()

    path = tmp_path / "miners.sock"
    unix = await asyncio.start_unix_server(serve, path)
    tcp = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = tcp.sockets[0].getsockname()[1]
    try:
        yield [UnixSocket(str(path)), TcpSocket("127.0.0.1", port)]
    finally:
        unix.close()
        tcp.close()


async def test_a_socket_is_read_until_it_closes(tmp_path: Path) -> None:
    async with sockets(tmp_path, LIST) as sources:
        for source in sources:
            assert await source.read() == (LIST, 0)
            assert await source.read() == (LIST, 0)


async def test_a_socket_that_never_closes_or_does_not_exist_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "TIMEOUT_S", 0.2)
    async with sockets(tmp_path, None) as sources:
        for source in sources:
            with pytest.raises(SnapshotError, match=r"did not send a list and close within 0\.2 s"):
                await source.read()
    for source in [*sources, UnixSocket(str(tmp_path / "none"))]:
        with pytest.raises(SnapshotError, match=f"^{source}: "):
            await source.read()


async def test_a_socket_whose_address_cannot_exist_is_an_error() -> None:
    for source in (UnixSocket("/run/" + "a" * 200), UnixSocket("")):
        with pytest.raises(SnapshotError, match=f"^{source}: (AF_UNIX path too long|Invalid arg)"):
            await source.read()
    for host in ("pool..example", "a" * 70 + ".example"):
        with pytest.raises(SnapshotError, match=f"^tcp:{host}:4028: not the name of a host$"):
            await TcpSocket(host, 4028).read()


@pytest.mark.parametrize("kind", ["file", "socket"])
async def test_a_list_that_is_too_large_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(snapshots, "MAX_BYTES", 1000)
    path = tmp_path / "miners.csv"
    path.write_bytes(LIST)
    async with sockets(tmp_path, LIST) as sources:
        source = MinersFile(path) if kind == "file" else sources[0]
        with pytest.raises(SnapshotError, match="larger than 1000 bytes"):
            await source.read()
