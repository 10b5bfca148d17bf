"""Run fuzz targets for long, and print a table of the results.

Guided by coverage (atheris), each target runs in a process of its own, because libFuzzer ends its
process. ``--plain`` changes good inputs at random, which reads many more of them in the same time
and needs no package. An input that is a find is written to tests/fuzz/found/TARGET, where every
later run begins with it.
"""

from __future__ import annotations

import hashlib
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import click

if TYPE_CHECKING:
    from tests.fuzz.targets import Target

ROOT: Final = Path(__file__).parents[2]
FOUND: Final = Path(__file__).parent / "found"
SLOW_S: Final = 5
MEMORY_MB: Final = 1024
CORPUS: Final = 500
"""The most inputs that a plain run keeps to change further."""

_PACKAGES: Final = ["miningmap", "collector", "streams", "endpoint", "tomllib"]
_NONE: Final = "none"
_DONE: Final = re.compile(r"^Done (\d+) runs in \d+ second", re.MULTILINE)
_COVERED: Final = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_MEMORY: Final = re.compile(r"rss: (\d+)Mb")


class Result(NamedTuple):
    """What a run of one target came to."""

    name: str
    inputs: int
    accepted: str
    seconds: float
    edges: str
    memory_mb: int
    find: str

    def row(self) -> str:
        cells = (*self[:3], f"{self.seconds:.0f}", *self[4:])
        return f"| {' | '.join(map(str, cells))} |"


@click.command()
@click.argument("names", nargs=-1)
@click.option("--runs", default=20_000, show_default=True, help="Inputs of each target.")
@click.option("--seed", default=1, show_default=True, help="Of the random numbers.")
@click.option("--plain", is_flag=True, help="Not guided by coverage.")
@click.option("--one", hidden=True, help="Run this target in this process.")
def main(names: tuple[str, ...], *, runs: int, seed: int, plain: bool, one: str | None) -> None:
    """Fuzz the targets NAMES, which are beginnings of names; without any, all."""
    if one is not None:
        _guided(one, runs, seed)
        return
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - instrumented in the other case

    chosen = [name for name in TARGETS if not names or name.startswith(names)]
    if not chosen:
        raise click.UsageError(f"no such target; expected one of: {', '.join(TARGETS)}")
    click.echo("| target | inputs | accepted | seconds | edges | memory, MB | find |")
    click.echo("|---|--:|--:|--:|--:|--:|---|")
    results = []
    for name in chosen:
        result = _plain(TARGETS[name], runs, seed) if plain else _run(name, runs, seed)
        results.append(result)
        click.echo(result.row())
    finds = sum(result.find != _NONE for result in results)
    inputs = sum(result.inputs for result in results)
    click.echo(f"\n{inputs} inputs of {len(results)} targets, {finds} finds")
    sys.exit(bool(finds))


def _plain(target: Target, runs: int, seed: int) -> Result:
    """Change good inputs, and those that were accepted, until a find."""
    from tests.fuzz.mutations import mutated  # noqa: PLC0415 - as above

    random = Random(f"{seed} {target.name}")  # noqa: S311 - reproducible
    starts = target.starts()
    corpus, accepted, find, number = list(starts), 0, _NONE, 0
    began = time.monotonic()
    for number in range(1, runs + 1):  # noqa: B007 - counted after the loop too
        data = mutated(random.choice(corpus), starts, random)
        try:
            is_accepted = _timed(target, data)
        except Exception as error:  # noqa: BLE001 - whatever it is
            kept = _keep(target.name, data).relative_to(ROOT)
            find = f"{type(error).__name__}: {error} {kept}"
            break
        accepted += is_accepted
        if is_accepted and len(data) < 2 * max(map(len, starts)):
            corpus.append(data)
            if len(corpus) > CORPUS:
                del corpus[random.randrange(len(starts), len(corpus))]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    took = time.monotonic() - began
    return Result(target.name, number, str(accepted), took, "", memory, _cell(find))


def _run(name: str, runs: int, seed: int) -> Result:
    """Run one target guided by coverage, in a process of its own."""
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
    edges, _, _ = (_COVERED.findall(output) or [("", "", "")])[-1]
    memory = (_MEMORY.findall(output) or ["0"])[-1]
    find = _NONE
    if process.returncode or not done:
        lines = [line for line in output.splitlines() if re.match(r"[\w.]+(Error|Exception)", line)]
        kept = [line for line in output.splitlines() if "kept: " in line]
        find = " ".join([*lines[:1], *kept]) or output[-300:]
    took = time.monotonic() - began
    return Result(name, int(done[1]) if done else 0, "", took, edges, int(memory), _cell(find))


def _guided(name: str, runs: int, seed: int) -> None:
    """Run one target until it has read so many inputs, or until a find."""
    import atheris  # noqa: PLC0415 - there are no wheels for every system

    with atheris.instrument_imports(include=_PACKAGES):
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
        try:
            _timed(target, data)
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
            "-timeout=60",
        ]
        atheris.Setup([sys.argv[0], *options, corpus], read, custom_mutator=change)
        atheris.Fuzz()


def _timed(target: Target, data: bytes) -> bool:
    began = time.process_time()
    accepted = target(data)
    took = time.process_time() - began
    assert took < SLOW_S, f"{took:.1f} s for {len(data)} bytes"
    return accepted


def _keep(name: str, data: bytes) -> Path:
    folder = FOUND / name.replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")[:300]


if __name__ == "__main__":
    main()
