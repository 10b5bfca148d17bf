"""Stories of years, from the months that Cambridge published, on straight lines from day to day.

The tables are not part of the project (their licence is not its own); they are read from a folder
beside it, and without them these stories are left out.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from miningmap.messages import Located, Report
from tests.stories.feeds import HASHES
from tests.stories.replays import Levels
from tests.stories.story import Expected, Story
from tests.streams import golden

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.stories.story import Found

DAY: Final = timedelta(days=1)
FOLDER: Final = golden.FOLDER.parent / "ccaf"
LEFT_OUT: Final = f"Cambridge's published tables are not there ({FOLDER})"
WEEK_PAIR: Final = ("24h/7d",)  # rows of whole days have no minutes, so `1h` is empty

_POOL: Final = "cbeci-sample"
_MIDDLE: Final = timedelta(days=14)


def are_there() -> bool:
    return FOLDER.is_dir()


def _levels() -> dict[str, Levels]:
    """Return the hashrate of each place (EH/s), as if a month's mean were that of its middle."""
    countries: dict[str, dict[datetime, float]] = defaultdict(dict)
    for row in _rows("countries_monthly.csv"):
        code = {"ZZ": "OTHER"}.get(row["region_code"], row["region_code"])
        countries[code][_middle(row)] = float(row["hashrate_ehs"])
    china = countries.pop("CN")
    provinces: dict[str, dict[datetime, float]] = defaultdict(dict)
    for row in _rows("cn_provinces_monthly.csv"):
        code = row["region_code"]
        code = "CN-OTHER" if code == "CN-ZZ" else code
        part = float(row["share_pct"]) / 100 * china[_middle(row)]
        provinces[code][_middle(row)] = provinces[code].get(_middle(row), 0.0) + part
    return {code: Levels(sorted(found.items())) for code, found in (countries | provinces).items()}


def _rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open() as lines:
        return list(csv.DictReader(lines))


def _middle(row: dict[str, str]) -> datetime:
    return datetime.fromisoformat(f"{row['month']}-01T00:00Z") + _MIDDLE


def _days(start: datetime, end: datetime) -> Iterator[Report]:
    levels = _levels()
    while start < end:
        noon = start + DAY / 2
        places = {code: HASHES * found.at(noon) for code, found in levels.items()}
        yield Report(
            pool=_POOL,
            source="cbeci",
            start=start,
            end=start + DAY,
            hold_s=0,
            hashrate=sum(places.values()),
            places=tuple(Located(code, h, "measured") for code, h in places.items()),
            fetched_at=start + DAY,
            simulated=False,
        )
        start += DAY


def _story(
    name: str,
    first: datetime,
    last: datetime,
    must: Sequence[Expected],
    may: Callable[[Found], bool],
) -> Story:
    return Story(
        name,
        lambda: _days(first - 16 * DAY, last),
        cause=first,
        start=first,
        end=last,
        must=tuple(must),
        may=may,
    )


def china_2021() -> Story:
    """China's share of the published map falls from 44 % in May to 0 in July."""
    return _story(
        "China, June and July 2021",
        datetime(2021, 5, 15, tzinfo=UTC),
        datetime(2021, 8, 1, tzinfo=UTC),
        must=[
            Expected("CN", -1, "own", pairs=WEEK_PAIR, severity=3),
            Expected("US", 1, "others", pairs=WEEK_PAIR, severity=1),
        ],
        may=lambda found: (
            not found.is_place or found.driver == "others" or found.subject.startswith("CN")
        ),
    )


def seasons_2020() -> Story:
    """The wet season of Sichuan ends; machines move to Xinjiang, as they do each year.

    The rise of Xinjiang is spread over two months, 0.3 points a day: the mean of a day is then 0.9
    points over that of a week, and that is no swing.
    """
    return _story(
        "Sichuan and Xinjiang, 2020-09 to 2021-01",
        datetime(2020, 9, 15, tzinfo=UTC),
        datetime(2021, 2, 1, tzinfo=UTC),
        must=[
            Expected("CN-SC", -1, "own", pairs=WEEK_PAIR, severity=1),
        ],
        may=lambda found: (
            not found.is_place or found.driver == "others" or found.subject.startswith("CN")
        ),
    )


STORIES: Final = (china_2021, seasons_2020)
