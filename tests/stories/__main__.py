"""``make stories``: run all stories, and print how fast and how often falsely swings are found."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

import click

from streams.method.comparison import PAIRS
from streams.queries.swings import detect, minutes_between
from tests.stories import published, replays, scripted
from tests.stories.delays import passed
from tests.stories.quiet import QuietCells, pools, quiet_month
from tests.stories.story import complaints, false_alarms, swings_of
from tests.stories.ways import cells_of
from tests.streams import golden

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import timedelta

    from streams.method.cells import MemoryCells
    from tests.stories.quiet import QuietPool
    from tests.stories.story import Found, Story

MOST_PLACES: Final = 1.0
MOST_POOLS: Final = 2.0
"""The false swings that a quiet month may have, of each pair."""


@click.command()
@click.option("--months", default=30, show_default=True, help="Quiet months; 0 leaves them out.")
@click.option("--louder", default=1.0, show_default=True, help="Scales the noise of these months.")
def main(months: int, louder: float) -> None:
    """Run all stories through the detector, and print two tables in Markdown."""
    stories = [*scripted.STORIES, *replays.STORIES]
    if published.are_there():
        stories += published.STORIES
    else:
        click.echo(f"{published.LEFT_OUT}: two stories are left out", err=True)
    failures = list(_delays(make() for make in stories))
    if months:
        failures += _quiet(months, louder)
    for failure in failures:
        click.echo(failure, err=True)
    sys.exit(bool(failures))


@dataclass(frozen=True)
class _Told:
    """A story, the swings that were found in it, and what they were found in."""

    story: Story
    cells: MemoryCells
    swings: Sequence[Found]

    @classmethod
    def of(cls, story: Story) -> Self:
        cells, minutes = cells_of(story), minutes_between(story.start, story.end)
        return cls(story, cells, swings_of(detect(cells, minutes, golden.loaded(story.beliefs))))

    def delays(self) -> Iterator[str]:
        """Yield a row for each swing that must be found, with its delays by pair."""
        for expected in self.story.must:
            alike = replace(expected, severity=0, end=None)  # in a pair it may be less severe
            found = [each for each in self.swings if alike.matches(each, self.story.cause)]
            first = {each.pair: each for each in reversed(found)}
            if first:
                after = max(self._since_threshold(each) for each in first.values())
                severity = max(each.severity for each in first.values())
                moved = "rises" if expected.sign > 0 else "falls"
                driver = f" `{expected.driver}`" if expected.driver else ""
                delays = [self._since_cause(first.get(pair.name)) for pair in PAIRS]
                yield _row(
                    self.story.name,
                    f"{expected.subject} {moved}{driver}",
                    severity,
                    *delays,
                    _length(after),
                )

    def counts(self) -> str:
        """Return a row of how many swings were found, asked for or not."""
        false = false_alarms(self.story, self.swings)
        asked = [
            each
            for each in self.swings
            if any(expected.matches(each, self.story.cause) for expected in self.story.must)
        ]
        allowed = len(self.swings) - len(asked) - len(false)
        listed = ", ".join(map(str, false)) or "none"
        return _row(self.story.name, len(asked), allowed, listed)

    def failures(self) -> Iterator[str]:
        """Yield what is wrong."""
        yield from (f"{self.story.name}: {each}" for each in complaints(self.story, self.swings))

    def _since_cause(self, found: Found | None) -> str:
        return "" if found is None else _length(found.started - self.story.cause)

    def _since_threshold(self, found: Found) -> timedelta:
        return found.started - passed(found, self.cells, golden.loaded(self.story.beliefs))


def _delays(stories: Iterable[Story]) -> Iterator[str]:
    """Print what was found in stories; yield what is wrong."""
    with click.progressbar(list(stories), label="stories", file=sys.stderr) as progress:
        told = [_Told.of(story) for story in progress]
    click.echo(_row("story", "swing", "severity", "`1h/24h`", "`24h/7d`", "after the threshold"))
    click.echo("|---|---|---:|---:|---:|---:|")
    for each in told:
        for row in each.delays():
            click.echo(row)
    click.echo("")
    click.echo(_row("story", "swings asked for", "others that are right", "false"))
    click.echo("|---|---:|---:|---|")
    for each in told:
        click.echo(each.counts())
        yield from each.failures()


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _length(length: timedelta) -> str:
    hours, minutes = divmod(int(length.total_seconds()) // 60, 60)
    days, left = divmod(hours, 24)
    if days > 1:
        return f"{days} d {left} h"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


def _quiet(months: int, louder: float) -> Iterator[str]:
    """Print how often swings are false; yield where that is more often than it may be."""
    found: list[Found] = []
    moved: list[Found] = []
    with click.progressbar(range(1, months + 1), label="quiet months", file=sys.stderr) as seeds:
        for seed in seeds:
            month = quiet_month(seed, louder=louder)
            minutes = minutes_between(month.start, month.end)
            simulated = pools(seed, 30, louder)
            by_slug = {pool.slug: pool for pool in simulated}
            beliefs = golden.loaded(month.beliefs)
            swings = swings_of(detect(QuietCells(simulated), minutes, beliefs))
            found += swings
            moved += [
                each
                for each in swings
                if not each.is_place and _is_true(each, by_slug[each.subject])
            ]
    click.echo(f"\nSwings in {months} quiet months, a month:\n")
    click.echo("| pair | false places | false `own` places | false pools | pools that did move |")
    click.echo("|---|---:|---:|---:|---:|")
    for pair in PAIRS:
        places = [each for each in found if each.is_place and each.pair == pair.name]
        totals = [each for each in found if not each.is_place and each.pair == pair.name]
        own = [each for each in places if each.driver == "own"]
        false = [each for each in totals if each not in moved]
        counts = [places, own, false, [each for each in totals if each in moved]]
        row = " | ".join(f"{len(each) / months:.2f}" for each in counts)
        click.echo(f"| `{pair.name}` | {row} |")
        yield from _too_many(f"places, `{pair.name}`", len(places) / months, MOST_PLACES)
        yield from _too_many(f"pools, `{pair.name}`", len(false) / months, MOST_POOLS)
    _tell_pools("that did move", moved)
    _tell_pools("that did not", [each for each in found if each not in moved])


def _is_true(found: Found, pool: QuietPool) -> bool:
    """Return whether the pool's true hashrate moved as far as the swing says."""
    (pair,) = (pair for pair in PAIRS if pair.name == found.pair)
    delta = pool.true_delta(pair, found.started) * found.sign
    return delta >= (found.events[0].threshold or 0)


def _too_many(what: str, count: float, most: float) -> Iterator[str]:
    if count > most:
        yield f"quiet months: {count:.2f} false swings of {what}, more than {most:g}"


def _tell_pools(which: str, found: Sequence[Found]) -> None:
    counts = Counter(each.subject for each in found if not each.is_place)
    listed = ", ".join(f"{pool} {count}" for pool, count in counts.most_common())
    click.echo(f"\nSwings of pools {which}: {listed or 'none'}")


if __name__ == "__main__":
    main()
