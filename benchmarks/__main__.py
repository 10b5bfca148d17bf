"""Run the benchmarks one after the other: ``make bench``.

By default those that tell whether a reach is reached, shortened so that all of them take less than
15 minutes; with ``--full`` all of them as docs/performance.md shows them, which takes an hour. The
last table compares what was measured with what is to be reached.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Final, NamedTuple

import click

from benchmarks import reaches
from benchmarks.fixtures import print_table, table
from benchmarks.running import machine
from launch.local.supervisor import bound_to_this_process
from tests.servers import ROOT
from tools import marked

DOCUMENT: Final = ROOT / "docs/performance.md"
PLOT: Final = ROOT / "docs/images/growth.svg"
REACHES: Final = "reaches"


class Benchmark(NamedTuple):
    """A benchmark, and how it is run.

    Attributes:
        name: of its module.
        short: its options by default; ``None`` if it is only run with ``--full``.
        is_shown: whether ``--write`` puts its tables into the document.
        written: its further options with ``--write``.
    """

    name: str
    short: tuple[str, ...] | None = ()
    is_shown: bool = False
    written: tuple[str, ...] = ()


BENCHMARKS: Final = (
    Benchmark("throughput", ("--rounds", "2")),
    Benchmark("freshness", ("--for-s", "30", "--backlog", "100000")),
    Benchmark("snapshot"),
    Benchmark("swings", None),
    Benchmark("writes", None),
    Benchmark("poison", None),
    Benchmark("memory", None),
    Benchmark("kafka_bytes"),
    Benchmark("polling", ("--sources", "1000", "--poll-s", "12", "--for-s", "12")),
    Benchmark("serving", ("--rounds", "15", "--latency-s", "6")),
    Benchmark("questions"),
    Benchmark("scrape", ("--seconds", "10")),
    Benchmark("stream", ("--for-s", "20", "--no-hour")),
    Benchmark("footprint", None),
    Benchmark("workers", ("--rounds", "1", "--for-s", "2"), is_shown=True),
    Benchmark("growth", None, is_shown=True, written=("--svg", str(PLOT))),
    Benchmark("page", None),
)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([each.name for each in BENCHMARKS]))
@click.option("--full", is_flag=True, help="All of them, at full length.")
@click.option("--write", is_flag=True, help="Also write the tables into docs/performance.md.")
def main(*, names: tuple[str, ...], full: bool, write: bool) -> None:
    """Run benchmarks, all by default, and print their tables; exit 1 if one has failed."""
    outputs: dict[str, str] = {}
    times: list[tuple[str, str]] = []
    failed = []
    for each in BENCHMARKS:
        if each.name not in names if names else each.short is None and not full:
            continue
        options = () if full else each.short or ()
        began = time.monotonic()
        outputs[each.name], code = _run(each.name, (*options, *(each.written if write else ())))
        times.append((each.name, f"{time.monotonic() - began:.0f}"))
        if code:
            failed.append(each.name)
        elif write and each.is_shown:
            marked.write(DOCUMENT, each.name, outputs[each.name].strip().splitlines())
    compared = reaches.rows(outputs)
    if compared:
        print_table("What was to be reached", reaches.HEAD, compared)
    print_table("How long each benchmark took, s", ("benchmark", "s"), times)
    print(f"\n{machine()}")
    if write and not names:  # of some of them it would be a part of the table
        lines = [*table(reaches.HEAD, compared), "", f"Measured on {machine()}."]
        marked.write(DOCUMENT, REACHES, lines)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _run(name: str, options: tuple[str, ...]) -> tuple[str, int]:
    """Run a benchmark; print what it prints while it does, and return that and its exit code."""
    print(f"\n## {name} {' '.join(options)}".rstrip(), flush=True)
    command = bound_to_this_process([sys.executable, "-m", f"benchmarks.{name}", *options])
    lines = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    return "".join(lines), process.returncode


if __name__ == "__main__":
    main()
