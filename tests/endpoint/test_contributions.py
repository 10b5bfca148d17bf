from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest

from tests.endpoint.conftest import EH

if TYPE_CHECKING:
    from tests.endpoint.conftest import Client

pytestmark = pytest.mark.integration

PATH = "/api/v1/contributions"


@pytest.mark.usefixtures("snapshots")
async def test_contributions_add_up_to_the_share_of_the_snapshot(client: Client) -> None:
    async with client.get("/api/v1/shares?window=now") as answer:
        shares = {row["code"]: row["share"] for row in (await answer.json())["shares"]}
    async with client.get(f"{PATH}?code=US&window=now&against=2026-11-21") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert answer.headers["Cache-Control"].startswith("public, max-age=")
        assert "ETag" in answer.headers
        found = await answer.json()
    assert (found["code"], found["name"]) == ("US", "United States")
    assert (found["as_of"], found["simulated"]) == ("2026-11-22T15:00:00Z", True)
    assert found["share"] == shares["US"]
    assert found["against"]["window"] == "2026-11-21"
    assert found["delta"] == found["share"] - found["against"]["share"]
    alpha, beta = found["pools"]
    # All 150 EH/s have a place. Half of the 50 of beta are in the US, by its prior.
    assert (alpha["pool"], alpha["name"], alpha["source"]) == ("alpha", "alpha", "alpha-api")
    assert beta["share"] == pytest.approx(25 / 150)
    assert alpha["share"] + beta["share"] == pytest.approx(shares["US"])
    assert alpha["kinds"]["measured"] == 60 * EH
    assert beta["kinds"] == {"measured": 0, "declared": 0, "estimated": 0, "prior": 25 * EH}


@pytest.mark.usefixtures("snapshots")
async def test_the_csv_has_the_pools_and_says_what_they_are_about(client: Client) -> None:
    for query in ("code=US&window=24h&against=2026-11-21", "code=CN-SC&window=now", "code=BR"):
        async with client.get(f"{PATH}?{query}") as answer:
            found = await answer.json()
        async with client.get(f"{PATH}.csv?{query}") as answer:
            assert (answer.status, answer.content_type) == (200, "text/csv")
            rows = list(csv.DictReader(io.StringIO(await answer.text(), newline=""), strict=True))
        against = found["against"]["window"] if found["against"] else ""
        assert [row["pool"] for row in rows] == [pool["pool"] for pool in found["pools"]]
        for row, pool in zip(rows, found["pools"], strict=True):
            for name in ("share", "share_against", "delta"):
                assert row[name] == ("" if pool[name] is None else str(pool[name]))
            kinds = {kind: float(row[f"kinds_{kind}"]) for kind in pool["kinds"]}
            assert kinds == pool["kinds"]
            assert (row["code"], row["window"]) == (found["code"], found["window"])
            assert (row["against"], row["as_of"]) == (against, found["as_of"])


@pytest.mark.usefixtures("snapshots")
async def test_a_place_that_is_not_listed_has_no_share_and_no_pools(client: Client) -> None:
    for query in ("code=BR", "code=US&window=2020-01&against=2020-02"):
        async with client.get(f"{PATH}?{query}") as answer:
            found = await answer.json()
        assert (found["share"], found["delta"], found["pools"]) == (None, None, [])


async def test_an_invalid_parameter_is_a_400_that_names_it(client: Client) -> None:
    cases = {
        "": "code",
        "code=XX": "code",
        "code=US,CN": "code",
        "code=US&against=2h": "against",
        "code=US&prior=network/unknown": "prior",
        "code=US&level=country": "level",
    }
    for query, parameter in cases.items():
        for path in (PATH, f"{PATH}.csv"):
            async with client.get(f"{path}?{query}") as answer:
                assert (answer.status, answer.content_type) == (400, "application/problem+json")
                document = await answer.json(content_type=None)
            assert document["parameter"] == parameter, query
