"""The CSV twins have the rows of the JSON, and cells that are safe in a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from endpoint.http.csv import to_csv
from miningmap.api.models import ShareRow

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.test_utils import TestClient

    from streams.redis.store import Store

    Client = TestClient[web.Request, web.Application]


async def both(client: Client, path: str, key: str, query: str = "") -> Any:
    async with client.get(f"/api/v1/{path}{query}") as answer:
        listed = (await answer.json())[key]
    async with client.get(f"/api/v1/{path}.csv{query}") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/csv"
        text = await answer.text()
    return listed, list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.mark.integration
@pytest.mark.usefixtures("snapshots")
async def test_shares_have_the_rows_and_figures_of_the_json(client: Client) -> None:
    for query in (
        "",
        "?window=now",
        "?window=now&adjust=none",
        "?window=now&as_of=2026-11-22T14:30:00Z",
    ):
        listed, rows = await both(client, "shares", "shares", query)
        assert [row["code"] for row in rows] == [row["code"] for row in listed] != [], query
        for line, row in zip(listed, rows, strict=True):
            assert row["name"] == line["name"]
            assert float(row["share"]) == line["share"]
            assert float(row["low"]) == line["low"]
            assert float(row["declared_high"]) == line["declared_high"]
            for name in ("sensitivity", "belief"):
                low, high = line[name] or ("", "")
                assert (row[f"{name}_min"], row[f"{name}_max"]) == (str(low), str(high))
            assert float(row["network_hashrate"]) == line["network_hashrate"]
            kinds = {kind: float(row[f"kinds_{kind}"]) for kind in line["kinds"]}
            assert kinds == line["kinds"]
            assert row["flags"] == " ".join(line["flags"])


@pytest.mark.integration
@pytest.mark.usefixtures("snapshots")
async def test_rows_say_what_they_are_about_in_their_last_columns(client: Client) -> None:
    paths = {
        "shares?window=24h": None,
        "shares?window=now&level=subdivision&country=CN": None,
        "contributions?code=US&window=24h&against=now": None,
        "history?code=US&step=day": ["2026-11-20", "2026-11-21", "2026-11-22"],
    }
    for path, windows in paths.items():
        async with client.get(f"/api/v1/{path}") as answer:
            document = await answer.json()
        async with client.get(f"/api/v1/{path.replace('?', '.csv?')}") as answer:
            lines = list(csv.DictReader(io.StringIO(await answer.text(), newline="")))
        assert set(list(lines[0])[-3:]) == {"window", "as_of", "simulated"}
        assert {line["as_of"] for line in lines} == {document["as_of"]}
        simulated = [line["simulated"] for line in lines]
        if windows is None:
            assert {line["window"] for line in lines} == {document["window"]}
            assert set(simulated) == {str(document["simulated"]).lower()}
        else:
            assert [line["window"] for line in lines[-3:]] == windows
            assert document["as_of"] == "2026-11-22T15:00:00Z"
            # Of the row alone: other rows of the same response can be of real reports.
            assert simulated == [str(point["simulated"]).lower() for point in document["points"]]


@pytest.mark.integration
@pytest.mark.usefixtures("snapshots")
async def test_subdivisions_have_their_share_of_the_country(client: Client) -> None:
    query = "?window=now&level=subdivision&country=CN&adjust=none"
    listed, rows = await both(client, "shares", "shares", query)
    assert [float(row["share_of_country"]) for row in rows] == [
        line["share_of_country"] for line in listed
    ]
    assert len(rows) == 2


@pytest.mark.integration
@pytest.mark.usefixtures("snapshots")
async def test_null_is_an_empty_cell(client: Client) -> None:
    listed, rows = await both(client, "pools", "pools")
    gamma = next(row for row in rows if row["pool"] == "gamma")
    assert len(rows) == len(listed) == 3
    assert gamma["state"] == "stale"
    empty = ("hashrate", "source", "kinds_measured", "kinds_estimated", "kinds_prior")
    assert {gamma[name] for name in empty} == {""}
    assert gamma["sources"] == "gamma-api"
    assert gamma["simulated"] == "false"


@pytest.mark.integration
async def test_an_empty_list_has_its_header(client: Client) -> None:
    for path in ("shares", "pools"):
        async with client.get(f"/api/v1/{path}.csv") as answer:
            lines = (await answer.text()).splitlines()
        assert len(lines) == 1
        assert "kinds_measured" in lines[0].split(",")


@pytest.mark.integration
async def test_places_have_the_rows_of_the_json(client: Client) -> None:
    listed, rows = await both(client, "places", "places")
    assert [(row["code"], row["name"], row["parent"] or None) for row in rows] == [
        (place["code"], place["name"], place["parent"]) for place in listed
    ]
    assert {row["flags"] for row in rows if row["code"].startswith("DE")} == {"proxy_suspected"}


@pytest.mark.integration
async def test_commas_quotes_and_line_breaks_are_preserved(client: Client, store: Store) -> None:
    name = 'A "place", or\r\ntwo'
    row = dict.fromkeys(ShareRow.__struct_fields__) | {
        "code": "US",
        "name": name,
        "share": 1.0,
        "hashrate": 0.0,
        "kinds": {"measured": 0.0, "declared": 0.0, "estimated": 0.0, "prior": 1e20},
        "belief": [0.5, 1.0],
        "flags": ["one", "two"],
    }
    answer = {"window": "1h", "as_of": "2026-11-22T15:00:00Z", "simulated": True, "shares": [row]}
    await store.snapshots.write({"1h/country": msgspec.json.encode(answer)})
    _, rows = await both(client, "shares", "shares")
    assert rows[0]["name"] == name
    assert rows[0]["flags"] == "one two"
    assert (rows[0]["belief_min"], rows[0]["belief_max"]) == ("0.5", "1.0")
    assert [rows[0][name] for name in ("low", "sensitivity_min", "sensitivity_max")] == ["", "", ""]


def test_text_that_looks_like_a_formula_is_escaped_and_numbers_are_not() -> None:
    table = to_csv(
        ["name", "share"], [{"name": "=1+1", "share": -0.25}, {"name": "@a", "share": 1}]
    )
    assert table == b"name,share\r\n'=1+1,-0.25\r\n'@a,1\r\n"
