"""Sums of miners by place, from a test database; no error contains an address."""

from __future__ import annotations

import io
from contextlib import closing
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from miningmap.partner.aggregate import Tally, aggregate, fold, rows_of
from miningmap.partner.csv import TableError
from miningmap.partner.database import Database, DatabaseError
from miningmap.partner.records import Location
from miningmap.places import OTHER, country_of
from tests.cases import all_cases
from tests.partner.fixtures import ADDRESSES, write_database, write_iranian_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from miningmap.partner.aggregate import Aggregate


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(write_database(tmp_path / "city.mmdb"))) as opened:
        yield opened


def by_place(text: str, database: Database | None = None, unit: str = "H/s") -> Aggregate:
    locate = database.locate if database else None
    return aggregate(io.StringIO(text, newline=""), locate, unit)


def figures(found: Aggregate) -> dict[str, tuple[float, int]]:
    return {code: (tally.hashrate, len(tally.miners)) for code, tally in found.located.items()}


def errors(text: str, database: Database | None = None) -> tuple[str, ...]:
    with pytest.raises(TableError) as caught:
        by_place(text, database)
    assert not any(address in str(caught.value.errors) for address in ADDRESSES.values())
    return caught.value.errors


def test_miners_are_added_up_by_the_place_of_their_address(database: Database) -> None:
    found = by_place(
        f"ip,hashrate\n{ADDRESSES['texas']},5e15\n{ADDRESSES['texas-2']},1e15\n"
        f"{ADDRESSES['sichuan']},2e15\n{ADDRESSES['norway']},0\n",
        database,
    )
    assert figures(found) == {"US-TX": (6e15, 2), "CN-SC": (2e15, 1), "NO": (0, 1)}
    assert not found.unlocated.rows


def test_a_hashrate_without_a_unit_is_in_the_unit_of_the_option(database: Database) -> None:
    text = f"hashrate,ip\n100,{ADDRESSES['texas']}\n2 PH/s,{ADDRESSES['texas']}\n"
    assert figures(by_place(text, database, "TH/s")) == {"US-TX": (2.1e15, 1)}


def test_an_address_that_is_listed_twice_is_one_miner(database: Database) -> None:
    lines = "".join(f"{ADDRESSES['texas']},1\n" for _ in range(3))
    assert figures(by_place("ip,hashrate\n" + lines, database)) == {"US-TX": (3, 1)}


def test_all_addresses_of_an_ipv6_site_are_one_miner(database: Database) -> None:
    site = ADDRESSES["quebec"].rpartition(":")[0]
    lines = "".join(f"{site}:{number:x},1\n" for number in range(1, 20))
    assert figures(by_place("ip,hashrate\n" + lines, database)) == {"CA-QC": (19, 1)}


def test_an_ipv4_mapped_ipv6_address_is_located_as_ipv4(database: Database) -> None:
    text = f"ip,hashrate\n::ffff:{ADDRESSES['texas']},1\n"
    assert figures(by_place(text, database)) == {"US-TX": (1, 1)}


def test_addresses_that_are_not_in_the_database_are_unlocated(database: Database) -> None:
    text = f"ip,hashrate\n10.0.0.1,4\n10.0.0.2,5\n{ADDRESSES['nowhere']},1\n"
    found = by_place(text + f"{ADDRESSES['texas']},1\n", database)
    assert figures(found) == {"US-TX": (1, 1)}
    assert (found.unlocated.hashrate, len(found.unlocated.miners)) == (10, 3)


def test_a_database_of_ipv4_does_not_locate_ipv6(tmp_path: Path) -> None:
    path = write_database(tmp_path / "country.mmdb", ip_version=4)
    with closing(Database(path)) as database:
        found = by_place(f"ip,hashrate\n{ADDRESSES['quebec']},1\n", database)
    assert found.unlocated.rows == 1


@all_cases(("built", "code"), [("2020-11-23", "IR-23"), ("2020-11-24", "IR-07")])
def test_a_database_says_itself_when_it_was_built(built: str, code: str, tmp_path: Path) -> None:
    with time_machine.travel(f"{built}T12:00:00Z"):
        path = write_iranian_database(tmp_path / "city.mmdb")
    with closing(Database(path)) as database:
        assert figures(by_place("ip,hashrate\n192.0.2.7,1\n", database)) == {code: (1, 1)}


def test_a_list_by_place_needs_no_database() -> None:
    found = by_place("place,hashrate\nUS-TX,1\nus-tx,2\nKazakhstan,4\nOTHER,8\nCN-OTHER,16\n")
    assert figures(found) == {
        "US-TX": (3, 2),
        "KZ": (4, 1),
        "OTHER": (8, 1),
        "CN-OTHER": (16, 1),
    }


def test_errors_name_lines_and_quote_no_content(database: Database) -> None:
    texas = ADDRESSES["texas"]
    text = f"ip,hashrate\n{texas}:3333,1\n{texas},{texas}\n{texas},?\n{texas},-5\n,1\n{texas},1\n"
    assert errors(text, database) == (
        "line 2: ip: not an IP address",
        "line 3: hashrate: expected a number, 0 or more",
        "line 4: hashrate: expected a number, 0 or more",
        "line 5: hashrate: expected a number, 0 or more",
        "line 6: ip: not an IP address",
    )
    (text,) = errors(f"place,hashrate\n{texas},1\n")
    assert text.startswith("line 2: place: neither a country nor")


@all_cases(
    ("header", "error"),
    [
        ("ip,place,hashrate", "line 1: expected either a column ip or a column place"),
        ("address,x,hashrate", "line 1: expected either a column ip or a column place"),
        ("ip,x,power", "line 1: missing column hashrate; found ip, x, power"),
        ("ip,x,hashrate", "line 1: a column ip needs --database"),
    ],
)
def test_a_list_with_invalid_columns_is_an_error(header: str, error: str) -> None:
    assert errors(f"{header}\n1,2,3\n") == (error,)


@pytest.mark.parametrize("content", [b"", b"not a database", b"\x00" * 4096])
def test_an_invalid_database_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "city.mmdb"
    path.write_bytes(content)
    with pytest.raises(DatabaseError, match=r"city\.mmdb: not a database in MaxMind's format"):
        Database(path)


def test_a_database_with_damaged_metadata_is_named(tmp_path: Path) -> None:
    path = write_database(tmp_path / "city.mmdb")
    path.write_bytes(path.read_bytes().replace(b"Test-City", b"\xff" * 9))
    with pytest.raises(DatabaseError, match=r"city\.mmdb: not a database in MaxMind's format"):
        Database(path)


def test_a_database_with_damaged_texts_is_an_error_of_the_lookup(tmp_path: Path) -> None:
    path = write_database(tmp_path / "city.mmdb")
    path.write_bytes(path.read_bytes().replace(b"BTX", b"B\xff\xff"))
    with closing(Database(path)) as opened, pytest.raises(DatabaseError, match="is damaged"):
        opened.locate(ip_address(ADDRESSES["texas"]))


def test_a_missing_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"none\.mmdb: No such file"):
        Database(tmp_path / "none.mmdb")


def test_miners_in_a_subdivision_that_is_not_understood_count_in_their_country_and_are_told() -> (
    None
):
    found = aggregate(
        io.StringIO("ip,hashrate\n192.0.2.1,4\n192.0.2.1,2\n192.0.2.2,1\n", newline=""),
        lambda address: Location("CN", "CN: Huadong") if address.packed[3] == 1 else Location("CN"),
        "H/s",
    )
    assert figures(found) == {"CN": (7, 2)}
    assert {
        name: (tally.hashrate, len(tally.miners)) for name, tally in found.not_understood.items()
    } == {"CN: Huadong": (6, 1)}


def test_a_list_by_place_may_have_former_and_nested_codes() -> None:
    found = by_place("place,hashrate\nKZ-AKM,1\nCN-51,2\nFR-75C,4\nFR-IDF,8\nUS-PR,16\nKAZ,32\n")
    assert figures(found) == {
        "KZ-11": (1, 1),
        "CN-SC": (2, 1),
        "FR-IDF": (12, 2),
        "PR": (16, 1),
        "KZ": (32, 1),
    }


def test_rows_have_the_form_of_contributions() -> None:
    located = {"US-TX": tally(1.5e15), "US": tally(1e12), OTHER: tally(0), "CN-OTHER": tally(1)}
    assert [tuple(row.values()) for row in rows_of(located, "2026-11-01", "daily")] == [
        ("2026-11-01", "daily", "CN", "CN-OTHER", 1e-12, "th/s"),
        ("2026-11-01", "daily", "OTHER", None, 0.0, "th/s"),
        ("2026-11-01", "daily", "US", None, 1.0, "th/s"),
        ("2026-11-01", "daily", "US", "US-TX", 1500.0, "th/s"),
    ]


# --- merging small places -------------------------------------------------------------------------


def tally(hashrate: float, miners: int = 1, first: int = 0) -> Tally:
    return Tally(hashrate, miners, set(range(first, first + miners)))


def folded(least: int, **miners: int) -> dict[str, int]:
    """Fold places with these numbers of miners (``US_TX=3``) and return the numbers after it."""
    names = {name.replace("_", "-"): number for name, number in miners.items()}
    located = {
        code: tally(float(number), number, 1000 * index)
        for index, (code, number) in enumerate(names.items())
    }
    return {code: len(tally.miners) for code, tally in fold(located, least).items()}


def test_a_small_subdivision_joins_the_others_of_its_country() -> None:
    assert folded(3, US_TX=9, US_WY=2, US_MT=1) == {"US-TX": 9, "US-OTHER": 3}


def test_a_remainder_that_is_too_small_includes_the_next_smallest_subdivision() -> None:
    assert folded(3, US_TX=9, US_GA=4, US_WY=1) == {"US-TX": 9, "US-OTHER": 5}


def test_without_another_subdivision_to_merge_the_whole_country_is_listed() -> None:
    assert folded(3, US=7, US_WY=1) == {"US": 8}
    assert folded(5, US_WY=2, US_MT=1, US=2) == {"US": 5}


def test_a_small_country_remainder_includes_the_smallest_subdivision() -> None:
    assert folded(3, US=1, US_TX=9, US_GA=4) == {"US-TX": 9, "US": 5}


def test_a_small_country_becomes_other_with_the_next_smallest_place() -> None:
    assert folded(3, US_TX=9, KZ=8, MC=1) == {"US-TX": 9, "OTHER": 9}
    assert folded(3, US_TX=9, KZ=8, MC=2, AD=1) == {"US-TX": 9, "KZ": 8, "OTHER": 3}
    assert folded(3, US_TX=9, MC=1, OTHER=5) == {"US-TX": 9, "OTHER": 6}


def test_fewer_miners_than_the_minimum_in_all_give_no_places() -> None:
    assert folded(3, US=1, KZ=1) == {}


def test_a_minimum_of_one_merges_nothing() -> None:
    assert folded(1, US_TX=1, US=1, OTHER=1) == {"US-TX": 1, "US": 1, "OTHER": 1}


CODES = ["US", "US-TX", "US-WY", "US-OTHER", "CN", "CN-SC", "CN-XJ", "KZ", "NO", OTHER]


@given(st.dictionaries(st.sampled_from(CODES), st.integers(1, 9)), st.integers(1, 12))
def test_merged_places_have_enough_miners_and_the_same_hashrate(
    miners: dict[str, int], least: int
) -> None:
    located = {
        code: tally(float(number), number, 1000 * index)
        for index, (code, number) in enumerate(miners.items())
    }
    found = fold(located, least)
    if not found:
        assert sum(miners.values()) < least or not miners
        return
    assert all(len(tally.miners) >= least for tally in found.values())
    assert sum(tally.hashrate for tally in found.values()) == sum(miners.values())
    where = {miner: code for code, tally in found.items() for miner in tally.miners}
    for code, before in located.items():
        country = country_of(code)
        (now,) = {where[miner] for miner in before.miners}
        # The place itself, the remainder of its country, the whole country, or OTHER.
        allowed = {code, country, OTHER} | ({f"{country}-OTHER"} if "-" in code else set())
        assert now in allowed
    assert fold(found, least) == found
