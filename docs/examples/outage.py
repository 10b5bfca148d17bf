"""When a pool goes dark, the coverage changes, and the shares hardly change.

    make demo                        # a pool goes dark after two minutes, for eight minutes
    python docs/examples/outage.py

Finds the pool that went dark last, and compares the shares of now with those of the last minute
before the outage. The pool leaves the cohort: it does not become a zero. Shares change only as far
as its miners are distributed differently from those of the other pools; ``sensitivity`` in the
response says how far that can be, also before an outage.
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


def last_dark_pool(mining: Client) -> tuple[str, datetime]:
    """Return the pool that went dark last, and the end of its last report."""
    pools = mining.pools().pools
    stale = [(p.last_report, p.name) for p in pools if p.state == "stale" and p.last_report]
    if not stale:
        raise SystemExit("no pool is dark")
    at, name = max(stale)
    return name, at


def print_changes(before: Answer, after: Answer) -> None:
    """Print coverage (percent of the network) and shares (percent of what is located)."""
    print(f"{'':24}{before.as_of:%H:%M} UTC  {after.as_of:%H:%M} UTC   change")
    coverage = print_change("coverage", before.coverage or 0, after.coverage or 0)
    later = {row.code: row.share for row in after.shares}
    largest = max(
        (abs(print_change(row.name, row.share, later.get(row.code, 0))) for row in before.shares),
        default=0,
    )
    print(f"\nCoverage changed by {coverage:+.1f} points, no share by more than {largest:.1f}.")


def print_change(name: str, before: float, after: float) -> float:
    """Print one line and return the change in percentage points."""
    change = round(100 * (after - before), 6) + 0  # + 0 turns -0.0 into 0.0
    print(f"{name:24}{before:9.1%}  {after:9.1%}  {change:+6.1f}")
    return change


def main() -> None:
    """Find the pool and print the changes."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("url", nargs="?", default=BASE_URL)
    with Client(options.parse_args().url) as mining:
        name, at = last_dark_pool(mining)
        print(f"{name} is dark; its last report ends at {at:%Y-%m-%d %H:%M} UTC.\n")
        print_changes(mining.shares("now", as_of=at - MINUTE), mining.shares("now"))


if __name__ == "__main__":
    main()
