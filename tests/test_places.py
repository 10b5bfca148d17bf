"""Places: the names that pools and the World Bank use, and the errors for unknown names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miningmap import place_names
from miningmap.former_codes import DIVIDED, FORMER, RENUMBERED
from miningmap.places import (
    OTHER,
    UNKNOWN,
    UnknownPlaceError,
    all_places,
    country_of,
    flags_of,
    hint,
    is_country,
    is_locatable,
    is_subdivision,
    name_of,
    outermost,
    own_country,
    resolve,
    world_bank_name,
)
from tests.cases import all_cases
from tests.country_names import COUNTRY_NAMES

# The 218 names of the World Bank, which CBECI's contribution API accepts.
WORLD_BANK: dict[str, str] = {
    "Afghanistan": "AF",
    "Albania": "AL",
    "Algeria": "DZ",
    "American Samoa": "AS",
    "Andorra": "AD",
    "Angola": "AO",
    "Antigua and Barbuda": "AG",
    "Argentina": "AR",
    "Armenia": "AM",
    "Aruba": "AW",
    "Australia": "AU",
    "Austria": "AT",
    "Azerbaijan": "AZ",
    "Bahamas, The": "BS",
    "Bahrain": "BH",
    "Bangladesh": "BD",
    "Barbados": "BB",
    "Belarus": "BY",
    "Belgium": "BE",
    "Belize": "BZ",
    "Benin": "BJ",
    "Bermuda": "BM",
    "Bhutan": "BT",
    "Bolivia": "BO",
    "Bosnia and Herzegovina": "BA",
    "Botswana": "BW",
    "Brazil": "BR",
    "British Virgin Islands": "VG",
    "Brunei Darussalam": "BN",
    "Bulgaria": "BG",
    "Burkina Faso": "BF",
    "Burundi": "BI",
    "Cabo Verde": "CV",
    "Cambodia": "KH",
    "Cameroon": "CM",
    "Canada": "CA",
    "Cayman Islands": "KY",
    "Central African Republic": "CF",
    "Chad": "TD",
    "Channel Islands": "OTHER",
    "Chile": "CL",
    "China": "CN",
    "Colombia": "CO",
    "Comoros": "KM",
    "Congo, Dem. Rep.": "CD",
    "Congo, Rep.": "CG",
    "Costa Rica": "CR",
    "Cote D'Ivoire": "CI",
    "Croatia": "HR",
    "Cuba": "CU",
    "Curacao": "CW",
    "Cyprus": "CY",
    "Czech Republic": "CZ",
    "Denmark": "DK",
    "Djibouti": "DJ",
    "Dominica": "DM",
    "Dominican Republic": "DO",
    "Ecuador": "EC",
    "Egypt, Arab Rep.": "EG",
    "El Salvador": "SV",
    "Equatorial Guinea": "GQ",
    "Eritrea": "ER",
    "Estonia": "EE",
    "Eswatini": "SZ",
    "Ethiopia": "ET",
    "Faroe Islands": "FO",
    "Fiji": "FJ",
    "Finland": "FI",
    "France": "FR",
    "French Polynesia": "PF",
    "Gabon": "GA",
    "Gambia, The": "GM",
    "Georgia": "GE",
    "Germany": "DE",
    "Ghana": "GH",
    "Gibraltar": "GI",
    "Greece": "GR",
    "Greenland": "GL",
    "Grenada": "GD",
    "Guam": "GU",
    "Guatemala": "GT",
    "Guinea": "GN",
    "Guinea-Bissau": "GW",
    "Guyana": "GY",
    "Haiti": "HT",
    "Honduras": "HN",
    "Hong Kong SAR, China": "HK",
    "Hungary": "HU",
    "Iceland": "IS",
    "India": "IN",
    "Indonesia": "ID",
    "Iran, Islamic Rep.": "IR",
    "Iraq": "IQ",
    "Ireland": "IE",
    "Isle of Man": "IM",
    "Israel": "IL",
    "Italy": "IT",
    "Jamaica": "JM",
    "Japan": "JP",
    "Jordan": "JO",
    "Kazakhstan": "KZ",
    "Kenya": "KE",
    "Kiribati": "KI",
    "Korea, Dem. People's Rep.": "KP",
    "Korea, Rep.": "KR",
    "Kosovo": "XK",
    "Kuwait": "KW",
    "Kyrgyz Republic": "KG",
    "Lao PDR": "LA",
    "Latvia": "LV",
    "Lebanon": "LB",
    "Lesotho": "LS",
    "Liberia": "LR",
    "Libya": "LY",
    "Liechtenstein": "LI",
    "Lithuania": "LT",
    "Luxembourg": "LU",
    "Macao SAR, China": "MO",
    "Madagascar": "MG",
    "Malawi": "MW",
    "Malaysia": "MY",
    "Maldives": "MV",
    "Mali": "ML",
    "Malta": "MT",
    "Marshall Islands": "MH",
    "Mauritania": "MR",
    "Mauritius": "MU",
    "Mexico": "MX",
    "Micronesia, Fed. Sts.": "FM",
    "Moldova": "MD",
    "Monaco": "MC",
    "Mongolia": "MN",
    "Montenegro": "ME",
    "Morocco": "MA",
    "Mozambique": "MZ",
    "Myanmar": "MM",
    "Namibia": "NA",
    "Nauru": "NR",
    "Nepal": "NP",
    "Netherlands": "NL",
    "New Caledonia": "NC",
    "New Zealand": "NZ",
    "Nicaragua": "NI",
    "Niger": "NE",
    "Nigeria": "NG",
    "North Macedonia": "MK",
    "Northern Mariana Islands": "MP",
    "Norway": "NO",
    "Oman": "OM",
    "Pakistan": "PK",
    "Palau": "PW",
    "Panama": "PA",
    "Papua New Guinea": "PG",
    "Paraguay": "PY",
    "Peru": "PE",
    "Philippines": "PH",
    "Poland": "PL",
    "Portugal": "PT",
    "Puerto Rico": "PR",
    "Qatar": "QA",
    "Romania": "RO",
    "Russian Federation": "RU",
    "Rwanda": "RW",
    "Samoa": "WS",
    "San Marino": "SM",
    "Sao Tome and Principe": "ST",
    "Saudi Arabia": "SA",
    "Senegal": "SN",
    "Serbia": "RS",
    "Seychelles": "SC",
    "Sierra Leone": "SL",
    "Singapore": "SG",
    "Sint Maarten (Dutch part)": "SX",
    "Slovak Republic": "SK",
    "Slovenia": "SI",
    "Solomon Islands": "SB",
    "Somalia": "SO",
    "South Africa": "ZA",
    "South Sudan": "SS",
    "Spain": "ES",
    "Sri Lanka": "LK",
    "St. Kitts and Nevis": "KN",
    "St. Lucia": "LC",
    "St. Martin (French part)": "MF",
    "St. Vincent and the Grenadines": "VC",
    "Sudan": "SD",
    "Suriname": "SR",
    "Sweden": "SE",
    "Switzerland": "CH",
    "Syrian Arab Republic": "SY",
    "Taiwan, China": "TW",
    "Tajikistan": "TJ",
    "Tanzania": "TZ",
    "Thailand": "TH",
    "Timor-Leste": "TL",
    "Togo": "TG",
    "Tonga": "TO",
    "Trinidad and Tobago": "TT",
    "Tunisia": "TN",
    "Turkey": "TR",
    "Turkmenistan": "TM",
    "Turks and Caicos Islands": "TC",
    "Tuvalu": "TV",
    "Uganda": "UG",
    "Ukraine": "UA",
    "United Arab Emirates": "AE",
    "United Kingdom": "GB",
    "United States": "US",
    "Uruguay": "UY",
    "Uzbekistan": "UZ",
    "Vanuatu": "VU",
    "Venezuela, RB": "VE",
    "Vietnam": "VN",
    "Virgin Islands (U.S.)": "VI",
    "West Bank and Gaza": "PS",
    "Yemen, Rep.": "YE",
    "Zambia": "ZM",
    "Zimbabwe": "ZW",
}
# The names that the list has changed since.
WORLD_BANK_NOW = {
    "Curaçao": "CW",
    "Czechia": "CZ",
    "Côte d'Ivoire": "CI",
    "Faroe Islands": "FO",
    "Puerto Rico (US)": "PR",
    "Somalia, Fed. Rep.": "SO",
    "São Tomé and Príncipe": "ST",
    "Turkiye": "TR",
    "Türkiye": "TR",
    "Viet Nam": "VN",
}
# Two countries in ISO 3166-1, GG and JE.
WITHOUT_A_CODE = {"Channel Islands"}


def code_or_error(country: str, province: str | None) -> str:
    try:
        return resolve(country, province)
    except UnknownPlaceError as error:
        return str(error)


def test_the_list_of_the_world_bank_is_complete() -> None:
    assert len(WORLD_BANK) == 218


@all_cases(("name", "code"), WORLD_BANK.items())
def test_every_name_of_the_world_bank_is_a_country(name: str, code: str) -> None:
    assert resolve(name) == code
    assert is_locatable(code)
    assert is_country(code) or name in WITHOUT_A_CODE


@all_cases(("name", "code"), WORLD_BANK_NOW.items())
def test_a_name_that_the_world_bank_changed_is_found_too(name: str, code: str) -> None:
    assert resolve(name) == code


def test_many_names_are_listed() -> None:
    assert len(set(COUNTRY_NAMES)) >= 400


@all_cases(("name", "code"), COUNTRY_NAMES)
def test_names_that_others_print_are_the_right_countries(name: str, code: str) -> None:
    assert resolve(name) == code


@pytest.mark.parametrize("sign", ["*", "#", "¹", " *", "[1]", " 1"])
def test_a_name_after_many_footnotes_is_refused_and_not_searched_for_ever(sign: str) -> None:
    """Without an answer in bounded time, one row of a partner would hold up its server."""
    with pytest.raises(UnknownPlaceError):
        resolve("Nowhere" + sign * 60 + "x")
    assert resolve("Germany" + " *" * 20) == "DE"


@all_cases(
    ("name", "codes"),
    [
        ("Korea", "KP, KR"),
        ("Virgin Islands", "VG, VI"),
        ("Republic of China", "CN, TW"),  # Taiwan's own name, which also is written for China
    ],
)
def test_a_name_of_two_countries_is_refused(name: str, codes: str) -> None:
    with pytest.raises(UnknownPlaceError, match=f"more than one country .* send one of {codes}$"):
        resolve(name)


@all_cases(
    ("name", "near"),
    [
        ("People's Republic of Chyna", "China (CN)"),
        ("Iran (Islamic Republik of)", "Iran (IR)"),
        ("Iran Islamik Republic", "Iran (IR)"),
        ("Ireland (Ulster)", "Ireland (IE)"),
        ("Ukraine (without Crimea)", "Ukraine (UA)"),
        ("People's Republic of Korea", "North Korea (KP), South Korea (KR)"),
        ("Kazakstan", "Kazakhstan (KZ)"),
    ],
)
def test_near_matches_are_of_what_a_name_has_for_itself(name: str, near: str) -> None:
    with pytest.raises(UnknownPlaceError, match=r"^unknown country: ") as caught:
        resolve(name)
    assert str(caught.value).partition("; near matches: ")[2] == near


@all_cases(
    "name",
    [
        "Republic",
        "Islamic Republic",
        "Democratic Republic of",
        "Yugoslavia",
        "Zone 1",
        "(the)",
        "*",
    ],
)
def test_a_name_of_no_country_is_near_to_none(name: str) -> None:
    with pytest.raises(UnknownPlaceError, match=r"^unknown country: ") as caught:
        resolve(name)
    assert "near matches" not in str(caught.value)


def test_a_country_is_named_as_by_the_world_bank() -> None:
    named = {name: code for name, code in WORLD_BANK.items() if name not in WITHOUT_A_CODE}
    assert {world_bank_name(code): code for code in named.values()} == named
    assert [world_bank_name(code) for code in ("AQ", "OTHER")] == ["Antarctica", "Other"]


def test_names_of_the_world_bank_are_different_countries() -> None:
    codes = [code for name, code in WORLD_BANK.items() if name not in WITHOUT_A_CODE]
    assert len(codes) == len(set(codes)) == 217


@all_cases(
    ("name", "code"),
    [
        ("cn", "CN"),
        ("China", "CN"),
        ("Mainland China", "CN"),
        ("Germany *", "DE"),
        ("Ireland*", "IE"),
        ("  russia ", "RU"),
        ("RUSSIA", "RU"),
        ("USA", "US"),
        ("United  States", "US"),
        ("UK", "GB"),
        ("Iran", "IR"),
        ("South Korea", "KR"),
        ("Vietnam", "VN"),
        ("Viet Nam", "VN"),
        ("Laos", "LA"),
        ("Czechia", "CZ"),
        ("Türkiye", "TR"),
        ("Turkiye", "TR"),
        ("Turkey", "TR"),
        ("Côte d\N{RIGHT SINGLE QUOTATION MARK}Ivoire", "CI"),
        ("Ivory Coast", "CI"),
        ("Curaçao", "CW"),
        ("Swaziland", "SZ"),
        ("Macau", "MO"),
        ("The Netherlands", "NL"),
        ("Kosovo", "XK"),
        ("xk", "XK"),
        ("Other", OTHER),
        ("OTHER", OTHER),
    ],
)
def test_countries_are_found_by_common_names(name: str, code: str) -> None:
    assert resolve(name) == code


@all_cases(
    ("country", "province", "code"),
    [
        ("China", "Sichuan", "CN-SC"),
        ("China", "Sichuan Sheng", "CN-SC"),
        ("Mainland China", "SICHUAN", "CN-SC"),
        ("China", "SC", "CN-SC"),
        ("China", "CN-SC", "CN-SC"),
        ("China", "Beijing", "CN-BJ"),
        ("China", "Beijing Shi", "CN-BJ"),
        ("China", "Shanxi", "CN-SX"),
        ("China", "Shaanxi", "CN-SN"),
        ("China", "Inner Mongolia", "CN-NM"),
        ("China", "Nei Mongol", "CN-NM"),
        ("China", "Nei Monggol", "CN-NM"),
        ("China", "Nei Mongol Zizhiqu", "CN-NM"),
        ("China", "Xinjiang", "CN-XJ"),
        ("China", "Xinjiang Uygur Zizhiqu", "CN-XJ"),
        ("China", "Guangxi", "CN-GX"),
        ("China", "Ningxia", "CN-NX"),
        ("China", "Tibet", "CN-XZ"),
        ("China", "Xizang", "CN-XZ"),
        ("United States", "Texas", "US-TX"),
        ("US", "tx", "US-TX"),
        ("USA", "US-GA", "US-GA"),
        ("United States", "Georgia", "US-GA"),
        ("United States", "New York", "US-NY"),
        ("Canada", "Quebec", "CA-QC"),
        ("Canada", "Québec", "CA-QC"),
        ("China", "Other", "CN-OTHER"),
        ("China", "Others", "CN-OTHER"),
        ("CN", "OTHERS", "CN-OTHER"),
        ("China", "CN-OTHER", "CN-OTHER"),
        ("United States", "other in united states", "US-OTHER"),
        ("United States", None, "US"),
    ],
)
def test_provinces_by_name_and_by_code(country: str, province: str | None, code: str) -> None:
    assert resolve(country, province) == code


@all_cases(
    ("country", "province", "code"),
    [
        ("China", "Sichuan Province", "CN-SC"),
        ("China", "Xinjiang Uyghur Autonomous Region", "CN-XJ"),
        ("United States", "State of Texas", "US-TX"),
        ("United States", "Washington State", "US-WA"),
        ("United States", "Washington, D.C.", "US-DC"),
        ("Russian Federation", "Irkutsk", "RU-IRK"),
        ("Russian Federation", "Irkutsk Oblast", "RU-IRK"),
        ("Russian Federation", "Krasnoyarsk Krai", "RU-KYA"),
        ("Russian Federation", "Republic of Buryatia", "RU-BU"),
        ("Russian Federation", "Moscow", "RU-MOW"),
        ("Russian Federation", "Moscow Oblast", "RU-MOS"),
        ("Kazakhstan", "Pavlodar", "KZ-55"),
        ("Kazakhstan", "Karaganda Region", "KZ-35"),
        ("Kazakhstan", "Almaty", "KZ-75"),
        ("Kazakhstan", "Almaty Region", "KZ-19"),
        ("Kazakhstan", "Pavlodar Region", "KZ-55"),
        ("Russia", "Tula Oblast", "RU-TUL"),
        ("Russia", "Arkhangel'sk", "RU-ARK"),
        ("Russia", "Altai Krai", "RU-ALT"),
        ("Norway", "Trondelag", "NO-50"),
        ("Poland", "Łódź Voivodeship", "PL-10"),
        ("Spain", "Cataluña", "ES-CT"),
        ("France", "Paris", "FR-75C"),
        ("Iran, Islamic Rep.", "Isfahan Province", "IR-10"),
        ("Ireland", "County Cork", "IE-CO"),
        ("Sweden", "Norrbotten County", "SE-BD"),
        ("Germany", "Bavaria", "DE-BY"),
        ("Oman", "Dhofar Governorate", "OM-ZU"),
        ("United Kingdom", "City of London", "GB-LND"),
        ("United Kingdom", "County Durham", "GB-DUR"),
        ("Spain", "Comunidad de Madrid", "ES-MD"),
    ],
)
def test_provinces_by_english_names(country: str, province: str, code: str) -> None:
    assert resolve(country, province) == code


def test_listed_names_are_of_existing_places() -> None:
    for code, names in place_names.SUBDIVISIONS.items():
        assert is_subdivision(code)
        assert {resolve(country_of(code), name) for name in names} == {code}
    for code in place_names.COUNTRIES:
        assert is_country(code) or code == OTHER


def test_former_codes_are_of_places_of_today() -> None:
    for former, code in (FORMER | RENUMBERED).items():
        assert is_locatable(code)
        assert country_of(former) == country_of(code) or own_country(f"CN-{code}")
    assert not any(map(is_locatable, FORMER))
    assert hint("KZ-AKM") == "a former code; use KZ-11"
    for former, codes in DIVIDED.items():
        assert not is_locatable(former)
        assert all(map(is_locatable, codes))
    assert hint("KZ-YUZ") == "it was divided; use KZ-61 or KZ-79"


def test_all_chinese_provinces_and_american_states_are_found_by_name() -> None:
    listed = [place for place in all_places() if place.parent in {"CN", "US"}]
    assert len([place for place in listed if place.parent == "CN"]) == 31
    assert {resolve(place.parent or "", place.name) for place in listed} == {
        place.code for place in listed
    }


def test_every_place_is_found_by_its_name_unless_it_is_ambiguous() -> None:
    for place in all_places():
        country, province = name_of(country_of(place.code)), place.name if place.parent else None
        found = code_or_error(country, province)
        if found != place.code:
            assert found.startswith("more than one subdivision") or found == outermost(place.code)
            assert outermost(place.code) in found


def test_the_error_for_an_ambiguous_name_suggests_the_code() -> None:
    with pytest.raises(
        UnknownPlaceError,
        match=r"more than one subdivision of MZ is called 'Maputo'; send one of MZ-L, MZ-MPM$",
    ):
        resolve("Mozambique", "Maputo")
    assert resolve("Mozambique", "MZ-L") == "MZ-L"
    assert resolve("Mozambique", "Maputo City") == "MZ-MPM"


def test_of_nested_subdivisions_of_one_name_the_outermost_is_meant() -> None:
    assert resolve("Bangladesh", "Dhaka") == "BD-C"
    assert resolve("Bangladesh", "Dhaka Division") == "BD-C"
    assert resolve("Bangladesh", "BD-13") == "BD-13"


@all_cases(
    ("country", "province", "error"),
    [
        ("Chnia", None, "unknown country: 'Chnia'; near matches: China (CN)"),
        ("United State", None, "near matches: United States (US)"),
        ("Zzzz", None, "unknown country: 'Zzzz'"),
        ("", None, "unknown country: ''"),
        ("\N{LATIN SMALL LETTER SHARP S}", None, "unknown country"),  # its capitals are SS
        ("CN-SC", None, "unknown country: 'CN-SC'"),
        ("China", "Sichaun", "unknown subdivision of CN: 'Sichaun'; near matches: Sichuan (CN-SC)"),
        ("China", "Texas", "unknown subdivision of CN: 'Texas'"),
        ("China", "Beijing City", "near matches: Beijing (CN-BJ)"),
        ("United States", "Kansas City", "near matches: Kansas (US-KS)"),
        ("Kazakhstan", "Ekibastuz", "'Ekibastuz'; the ISO 3166-2 code is accepted too"),
        (
            "Kosovo",
            "Pristina",
            "; ISO 3166-2 has no subdivisions there; leave the province null",
        ),
        ("Kazakhstan", "KZ-AKM", "KZ: 'KZ-AKM'; a former code; use KZ-11"),
        ("KZ", "akm", "KZ: 'akm'; a former code; use KZ-11"),
        ("China", "CN-51", "CN: 'CN-51'; a former code; use CN-SC"),
        ("China", "CN-71", "CN: 'CN-71'; a former code; use TW"),
        ("Norway", "NO-55", "NO: 'NO-55'; a former code; use NO-54"),
        ("Kazakhstan", "KZ-YUZ", "KZ: 'KZ-YUZ'; it was divided; use KZ-61 or KZ-79"),
        (
            "Kazakhstan",
            "South Kazakhstan Region",
            "'South Kazakhstan Region'; it was divided; use KZ-61 or KZ-79",
        ),
        ("Other", "Sichuan", "'Other' has no provinces; leave the province null"),
        ("Unknown", None, "leave out hashrate that is not located"),
        ("China", UNKNOWN, "leave out hashrate that is not located"),
    ],
)
def test_an_unknown_name_is_an_error_with_near_matches(
    country: str, province: str | None, error: str
) -> None:
    with pytest.raises(UnknownPlaceError) as caught:
        resolve(country, province)
    assert error in str(caught.value)


@all_cases(
    ("country", "province", "near"),
    [
        ("South Macedonia", None, ""),
        ("East Sahara", None, ""),
        ("North Sudan", None, "Sudan (SD)"),
        ("North Africa", None, ""),
        ("South Somalia", None, "Somalia (SO)"),  # like "shomali", which is north in Persian
        ("South Timor", None, ""),
        ("Noth Korea", None, "North Korea (KP)"),
        ("Soth Korea", None, "South Korea (KR)"),
        ("Kazakhstan", "Ontustik Qazaqstan", ""),
        ("Indonesia", "South Java", ""),
        (
            "Indonesia",
            "Jawa Selatan",
            "Jawa (ID-JW), Papua Selatan (ID-PS), Sumatera Selatan (ID-SS)",
        ),
        ("United States", "South Dakta", "South Dakota (US-SD)"),
        ("United States", "Nort Dakota", "North Dakota (US-ND)"),
        ("United States", "East Virginia", "Virginia (US-VA)"),
        ("Australia", "East Australia", ""),
        ("India", "East Bengal", ""),
        ("Argentina", "Este Rios", "Entre Ríos (AR-E)"),  # "entre" is like "centre", and is not it
        ("Iran", "East Khorasan", "Khorāsān-e Raẕavī (IR-09)"),
    ],
)
def test_a_near_match_is_in_no_opposite_direction(
    country: str, province: str | None, near: str
) -> None:
    with pytest.raises(UnknownPlaceError) as caught:
        resolve(country, province)
    assert str(caught.value).partition("; near matches: ")[2] == near


def test_an_error_has_at_most_three_different_near_matches() -> None:
    with pytest.raises(UnknownPlaceError) as caught:
        resolve("united state")
    near = str(caught.value).partition("near matches: ")[2]
    assert near.count("(US)") == 1
    assert near.count("(") <= 3


def test_an_error_quotes_only_the_beginning_of_a_long_text() -> None:
    with pytest.raises(UnknownPlaceError) as caught:
        resolve("x" * 1_000_000)
    assert len(str(caught.value)) < 200


@all_cases(
    ("subdivision", "code", "name", "country", "province"),
    [
        ("CN-HK", "HK", "Hong Kong", "China", "HK"),
        ("CN-MO", "MO", "Macao SAR, China", "China", "Macau"),
        ("CN-TW", "TW", "Taiwan", "China", "Taiwan"),
        ("US-PR", "PR", "Puerto Rico", "United States", "Puerto Rico"),
        ("US-VI", "VI", "U.S. Virgin Islands", "United States", "US-VI"),
        ("FR-974", "RE", "Réunion", "France", "La Réunion"),
        ("NL-AW", "AW", "Aruba", "Netherlands", "Aruba"),
        ("FI-01", "AX", "Åland Islands", "Finland", "Åland"),
        ("NO-21", "SJ", "Svalbard and Jan Mayen", "Norway", "Svalbard"),
    ],
)
def test_a_subdivision_that_is_a_country_too_is_accepted_as_a_country_only(
    subdivision: str, code: str, name: str, country: str, province: str
) -> None:
    assert resolve(name) == code
    assert is_country(code)
    assert own_country(subdivision) == code
    assert not is_subdivision(subdivision)
    assert not is_locatable(subdivision)
    assert hint(subdivision) == f"use the country code {code}"
    assert subdivision not in {place.code for place in all_places()}
    with pytest.raises(UnknownPlaceError, match=f"use the country code {code}$"):
        resolve(country, province)


@all_cases(
    ("country", "province", "code"),
    [
        ("Denmark", "Greenland", "GL"),
        ("Denmark", "DK-GL", "GL"),
        ("Denmark", "Faroe Islands", "FO"),
        ("United Kingdom", "Gibraltar", "GI"),
        ("United Kingdom", "Isle of Man", "IM"),
        ("Australia", "Christmas Island", "CX"),
        ("New Zealand", "Tokelau", "TK"),
    ],
)
def test_a_dependency_is_a_country_of_its_own(country: str, province: str, code: str) -> None:
    with pytest.raises(UnknownPlaceError, match=f"use the country code {code}$"):
        resolve(country, province)
    assert hint(f"{resolve(country)}-{code}") == f"use the country code {code}"


def test_subdivisions_with_the_name_of_a_country_that_is_elsewhere_stay() -> None:
    for code in ("US-GA", "NG-NI", "ET-SO", "GN-ML", "BE-WLX"):
        assert is_subdivision(code)


@all_cases(
    ("code", "outer"),
    [
        ("FR-75C", "FR-IDF"),
        ("FR-67", "FR-GES"),  # in FR-6AE, which is in FR-GES
        ("FR-6AE", "FR-GES"),
        ("GB-OXF", "GB-ENG"),
        ("IE-CO", "IE-M"),
        ("IT-MI", "IT-25"),
        ("FR-IDF", "FR-IDF"),
        ("US-TX", "US-TX"),
        ("US", "US"),
        ("FR-OTHER", "FR-OTHER"),
        (OTHER, OTHER),
    ],
)
def test_hashrate_counts_at_the_outermost_of_nested_subdivisions(code: str, outer: str) -> None:
    assert outermost(code) == outer
    assert is_locatable(code)


def test_every_place_but_a_country_has_a_parent_that_is_listed() -> None:
    parents = {place.code: place.parent for place in all_places()}
    assert (parents["FR-67"], parents["FR-6AE"], parents["FR-GES"]) == ("FR-6AE", "FR-GES", "FR")
    for code, parent in parents.items():
        if is_subdivision(code):
            assert parent in parents
            assert country_of(parent or "") == country_of(code)
            assert (outermost(code) == code) == (parent == country_of(code))
        else:
            assert parent is None


@all_cases("code", ["CN", "XK", "CN-SC", "US-TX", "CN-OTHER", "XK-OTHER", OTHER])
def test_codes_that_a_report_may_contain(code: str) -> None:
    assert is_locatable(code)


@all_cases(
    ("code", "text"),
    [
        (UNKNOWN, "leave out hashrate that is not located"),
        ("XX", "expected an ISO 3166-1 or 3166-2 code, OTHER, or XX-OTHER"),
        ("cn", "near matches: CN"),
        ("CHN", "near matches: CN"),
        ("CH1", "OTHER, or XX-OTHER"),
        ("USA-TX", "near matches: US-TX"),
        ("UK", "near matches: GB"),
        ("China", "near matches: CN"),
        ("us-tx", "near matches: US-TX"),
        ("US-TXX", "near matches: US-TX"),
        ("OTHERS", "near matches: OTHER"),
        ("US-CN-OTHER", "expected an ISO 3166-1"),
        ("UNKNOWN-OTHER", "expected an ISO 3166-1"),
        ("OTHER-OTHER", "expected an ISO 3166-1"),
        ("", "expected an ISO 3166-1"),
        ("Ü" * 100_000, "expected an ISO 3166-1"),
    ],
)
def test_codes_that_a_report_may_not_contain(code: str, text: str) -> None:
    assert not is_locatable(code)
    assert text in hint(code)


def test_no_code_is_both_a_country_and_a_subdivision() -> None:
    for place in all_places():
        assert is_country(place.code) + is_subdivision(place.code) + (place.code == OTHER) == 1
        assert place.name
        assert place.name != place.code


def test_special_codes_have_names() -> None:
    assert name_of(OTHER) == "Other"
    assert name_of(UNKNOWN) == "Unknown"
    assert name_of("CN-OTHER") == "Other in China"
    assert (name_of("CN-NM"), name_of("CN-SC")) == ("Inner Mongolia", "Sichuan")
    assert (name_of("RU"), name_of("HK"), name_of("XK")) == ("Russia", "Hong Kong", "Kosovo")


def test_only_germany_and_ireland_are_suspected_of_proxies() -> None:
    flagged = {place.code for place in all_places() if place.flags}
    assert {code for code in flagged if is_country(code)} == {"DE", "IE"}
    assert {country_of(code) for code in flagged} == {"DE", "IE"}
    assert flags_of("DE") == flags_of("IE") == flags_of("DE-BY") == ("proxy_suspected",)
    assert flags_of("US") == ()


@given(st.text(max_size=20), st.none() | st.text(max_size=20))
def test_any_text_is_a_place_or_a_place_error(country: str, province: str | None) -> None:
    found = code_or_error(country, province)
    assert is_locatable(found) or " " in found


@given(st.sampled_from(sorted(WORLD_BANK)), st.text(max_size=20))
def test_any_province_is_in_its_country_or_a_place_error(country: str, province: str) -> None:
    found = code_or_error(country, province)
    in_its_country = is_subdivision(found) and country_of(found) == resolve(country)
    assert in_its_country or " " in found
