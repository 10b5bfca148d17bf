"""How many bytes a report takes in Kafka, alone and in batches, and what a year of them takes.

    python -m benchmarks.kafka_bytes

The batches are made by the code of the producer. A poll is a batch of its own; a backlog, such as
after an outage of Kafka, and the rows of one request of a partner are sent in larger ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from benchmarks.fixtures import MINUTE, NOW, pools, print_table, report
from miningmap.kafka.producer import record_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from miningmap.kafka.producer import Record

POOLS: Final = 100
PLACES: Final = (0, 20, 40)
IN_BATCH: Final = (1, 10, 50)
CODECS: Final = {"none": 0, "gzip": 1}  # by their numbers in the format of a batch
MINUTES_A_YEAR: Final = 365 * 24 * 60


def batch_bytes(records: Sequence[Record], codec: int) -> int:
    """The size of one batch of records, as Kafka stores it."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=1,
        producer_epoch=0,
        base_sequence=0,
        batch_size=1 << 24,
    )
    for offset, record in enumerate(records):
        builder.append(offset, round(NOW.timestamp() * 1000), record.key, record.value, [])
    return len(builder.build())


def mean_bytes(places: int, in_batch: int, codec: int) -> float:
    """The mean bytes of a report in batches of reports of different pools."""
    records = [record_of(report(pool, NOW - MINUTE, MINUTE)) for pool in pools(POOLS, places)]
    batches = [records[n : n + in_batch] for n in range(0, POOLS, in_batch)]
    return sum(batch_bytes(batch, codec) for batch in batches) / POOLS


def main() -> None:
    rows = []
    for places in PLACES:
        for in_batch in IN_BATCH:
            sizes = [mean_bytes(places, in_batch, codec) for codec in CODECS.values()]
            years = [size * POOLS * MINUTES_A_YEAR / 1e9 for size in sizes]
            rows.append(
                [
                    str(places),
                    str(in_batch),
                    *(f"{size:,.0f}" for size in sizes),
                    *(f"{year:,.1f}" for year in years),
                ]
            )
    print_table(
        "Bytes in Kafka",
        [
            "places",
            "reports in a batch",
            *(f"bytes a report, {name}" for name in CODECS),
            *(f"GB a year of 100 pools, {name}" for name in CODECS),
        ],
        rows,
    )


if __name__ == "__main__":
    main()
