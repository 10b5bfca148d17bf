"""Records of several databases of addresses: MaxMind's, DB-IP's, IPinfo's, old and new."""

from __future__ import annotations

from datetime import date
from typing import Any

from miningmap.partner.records import Location, location_of
from tests.cases import all_cases

BUILT = date(2026, 11, 1)


def maxmind(country: str, *codes: str) -> dict[str, Any]:
    return {
        "country": {"iso_code": country},
        "subdivisions": [{"iso_code": code} for code in codes],
    }


def dbip(country: str, *names: str) -> dict[str, Any]:
    return {
        "country": {"iso_code": country, "names": {"en": "?"}},
        "subdivisions": [{"names": {"en": name}} for name in names],
    }


def place_of(record: object, built: date = BUILT) -> str | None:
    """Return the place of a record whose subdivision, if any, is understood."""
    location = location_of(record, built)
    assert location is None or location.not_understood is None
    return location.code if location else None


@all_cases(
    ("record", "code"),
    [
        (maxmind("US", "TX"), "US-TX"),
        (maxmind("GB", "ENG"), "GB-ENG"),
        (maxmind("GB", "ENG", "OXF"), "GB-ENG"),
        (maxmind("GB", "OXF"), "GB-ENG"),
        (maxmind("FR", "?", "33"), "FR-NAQ"),
        (maxmind("KZ"), "KZ"),
        (maxmind("XK"), "XK"),
        (maxmind("HK", "HCW"), "HK"),  # ISO has no subdivisions there
        (maxmind("CN", "TW"), "TW"),
        (maxmind("US", "PR"), "PR"),
        ({"registered_country": {"iso_code": "US"}}, None),
        ({"continent": {"code": "EU"}}, None),
        (maxmind("EU"), None),
        ({"country": {"iso_code": 1}}, None),
        ({"country": {"iso_code": "US"}, "subdivisions": "TX"}, "US"),
        ({"country": {"iso_code": "US"}, "subdivisions": ["TX", None, {"names": 1}]}, "US"),
        ({"autonomous_system_number": 1}, None),
        ([], None),
        (None, None),
    ],
)
def test_codes_are_of_the_country_and_the_outermost_subdivision(
    record: object, code: str | None
) -> None:
    assert place_of(record) == code


@all_cases(
    ("record", "code"),
    [
        (dbip("US", "Texas"), "US-TX"),
        (dbip("US", "Georgia"), "US-GA"),
        (dbip("CN", "Sichuan"), "CN-SC"),
        (dbip("CN", "Inner Mongolia Autonomous Region"), "CN-NM"),
        (dbip("KZ", "Pavlodar Region"), "KZ-55"),
        (dbip("KZ", "Almaty Region"), "KZ-19"),
        (dbip("KZ", "Almaty"), "KZ-75"),
        (dbip("KZ", "Akmola Region"), "KZ-11"),
        (dbip("RU", "Irkutsk Oblast"), "RU-IRK"),
        (dbip("RU", "Krasnoyarsk Krai"), "RU-KYA"),
        (dbip("IR", "Tehran"), "IR-23"),
        (dbip("IR", "Razavi Khorasan"), "IR-09"),
        (dbip("FR", "Île-de-France"), "FR-IDF"),
        (dbip("FR", "Ile-de-France", "Paris"), "FR-IDF"),
        (dbip("GB", "England"), "GB-ENG"),
        (dbip("DE", "North Rhine-Westphalia"), "DE-NW"),
        (dbip("CA", "Quebec"), "CA-QC"),
        (dbip("PY", "Alto Paraná Department"), "PY-10"),
        (dbip("NO", "Nordland"), "NO-18"),
        (dbip("NO", "Troms"), "NO-54"),
        (dbip("SE", "Stockholm County"), "SE-AB"),
        (dbip("FR", "Pays de la Loire"), "FR-PDL"),
        (dbip("ID", "West Java"), "ID-JW"),
        (dbip("CN", "Hong Kong"), "HK"),
        (dbip("US", "Puerto Rico"), "PR"),
        (dbip("NO", ""), "NO"),
        (dbip("NO"), "NO"),
    ],
)
def test_names_are_read_where_there_is_no_code(record: object, code: str) -> None:
    assert place_of(record) == code


@all_cases(
    ("record", "code"),
    [
        ({"country": "US", "region": "Texas", "city": "Austin"}, "US-TX"),
        ({"country": "United States", "country_code": "US", "region": "Texas"}, "US-TX"),
        ({"country": "KZ", "country_name": "Kazakhstan", "region": "Pavlodar Region"}, "KZ-55"),
        ({"country_code": "US", "region": "", "region_code": "TX"}, "US-TX"),
        ({"country_code": "CN", "state1": "Sichuan"}, "CN-SC"),
        ({"country": "Iran, Islamic Republic of"}, "IR"),
        ({"country": "US", "region": "-"}, "US"),
        ({"ip": "192.0.2.1", "geo": {"country_code": "CA", "region": "Quebec"}}, "CA-QC"),
        ({"country": "Antarctica", "country_code": "AQ", "continent": "Antarctica"}, "AQ"),
        ({"country": "Nowhere", "region": "Texas"}, None),
        ({"region": "Texas"}, None),
        ({"country": ""}, None),
    ],
)
def test_flat_records_are_read(record: object, code: str | None) -> None:
    assert place_of(record) == code


@all_cases(
    ("country", "former", "code"),
    [
        ("KZ", "AKM", "KZ-11"),
        ("KZ", "KAR", "KZ-35"),
        ("CN", "51", "CN-SC"),
        ("CN", "65", "CN-XJ"),
        ("CN", "91", "HK"),
        ("NO", "55", "NO-54"),
        ("NO", "12", "NO-46"),
        ("FR", "V", "FR-ARA"),
        ("FR", "75", "FR-IDF"),
        ("PL", "MZ", "PL-14"),
        ("IR", "32", "IR-30"),
    ],
)
def test_former_codes_are_the_subdivisions_of_today(country: str, former: str, code: str) -> None:
    assert place_of(maxmind(country, former)) == code


BEFORE, AFTER = date(2020, 11, 23), date(2020, 11, 24)


@all_cases(
    ("code", "before", "after"),
    [
        ("07", "IR-23", "IR-07"),  # Tehran, then Fars
        ("14", "IR-07", "IR-14"),
        ("28", "IR-26", "IR-28"),
        ("27", "IR-27", "IR-27"),
    ],
)
def test_the_day_of_the_database_tells_what_a_code_of_iran_means(
    code: str, before: str, after: str
) -> None:
    assert place_of(maxmind("IR", code), BEFORE) == before
    assert place_of(maxmind("IR", f"IR-{code}"), BEFORE) == before
    assert place_of(maxmind("IR", code), AFTER) == after


def test_a_name_beside_a_renumbered_code_tells_which_numbering_it_is_of() -> None:
    def named(code: str, name: str) -> dict[str, Any]:
        subdivision = {"iso_code": code, "names": {"en": name}}
        return {"country": {"iso_code": "IR"}, "subdivisions": [subdivision]}

    assert place_of(named("07", "Tehran"), AFTER) == "IR-23"
    assert place_of(named("23", "Tehran"), BEFORE) == "IR-23"
    assert place_of(named("07", "somewhere else"), BEFORE) == "IR-23"


@all_cases(
    ("record", "location"),
    [
        (dbip("CN", "Huadong"), Location("CN", "CN: Huadong")),
        (dbip("CN", "Texas"), Location("CN", "CN: Texas")),
        (dbip("KZ", "Pavlodr"), Location("KZ", "KZ: Pavlodr")),
        (dbip("MZ", "Maputo"), Location("MZ", "MZ: Maputo")),  # the city or the province
        (dbip("US", "Other"), Location("US", "US: Other")),
        (maxmind("KZ", "YUZ"), Location("KZ", "KZ: YUZ")),
        (maxmind("FR", "?", "!"), Location("FR", "FR: ?")),
        ({"country": "US", "region": "Tejas"}, Location("US", "US: Tejas")),
    ],
)
def test_a_subdivision_that_is_not_understood_is_named_beside_its_country(
    record: object, location: Location
) -> None:
    assert location_of(record, BUILT) == location
