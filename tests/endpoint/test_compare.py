"""``miningmap compare`` asks the real service, over HTTP."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import pytest

from miningmap.messages import encode
from miningmap.times import rfc3339
from tests.endpoint.conftest import messages

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from tests.endpoint.conftest import Client

pytestmark = pytest.mark.integration

FIGURES = """\
code,window,share,hashrate,of,source
US,now,95%,,,an analyst
CN-SC,now,54%,,,a report
CN-XJ,now,90%,,country,a report
KZ,1h,,30 EH/s,,a company
CN,2020-01,54%,,,a survey
"""
# As those of the service.
BELIEFS = {
    "pools": [
        {
            "id": "pools/beta",
            "pool": "beta",
            "kind": "prior",
            "series": [{"from": "2026-01-01", "weights": {"US": 50, "CA": 50}}],
        }
    ],
    "rules": [{"id": "cn-zhejiang", "place": "CN-ZJ", "applies_to": "*"}],
}


@pytest.fixture
def figures(tmp_path: Path) -> Path:
    path = tmp_path / "figures.csv"
    path.write_text(FIGURES)
    return path


async def compare(*words: object) -> tuple[int, str, str]:
    """Return exit code, output and errors of the command in a process of its own."""
    command = (sys.executable, "-m", "launch", "compare", *map(str, words))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


@pytest.mark.usefixtures("snapshots")
async def test_a_map_and_its_messages_give_the_same_comparisons(
    client: Client, figures: Path, now: datetime, tmp_path: Path
) -> None:
    file, beliefs = tmp_path / "messages.jsonl", tmp_path / "beliefs.json"
    file.write_bytes(b"".join(encode(message) + b"\n" for message in messages()))
    beliefs.write_text(json.dumps(BELIEFS))
    url = str(client.make_url("/"))
    code, online, summary = await compare(figures, "--url", url, "--json")
    assert (code, summary) == (0, "5 figures: 2 outside, 2 inside, 1 cannot say\n")
    at = ("--as-of", rfc3339(now))
    offline = ("--messages", file, "--beliefs", beliefs, *at)
    assert (await compare(figures, *offline, "--json"))[1] == online
    rows = json.loads(online)
    assert [row["verdict"] for row in rows] == [
        *("outside", "inside", "outside", "inside", "cannot say")
    ]
    # On paper: of 300 EH/s 90 are measured, 60 in Texas and 30 in Sichuan.
    assert [row["high"] for row in rows[:4]] == pytest.approx([0.9, 0.8, 0.7 / 0.8, 0.7])
    options = ("--adjust", "none", "--prior", "none")
    code, unruled, _ = await compare(figures, "--url", url, *at, *options, "--json")
    assert (await compare(figures, *offline, *options, "--json"))[1] == unruled
    assert json.loads(unruled)[1]["low"] == pytest.approx(20 / 300)


async def test_what_the_map_rejects_is_a_usage_error(client: Client, figures: Path) -> None:
    url = str(client.make_url("/"))
    code, output, errors = await compare(figures, "--url", url, "--prior", "mine")
    assert (code, output) == (2, "")
    assert errors == (
        f"miningmap: {url}: 400 Bad Request: prior: unknown network prior 'mine'; expected one "
        "of: default, none\n"
    )
