"""``make torture``: the long versions of all faults, the soak, and their tables in the document.

    make torture                                    # everything: about two hours
    make torture ARGS="--only Redis --runs 1 --soak 0"
    make torture ARGS="--list"

Each fault gets a new system. A run that finds something wrong says so at once, keeps its history
and logs, and makes the exit code 1.
"""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click
import structlog

from tests.servers import UnavailableError
from tests.torture import report
from tests.torture.plan import TRIALS, bench
from tests.torture.scenario import Size, torment
from tests.torture.soak import POOLS, soak

if TYPE_CHECKING:
    from tests.torture.plan import Trial
    from tests.torture.scenario import Outcome
    from tests.torture.soak import Soaked

# Longer than the session of a member of the consumer group, 6 s.
LONG: Final = Size(before=150, during=300, least_s=10.0, per_s=8.0)


@click.command()
@click.option("--only", default="", help="Only faults whose names contain this text.")
@click.option("--runs", default=3, show_default=True, help="How often each fault is tried.")
@click.option("--during", default=LONG.during, show_default=True, help="Operations in a fault.")
@click.option("--soak", "soak_s", default=3600.0, show_default=True, help="Seconds; 0 for none.")
@click.option("--seed", type=int, help="Of what is sent; by default another one each time.")
@click.option("--write/--no-write", default=True, help="Write the tables into the document.")
@click.option("--list", "only_list", is_flag=True, help="Print the names of the faults.")
def main(
    *,
    only: str,
    runs: int,
    during: int,
    soak_s: float,
    seed: int | None,
    write: bool,
    only_list: bool,
) -> None:
    """Break the system in every way, and write down what came of it."""
    # What the clients of this process log is in the history already.
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    chosen = [trial for trial in TRIALS if only in name_of(trial)]
    if only_list:
        click.echo("\n".join(map(name_of, chosen)))
        return
    seed = random.randrange(10**6) if seed is None else seed  # noqa: S311 - not for security
    click.echo(f"seed {seed}")
    size = replace(LONG, during=during)
    ok = True
    for trial in chosen:
        outcomes = asyncio.run(_tried(trial, runs, seed, size))
        ok = ok and all(outcome.ok for outcome in outcomes)
        if outcomes and write:
            report.write_outcomes(outcomes, [name_of(each) for each in TRIALS])
    if soak_s:
        soaked = asyncio.run(_soaked(soak_s, seed))
        click.echo(report.soak_table(soaked))
        if write:
            report.write_soak(soaked)
    sys.exit(not ok)


def name_of(trial: Trial) -> str:
    """The name of the fault of a trial."""
    return trial.make({}).name


async def _tried(trial: Trial, runs: int, seed: int, size: Size) -> list[Outcome]:
    """Try a fault on a new system, until something is wrong."""
    outcomes: list[Outcome] = []
    try:
        with bench(trial.kind) as made:
            await made.system.start(made.replication)
            if reason := made.lacks(trial.make(made.disks)):
                raise UnavailableError(reason)
            for run in range(runs):
                outcome = await torment(
                    made.system, trial.make(made.disks), seed=seed + run, size=size
                )
                outcomes.append(outcome)
                click.echo(f"{outcome}\n")
                if not outcome.ok:
                    click.echo(f"kept: {made.system.folder} (seed {seed + run})", err=True)
                    return outcomes
    except UnavailableError as error:
        click.echo(f"{name_of(trial)}: left out: {error}", err=True)
        return outcomes
    shutil.rmtree(made.system.folder, ignore_errors=True)
    return outcomes


async def _soaked(seconds: float, seed: int) -> Soaked:
    with bench("one broker", "tests.torture.watched", pools=POOLS) as made:
        await made.system.start()
        result = await soak(made.system, seconds, seed)
    shutil.rmtree(made.system.folder, ignore_errors=True)
    return result


if __name__ == "__main__":
    main()
