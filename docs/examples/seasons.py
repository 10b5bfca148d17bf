"""The seasonal migration between Sichuan and Xinjiang, month by month. Needs the extra "pandas".

    miningmap import-history mining_countries.csv mining_provinces.csv
    python docs/examples/seasons.py --start 2019-09 --to 2021-07

In the wet season hydropower in Sichuan is cheap, and miners move there; in the dry season they
return to the coal power of Xinjiang. Cambridge's tables show it for 2019 to 2021. Import them
yourself: they have their own licence (CC BY-NC-SA 4.0).
"""

from __future__ import annotations

import argparse

import pandas as pd

from miningmap.client import BASE_URL, Client

WET_SEASON = range(5, 11)
"""May to October."""
PROVINCES = {"CN-SC": "Sichuan", "CN-XJ": "Xinjiang"}


def parts_by_month(mining: Client, start: str, to: str) -> pd.DataFrame:
    """Return each province's part of China in percent, without months that have no report."""
    found = mining.histories(["CN", *PROVINCES], step="month", start=start, to=to)
    # pivot_table() would leave out a place without any report.
    shares = found.to_pandas().pivot(index="window", columns="code", values="share")  # noqa: PD010
    parts = {name: 100 * shares[code] / shares["CN"] for code, name in PROVINCES.items()}
    return pd.DataFrame(parts).dropna()


def main() -> None:
    """Print the months, and the mean of each season."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?", default=BASE_URL)
    parser.add_argument("--start", default="2019-09", help="the first month")
    parser.add_argument("--to", default="2021-07", help="the month after the last one")
    options = parser.parse_args()
    with Client(options.url) as mining:
        table = parts_by_month(mining, options.start, options.to)
    if table.empty:
        raise SystemExit("no provinces are reported in these months; import Cambridge's tables")
    print("Percent of China's hashrate:\n")
    print(table.round(1).to_string(), "\n")
    is_wet = table.index.str[-2:].astype(int).isin(WET_SEASON)
    seasons = table.groupby(is_wet).mean().rename({True: "wet", False: "dry"})
    print("Mean of the season:\n")
    print(seasons.rename_axis("season").round(1).to_string())


if __name__ == "__main__":
    main()
