"""A pool that goes dark moves the coverage, and no share for that.

    make demo                        # one goes dark after half a minute, for nine
    python docs/examples/outage.py

Looks for the pool that was heard last of those that are dark, and compares now with the last minute
in which it was there. It leaves the cohort: it does not become a zero. Shares move only as far as
its miners were elsewhere than those of the others, which ``sensitivity`` tells before it happens.
"""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import TYPE_CHECKING

from miningmap.client import BASE_URL, Client

if TYPE_CHECKING:
    from datetime import datetime

    from miningmap.api.models import Answer

MINUTE = timedelta(minutes=1)


def dark(mining: Client) -> tuple[str, datetime]:
    """The pool that was heard last of those that are dark, and when that was."""
    pools = mining.pools().pools
    stale = [(p.last_report, p.name) for p in pools if p.state == "stale" and p.last_report]
    if not stale:
        raise SystemExit("no pool is dark")
    at, name = max(stale)
    return name, at


def show(before: Answer, after: Answer) -> None:
    """Print what moved, in percent of the network, and of what is located."""
    print(f"{'':24}{before.as_of:%H:%M} UTC  {after.as_of:%H:%M} UTC   moved")
    moved = line("coverage", before.coverage or 0, after.coverage or 0)
    later = {row.code: row.share for row in after.shares}
    most = max(
        (abs(line(row.name, row.share, later.get(row.code, 0))) for row in before.shares),
        default=0,
    )
    print(f"\nCoverage moved by {moved:+.1f} points, no share by more than {most:.1f}.")


def line(name: str, before: float, after: float) -> float:
    """Print one line; gives back what moved, in percentage points."""
    moved = round(100 * (after - before), 6) + 0  # no minus before a zero
    print(f"{name:24}{before:9.1%}  {after:9.1%}  {moved:+6.1f}")
    return moved


def main() -> None:
    """Find the pool, and print what its outage moved."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("url", nargs="?", default=BASE_URL)
    with Client(options.parse_args().url) as mining:
        name, at = dark(mining)
        print(f"{name} is dark; its last report ends at {at:%Y-%m-%d %H:%M} UTC.\n")
        show(mining.shares("now", as_of=at - MINUTE), mining.shares("now"))


if __name__ == "__main__":
    main()
