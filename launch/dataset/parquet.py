"""Tables of an edition as Parquet, with typed columns. Needs the extra ``parquet``."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from msgspec import inspect
from pyarrow.parquet import ParquetWriter

from miningmap.api.columns import cells, columns, described

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from miningmap.api.columns import Column
    from streams.queries.dataset import Row, Table

ROWS: Final = 50_000
"""So many rows are written together: tables of more have several groups of rows."""


@contextmanager
def parquet_table(folder: Path, table: Table) -> Iterator[Callable[[Sequence[Row]], None]]:
    """Write a table as Parquet: yields what takes its rows, in their order."""
    known = described(table.row)
    names = columns(table.fields)
    schema = pa.schema([_field(known[name]) for name in names])
    waiting: list[list[object]] = []

    # All that pyarrow could choose otherwise in another release is named.
    with ParquetWriter(
        folder / f"{table.name}.parquet",
        schema,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        use_dictionary=True,
        write_statistics=True,
    ) as writer:

        def write(rows: Sequence[Row]) -> None:
            waiting.extend(cells(table.fields, row) for row in rows)
            while len(waiting) >= ROWS:
                flush()

        def flush() -> None:
            chunk = waiting[:ROWS]
            del waiting[:ROWS]
            values = [
                pa.array([_value(cell, field.type) for cell in column], field.type)
                for column, field in zip(zip(*chunk, strict=True), schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(values, schema=schema))

        yield write
        if waiting:
            flush()


def _field(column: Column) -> Any:  # noqa: ANN401 - pyarrow has no types
    described_as = {"description": column.description, "unit": column.unit}
    metadata = {name: text for name, text in described_as.items() if text}
    return pa.field(column.name, _type(column.type), nullable=column.nullable, metadata=metadata)


def _type(kind: inspect.Type) -> Any:  # noqa: ANN401 - pyarrow has no types
    match kind:
        case inspect.FloatType():
            return pa.float64()
        case inspect.BoolType():
            return pa.bool_()
        case inspect.DateTimeType():
            return pa.timestamp("ms", tz="UTC")
        case _:
            return pa.string()


def _value(cell: object, kind: Any) -> object:  # noqa: ANN401 - pyarrow has no types
    """Return a cell as pyarrow takes it. Rows have times as texts; a table has lists as texts."""
    if pa.types.is_timestamp(kind):
        return datetime.fromisoformat(str(cell))
    return " ".join(cell) if isinstance(cell, list | tuple) else cell
