"""Run fuzz targets for long, guided by coverage (atheris), and print a table of the results.

Each target runs in a process of its own, because libFuzzer ends its process. An input that is a
find is written to tests/fuzz/found/TARGET, where every later run begins with it.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import click

ROOT: Final = Path(__file__).parents[2]
FOUND: Final = Path(__file__).parent / "found"
SLOW_S: Final = 5
MEMORY_MB: Final = 1024
_PACKAGES: Final = ["miningmap", "collector", "streams", "endpoint", "tomllib"]
_NONE: Final = "none"
_DONE: Final = re.compile(r"^Done (\d+) runs in \d+ second", re.MULTILINE)
_COVERED: Final = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_MEMORY: Final = re.compile(r"rss: (\d+)Mb")


class Result(NamedTuple):
    """What a run of one target came to."""

    name: str
    inputs: int
    seconds: float
    edges: int
    corpus: int
    memory_mb: int
    find: str


@click.command()
@click.argument("names", nargs=-1)
@click.option("--runs", default=20_000, show_default=True, help="Inputs of each target.")
@click.option("--seed", default=0, help="Of the random numbers; 0 for another one each time.")
@click.option("--one", hidden=True, help="Run this target in this process.")
@click.option("--list", "listed", is_flag=True, help="Print the names of the targets.")
def main(names: tuple[str, ...], *, runs: int, seed: int, one: str | None, listed: bool) -> None:
    """Fuzz the targets NAMES, which are beginnings of names; without any, all."""
    if one is not None:
        _fuzz(one, runs, seed)
        return
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - instrumented in the other case

    chosen = [name for name in TARGETS if not names or name.startswith(names)]
    if not chosen:
        raise click.UsageError(f"no such target; expected one of: {', '.join(TARGETS)}")
    if listed:
        click.echo("\n".join(chosen))
        return
    click.echo("| target | inputs | seconds | edges | corpus | memory, MB | find |")
    click.echo("|---|--:|--:|--:|--:|--:|---|")
    results = []
    for name in chosen:
        result = _run(name, runs, seed)
        results.append(result)
        shown = (f"{result.seconds:.0f}", result.edges, result.corpus, result.memory_mb)
        cells = " | ".join(map(str, (name, result.inputs, *shown, result.find)))
        click.echo(f"| {cells} |")
    finds = sum(result.find != _NONE for result in results)
    inputs = sum(result.inputs for result in results)
    click.echo(f"\n{inputs} inputs of {len(results)} targets, {finds} finds")
    sys.exit(bool(finds))


def _run(name: str, runs: int, seed: int) -> Result:
    began = time.monotonic()
    options = [f"--one={name}", f"--runs={runs}", f"--seed={seed}"]
    process = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *options],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
    )
    output = process.stdout + process.stderr
    done = _DONE.search(output)
    covered = _COVERED.findall(output) or [("0", "0", "0")]
    memory = _MEMORY.findall(output) or ["0"]
    find = _NONE
    if process.returncode or not done:
        lines = [line for line in output.splitlines() if re.match(r"[\w.]+(Error|Exception)", line)]
        kept = (ROOT / line.split(": ")[-1] for line in output.splitlines() if "kept: " in line)
        find = (
            " ".join([*lines[:1], *(str(path.relative_to(ROOT)) for path in kept)]) or output[-300:]
        )
    return Result(
        name,
        int(done[1]) if done else 0,
        time.monotonic() - began,
        int(covered[-1][0]),
        int(covered[-1][2]),
        int(memory[-1]),
        find.replace("\n", " ").replace("|", "/")[:300],
    )


def _fuzz(name: str, runs: int, seed: int) -> None:
    """Run one target until it has read so many inputs, or until a find."""
    import atheris  # noqa: PLC0415 - there are no wheels for every system

    packages = [
        "miningmap",
        "collector",
        "streams",
        "endpoint",
        "tests.fuzz.targets",
        "tomllib",
        "csv",
    ]
    with atheris.instrument_imports(include=packages):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415
    from tests.fuzz.mutations import LONGEST, mutated  # noqa: PLC0415

    target = TARGETS[name]
    starts = target.starts()

    def change(data: bytes, size: int, number: int) -> bytes:
        # libFuzzer's own changes too: they know which constants a comparison expects.
        random = Random(number)  # noqa: S311 - reproducible
        if random.random() < 0.3:
            return bytes(atheris.Mutate(data, size))
        return mutated(data, starts, random)[:size]

    def read(data: bytes) -> None:
        began = time.process_time()
        try:
            target(data)
            took = time.process_time() - began
            assert took < SLOW_S, f"{took:.1f} s for {len(data)} bytes"
        except BaseException:
            click.echo(f"kept: {_keep(name, data).relative_to(ROOT)}", err=True)
            raise

    with tempfile.TemporaryDirectory() as corpus:
        for number, start in enumerate(starts):
            Path(corpus, str(number)).write_bytes(start)
        options = [
            f"-runs={runs}",
            f"-seed={seed}",
            f"-max_len={LONGEST}",
            f"-rss_limit_mb={MEMORY_MB}",
            f"-artifact_prefix={corpus}/",
            "-print_final_stats=0",
            "-timeout=30",
        ]
        atheris.Setup([sys.argv[0], *options, corpus], read, custom_mutator=change)
        atheris.Fuzz()


def _keep(name: str, data: bytes) -> Path:
    folder = FOUND / name.replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    main()
