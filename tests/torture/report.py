"""The tables of docs/reliability.md that runs of ``make torture`` write, between their marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.servers import ROOT
from tools import marked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.torture.scenario import Outcome
    from tests.torture.soak import Sample, Soaked

DOCUMENT: Final = ROOT / "docs/reliability.md"
FAULTS: Final = (
    "| fault | load | runs | lost | doubled | wrong | time to recover |",
    "|---|---|---:|---:|---:|---:|---:|",
)
SOAK: Final = (
    "| service | memory, MB | an hour | descriptors | an hour | tasks | an hour |",
    "|---|---:|---:|---:|---:|---:|---:|",
)


def write_outcomes(outcomes: Sequence[Outcome], order: Sequence[str]) -> None:
    """Replace the row of a fault; the rows of other faults stay, in the order of the plan."""
    rows = {
        row.split(" | ")[0].removeprefix("| "): row for row in marked.read(DOCUMENT, "faults")[2:]
    }
    rows[outcomes[0].fault] = row_of(outcomes)
    listed = [rows[name] for name in order if name in rows]
    marked.write(DOCUMENT, "faults", [*FAULTS, *listed])


def row_of(outcomes: Sequence[Outcome]) -> str:
    """The row of one fault, of all its runs."""
    seconds = sum(each.seconds for each in outcomes)
    acknowledged = sum(each.acknowledged for each in outcomes)
    load = f"{acknowledged:,} acknowledged, {acknowledged / seconds:.0f}/s"
    last = outcomes[-1].verdict
    if aside := last.counts["refused as future"]:
        load += f"; {aside} dead letters `future`"
    if refused := last.counts["refused"]:
        load += f"; {refused} refused"
    if polls := last.counts["polls not in Kafka"]:
        load += f"; {polls} of {last.counts['polls']} polls lost"
    times = sorted(time for each in outcomes for time in each.recovered_s)
    problems = sum(len(each.problems) for each in outcomes)
    figures = [
        str(sum(len(getattr(each.verdict, name)) for each in outcomes))
        for name in ("lost", "doubled", "wrong")
    ]
    figures[2] += f" and {problems} problems" if problems else ""
    recovered = f"{times[0]:.1f} to {times[-1]:.1f} s" if len(times) > 1 else f"{times[0]:.1f} s"
    cells = [outcomes[0].fault, load, str(len(outcomes)), *figures, recovered]
    return f"| {' | '.join(cells)} |"


def write_soak(soaked: Soaked) -> None:
    """Replace the table of the soak."""
    marked.write(DOCUMENT, "soak", soak_table(soaked).splitlines())


def soak_table(soaked: Soaked) -> str:
    """What came of the soak, and the slope of each service."""
    per_s = soaked.acknowledged / soaked.seconds
    answers = ", ".join(f"{number:,} x {code}" for code, number in sorted(soaked.asked.items()))
    rows = [
        _service_row(name, samples, soaked.slopes(name))
        for name, samples in sorted(soaked.samples.items())
    ]
    first, last = soaked.redis_mb[0], soaked.redis_mb[-1]
    summary = (
        f"{soaked.seconds / 60:.0f} minutes, {soaked.acknowledged:,} reports of 20 places "
        f"acknowledged ({per_s:.0f}/s), {soaked.unavailable} without an answer or 503, "
        f"{soaked.refused} refused, {soaked.restarts} restarts; questions to the API: "
        f"{answers}; Redis {first:.0f} MB at the start, {last:.0f} MB at the end."
    )
    return "\n".join([summary, "", *SOAK, *rows])


def _service_row(name: str, samples: Sequence[Sample], slopes: Mapping[str, float]) -> str:
    last = samples[-1]
    cells = [
        name.partition("-")[0],
        f"{last.memory_mb:.0f}",
        f"{slopes['memory_mb']:+.1f}",
        str(last.descriptors),
        f"{slopes['descriptors']:+.1f}",
        str(last.tasks),
        f"{slopes['tasks']:+.1f}",
    ]
    return f"| {' | '.join(cells)} |"
