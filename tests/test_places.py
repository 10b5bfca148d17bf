"""Places: the names that pools and the World Bank use, and the errors for unknown names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miningmap import places
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
    resolve,
    world_bank_name,
)
from tests.cases import all_cases

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
        ("Iran, Islamic Rep.", "Isfahan Province", "IR-10"),
        ("Ireland", "County Cork", "IE-CO"),
        ("Sweden", "Norrbotten County", "SE-BD"),
        ("Germany", "Bavaria", "DE-BY"),
        ("Oman", "Dhofar Governorate", "OM-ZU"),
    ],
)
def test_provinces_by_english_names(country: str, province: str, code: str) -> None:
    assert resolve(country, province) == code


def test_aliases_name_existing_places_and_hide_no_name() -> None:
    for country, aliases in places._SUBDIVISION_ALIASES.items():
        for name, code in aliases.items():
            assert is_subdivision(code)
            assert country_of(code) == country
            assert name == places.plain_name(name)
            assert (name, code) in places._names_in(country) or name not in dict(
                places._names_in(country)
            )


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
            assert found.startswith("more than one subdivision")
            assert place.code in found


def test_the_error_for_an_ambiguous_name_suggests_the_code() -> None:
    with pytest.raises(
        UnknownPlaceError,
        match=r"more than one subdivision of BD is called 'Dhaka'; send one of BD-13, BD-C$",
    ):
        resolve("Bangladesh", "Dhaka")
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
        ("United States", "Kansas City", "near matches: Kansas (US-KS), Arkansas (US-AR)"),
        (
            "Kazakhstan",
            "Almaty Region",
            "more than one subdivision of KZ is called 'Almaty Region'",
        ),
        ("Kazakhstan", "Almaty Region", "send one of KZ-19, KZ-75"),
        ("Kazakhstan", "Ekibastuz", "'Ekibastuz'; the ISO 3166-2 code is accepted too"),
        (
            "Kosovo",
            "Pristina",
            "; ISO 3166-2 has no subdivisions there; leave the province null",
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
    ("code", "name", "province"),
    [("HK", "Hong Kong", "HK"), ("MO", "Macao SAR, China", "Macau"), ("TW", "Taiwan", "Taiwan")],
)
def test_hong_kong_macao_and_taiwan_are_accepted_as_countries_only(
    code: str, name: str, province: str
) -> None:
    assert resolve(name) == code
    assert is_country(code)
    assert not is_subdivision(f"CN-{code}")
    assert not is_locatable(f"CN-{code}")
    assert hint(f"CN-{code}") == f"use the country code {code}"
    assert f"CN-{code}" not in {place.code for place in all_places()}
    with pytest.raises(UnknownPlaceError, match=f"use the country code {code}$"):
        resolve("China", province)


@all_cases("code", ["CN", "XK", "CN-SC", "US-TX", "CN-OTHER", "XK-OTHER", OTHER])
def test_codes_that_a_report_may_contain(code: str) -> None:
    assert is_locatable(code)


@all_cases(
    ("code", "text"),
    [
        (UNKNOWN, "leave out hashrate that is not located"),
        ("XX", "expected an ISO 3166-1 or 3166-2 code, OTHER, or XX-OTHER"),
        ("cn", "near matches: CN"),
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
        assert place.parent == (country_of(place.code) if is_subdivision(place.code) else None)
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
