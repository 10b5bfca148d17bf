"""The files of an edition, the same bytes for the same messages and beliefs: no clock is read."""

from __future__ import annotations

import gzip
import hashlib
import json
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from endpoint.http.csv import to_csv
from launch.dataset import descriptions
from launch.dataset.descriptions import (
    BELIEFS_FILE,
    CITATION,
    MESSAGES_FILE,
    PACKAGE,
    README,
    SUMS,
    Facts,
    File,
)
from miningmap.messages import Report, decode
from streams.beliefs import beliefs_of
from streams.beliefs.excerpt import as_file, rows_on_any
from streams.queries.dataset import BELIEFS, SHARES, TABLES, day_of, rows_of
from streams.queries.day_cells import DayCells

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from streams.beliefs import BeliefsDocument
    from streams.method.windows import Window
    from streams.queries.dataset import Row, Table

    WriteRows = Callable[[Sequence[Row]], None]

NOT_IN_DIGEST: Final = (CITATION, README, SUMS)
"""The files that state the digest, or follow from the others."""

_CHUNK: Final = 1024 * 1024


class Contents(NamedTuple):
    """What the messages of an edition say.

    Attributes:
        cells: their days.
        messages: how many there are.
        sources: each source of each pool; the pool of the network's hashrate is ``None``.
        simulated: whether any of them is.
    """

    cells: DayCells
    messages: int
    sources: frozenset[tuple[str | None, str]]
    simulated: bool

    @property
    def pools(self) -> frozenset[str]:
        """The slugs of the pools."""
        return frozenset(pool for pool, _ in self.sources if pool is not None)


def write_messages(folder: Path, lines: Iterable[bytes]) -> Contents:
    """Write the messages, and return what they say.

    Args:
        folder: of the edition.
        lines: valid messages, in the order of their starts.
    """
    cells = DayCells()
    sources = set()
    messages, simulated = 0, False
    with _gzip(folder / MESSAGES_FILE) as file:
        for line in lines:
            file.write(line + b"\n")
            message = decode(line)
            cells.add(message)
            sources.add((message.pool if isinstance(message, Report) else None, message.source))
            simulated |= message.simulated
            messages += 1
    cells.finish()
    return Contents(cells, messages, frozenset(sources), simulated)


@contextmanager
def _gzip(path: Path) -> Iterator[gzip.GzipFile]:
    # Without a name and a time in the header, equal contents are equal files.
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as file,
    ):
        yield file


def write_tables(
    folder: Path,
    windows: Iterable[Window],
    cells: DayCells,
    document: BeliefsDocument,
    *,
    parquet: bool,
) -> int:
    """Write the tables of all windows, and return how many rows of places there are.

    Args:
        folder: of the edition.
        windows: in the order of time.
        cells: the days of the messages.
        document: what is believed.
        parquet: whether to write the shares as Parquet too.

    Raises:
        streams.beliefs.BeliefsError: the document cannot be used.
    """
    beliefs = beliefs_of(document)
    places = 0
    with ExitStack() as stack:
        writers: dict[str, list[WriteRows]] = {
            table.name: [stack.enter_context(_csv_table(folder, table))]
            for table in TABLES
            if table != BELIEFS
        }
        if parquet:
            from launch.dataset.parquet import parquet_table  # noqa: PLC0415 - optional

            writers[SHARES.name].append(stack.enter_context(parquet_table(folder, SHARES)))
        for window in windows:
            rows = rows_of(cells, window, beliefs)
            for name, write_to_all in writers.items():
                for write in write_to_all:
                    write(rows[name])
            places += len(rows[SHARES.name])
    return places


@contextmanager
def _csv_table(folder: Path, table: Table) -> Iterator[WriteRows]:
    with (folder / f"{table.name}.csv").open("wb") as file:
        file.write(to_csv(table.fields, ()))

        def write(rows: Sequence[Row]) -> None:
            file.write(to_csv(table.fields, rows, header=False))

        yield write


def write_beliefs(folder: Path, document: BeliefsDocument, windows: Sequence[Window]) -> list[Row]:
    """Write what was believed, as a table and as the document to load; return the rows.

    Args:
        folder: of the edition.
        document: what is believed on the days of the windows.
        windows: all of them.
    """
    believed = rows_on_any(document, map(day_of, windows))
    rows: list[Row] = [msgspec.to_builtins(row) for row in believed]
    with _csv_table(folder, BELIEFS) as write:
        write(rows)
    _write_json(folder / BELIEFS_FILE, as_file(document))
    return rows


def write_descriptions(folder: Path, facts: Facts) -> str:
    """Write what describes the other files, and return the digest of the edition."""
    _write_json(folder / PACKAGE, descriptions.package(facts, files_of(folder)))
    digest = digest_of({name: file.sha256 for name, file in files_of(folder).items()})
    _write_text(folder / CITATION, descriptions.citation(facts, digest))
    _write_text(folder / README, descriptions.readme(facts, digest))
    _write_text(folder / SUMS, sums({n: file.sha256 for n, file in files_of(folder).items()}))
    return digest


def files_of(folder: Path) -> dict[str, File]:
    """Return the size and the hash of every file in a folder, by its name."""
    return {
        path.name: File(path.stat().st_size, sha256_of(path))
        for path in sorted(folder.iterdir())
        if path.is_file()
    }


def sha256_of(path: Path) -> str:
    """Return the hash of a file's contents in hexadecimal digits."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def sums(hashes: Mapping[str, str]) -> str:
    """Return hashes as ``sha256sum`` writes and checks them, by the names of the files."""
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))


def digest_of(hashes: Mapping[str, str]) -> str:
    """Return the digest of an edition from the hashes of its files.

    It is the hash of the lines of ``SHA256SUMS`` about all files but those that state the digest.
    """
    stated = {name: value for name, value in hashes.items() if name not in NOT_IN_DIGEST}
    return hashlib.sha256(sums(stated).encode()).hexdigest()


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    _write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    path.write_bytes(text.encode())
