"""The scripts in ``docs/examples``, against the real service."""

from __future__ import annotations

import asyncio
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from miningmap.cbeci.monthly_tables import reports
from miningmap.client import BASE_URL
from miningmap.messages import Located, Network
from streams.method.cells import claims_of
from streams.queries.snapshot import take_snapshot
from tests.endpoint.conftest import BELIEFS, EH, NOW, report

if TYPE_CHECKING:
    from miningmap.messages import Message
    from streams.redis.store import Store
    from tests.endpoint.conftest import Client

pytestmark = pytest.mark.integration

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLES = DOCS / "examples"
MINUTE = timedelta(minutes=1)

# Tables in Cambridge's format with other figures: Sichuan from May to October, Xinjiang else.
COUNTRIES = "date,country,monthly_hashrate_%,monthly_absolute_hashrate_EH/S\r\n"
PROVINCES = "Date,Province,Share of Chinese hashrate\r\n"
for year, month in [(2019, 11), (2019, 12), *((2020, month) for month in range(1, 8))]:
    china, sichuan = (60, 50) if month in range(5, 11) else (70, 10)
    COUNTRIES += f"{year}-{month:02}-01,Mainland China,{china}.00%,{china}.00\r\n"
    COUNTRIES += f"{year}-{month:02}-01,Other,{100 - china}.00%,{100 - china}.00\r\n"
    PROVINCES += f"{year}-{month:02}-01,Sichuan,{sichuan}.00\r\n"
    PROVINCES += f"{year}-{month:02}-01,Xinjiang,{60 - sichuan}.00\r\n"
    PROVINCES += f"{year}-{month:02}-01,Other,40.00\r\n"


async def run(name: str, client: Client, *options: str) -> tuple[int, list[str]]:
    """Run a script and return its exit code and the lines that it prints."""
    return await python(str(EXAMPLES / name), str(client.make_url("/")), *options)


async def python(*arguments: str) -> tuple[int, list[str]]:
    script = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await script.communicate()
    assert script.returncode is not None
    return script.returncode, output.decode().splitlines()


async def test_the_seasons_of_sichuan_and_xinjiang(client: Client, store: Store) -> None:
    tables = {"countries": COUNTRIES.encode(), "provinces": PROVINCES.encode()}
    messages = reports(tables, fetched_at=NOW)
    await store.writer.write([(message, claims_of(message)) for message in messages])
    code, lines = await run("seasons.py", client, "--start", "2019-09", "--to", "2020-08")
    assert code == 0, lines
    rows = [line.split() for line in lines]
    assert ["2019-11", "10.0", "50.0"] in rows
    assert ["2020-06", "50.0", "10.0"] in rows
    assert ["wet", "50.0", "10.0"] in rows
    assert ["dry", "10.0", "50.0"] in rows
    assert not any(line.startswith("2019-09") for line in lines)  # without reports


async def test_seasons_without_reports_are_an_error_with_the_remedy(client: Client) -> None:
    code, lines = await run("seasons.py", client)
    assert (code, "import Cambridge's tables" in lines[-1]) == (1, True)


def minutes_with_an_outage() -> list[Message]:
    """Three pools with the same distribution; the last one went dark ten minutes ago."""
    start, end = NOW - 59 * MINUTE, NOW
    messages: list[Message] = []
    for pool, size, until in (
        ("north", 60 * EH, end),
        ("south", 30 * EH, end),
        ("east", 10 * EH, end - 10 * MINUTE),
    ):
        places = (Located("US", 0.6 * size, "measured"), Located("KZ", 0.4 * size, "measured"))
        messages.append(report(pool, start, until, size, places, hold_s=300))
    network = Network(
        source="mempool",
        start=start,
        end=end,
        hold_s=300,
        hashrate=200 * EH,
        fetched_at=end,
        simulated=False,
    )
    return [*messages, network]


async def test_an_outage_changes_the_coverage_and_no_share(client: Client, store: Store) -> None:
    messages = minutes_with_an_outage()
    await store.writer.write([(message, claims_of(message)) for message in messages])
    await store.snapshots.write(await take_snapshot(store.cells, BELIEFS, NOW))
    code, lines = await run("outage.py", client)
    assert code == 0, lines
    assert lines[0] == "east is dark; its last report ends at 2026-11-22 14:50 UTC."
    rows = [line.split() for line in lines]
    assert ["14:49", "UTC", "15:00", "UTC", "change"] in rows
    assert ["coverage", "50.0%", "45.0%", "-5.0"] in rows
    assert ["United", "States", "60.0%", "60.0%", "+0.0"] in rows
    assert ["Kazakhstan", "40.0%", "40.0%", "+0.0"] in rows
    assert lines[-1] == "Coverage changed by -5.0 points, no share by more than 0.0."


async def test_without_an_outage_the_script_exits_with_an_error(client: Client) -> None:
    assert await run("outage.py", client) == (1, ["no pool is dark"])


def first_lines_of_python(document: Path) -> str:
    lines: str = re.findall(
        r"^```python\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL
    )[0]
    return lines


@pytest.mark.usefixtures("snapshots")
@pytest.mark.parametrize("document", [DOCS / "api.md", DOCS.parent / "README.md"])
async def test_the_lines_of_the_documents_run(client: Client, document: Path) -> None:
    lines = first_lines_of_python(document)
    code, output = await python("-c", lines.replace(BASE_URL, str(client.make_url("/"))))
    assert code == 0, output
    assert any("United States" in line for line in output)
