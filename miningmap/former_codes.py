"""Subdivision codes that ISO 3166-2 once had, and what they are called now.

Databases of addresses keep codes for years after ISO has replaced them. A code is listed if what it
named lies within one subdivision of today, or if one part of what it named has kept its name:
``KZ-KAR`` is Karaganda, of which Ulytau was split off in 2022.
"""

from __future__ import annotations

from datetime import date
from typing import Final

RENUMBERED_ON: Final = date(2020, 11, 24)
"""When ISO gave Iran's codes to other provinces: the same number means something else since."""

RENUMBERED: Final[dict[str, str]] = {
    "IR-01": "IR-03",
    "IR-02": "IR-04",
    "IR-03": "IR-24",
    "IR-04": "IR-10",
    "IR-05": "IR-16",
    "IR-06": "IR-18",
    "IR-07": "IR-23",
    "IR-08": "IR-14",
    "IR-10": "IR-06",
    "IR-11": "IR-19",
    "IR-12": "IR-20",
    "IR-13": "IR-11",
    "IR-14": "IR-07",
    "IR-15": "IR-08",
    "IR-16": "IR-12",
    "IR-17": "IR-05",
    "IR-18": "IR-17",
    "IR-19": "IR-01",
    "IR-20": "IR-15",
    "IR-21": "IR-02",
    "IR-22": "IR-00",
    "IR-23": "IR-22",
    "IR-24": "IR-13",
    "IR-25": "IR-21",
    "IR-26": "IR-25",
    "IR-27": "IR-27",
    "IR-28": "IR-26",
    "IR-29": "IR-29",
    "IR-30": "IR-09",
    "IR-31": "IR-28",
    "IR-32": "IR-30",
}
"""What the codes of before :data:`RENUMBERED_ON` are now."""

FORMER: Final[dict[str, str]] = {
    # China, 2017: letters in place of the digits of GB/T 2260.
    "CN-11": "CN-BJ",
    "CN-12": "CN-TJ",
    "CN-13": "CN-HE",
    "CN-14": "CN-SX",
    "CN-15": "CN-NM",
    "CN-21": "CN-LN",
    "CN-22": "CN-JL",
    "CN-23": "CN-HL",
    "CN-31": "CN-SH",
    "CN-32": "CN-JS",
    "CN-33": "CN-ZJ",
    "CN-34": "CN-AH",
    "CN-35": "CN-FJ",
    "CN-36": "CN-JX",
    "CN-37": "CN-SD",
    "CN-41": "CN-HA",
    "CN-42": "CN-HB",
    "CN-43": "CN-HN",
    "CN-44": "CN-GD",
    "CN-45": "CN-GX",
    "CN-46": "CN-HI",
    "CN-50": "CN-CQ",
    "CN-51": "CN-SC",
    "CN-52": "CN-GZ",
    "CN-53": "CN-YN",
    "CN-54": "CN-XZ",
    "CN-61": "CN-SN",
    "CN-62": "CN-GS",
    "CN-63": "CN-QH",
    "CN-64": "CN-NX",
    "CN-65": "CN-XJ",
    "CN-71": "TW",
    "CN-91": "HK",
    "CN-92": "MO",
    # Kazakhstan, 2022: digits in place of letters, and three regions split off. KZ-YUZ is in
    # DIVIDED.
    "KZ-AKM": "KZ-11",
    "KZ-AKT": "KZ-15",
    "KZ-ALA": "KZ-75",
    "KZ-ALM": "KZ-19",
    "KZ-AST": "KZ-71",
    "KZ-ATY": "KZ-23",
    "KZ-BAY": "KZ-43",  # Baikonur, a city inside Kyzylorda that Russia leases
    "KZ-KAR": "KZ-35",
    "KZ-KUS": "KZ-39",
    "KZ-KZY": "KZ-43",
    "KZ-MAN": "KZ-47",
    "KZ-PAV": "KZ-55",
    "KZ-SEV": "KZ-59",
    "KZ-SHY": "KZ-79",
    "KZ-TUR": "KZ-61",
    "KZ-VOS": "KZ-63",
    "KZ-ZAP": "KZ-27",
    "KZ-ZHA": "KZ-31",
    # Iran: the two codes of before 2020 that no province has today.
    "IR-31": "IR-28",
    "IR-32": "IR-30",
    # Norway, 2018 and 2020: counties merged.
    "NO-01": "NO-30",
    "NO-02": "NO-30",
    "NO-04": "NO-34",
    "NO-05": "NO-34",
    "NO-06": "NO-30",
    "NO-07": "NO-38",
    "NO-08": "NO-38",
    "NO-09": "NO-42",
    "NO-10": "NO-42",
    "NO-12": "NO-46",
    "NO-14": "NO-46",
    "NO-16": "NO-50",
    "NO-17": "NO-50",
    "NO-19": "NO-54",
    "NO-20": "NO-54",
    # Norway, 2024: three of them split again. Until this list of codes has the parts, they are what
    # they are parts of.
    "NO-31": "NO-30",
    "NO-32": "NO-30",
    "NO-33": "NO-30",
    "NO-39": "NO-38",
    "NO-40": "NO-38",
    "NO-55": "NO-54",
    "NO-56": "NO-54",
    # France, 2016: regions merged, and letters replaced; 2021: Paris and Corsica.
    "FR-A": "FR-GES",
    "FR-B": "FR-NAQ",
    "FR-C": "FR-ARA",
    "FR-D": "FR-BFC",
    "FR-E": "FR-BRE",
    "FR-F": "FR-CVL",
    "FR-G": "FR-GES",
    "FR-H": "FR-20R",
    "FR-I": "FR-BFC",
    "FR-J": "FR-IDF",
    "FR-K": "FR-OCC",
    "FR-L": "FR-NAQ",
    "FR-M": "FR-GES",
    "FR-N": "FR-OCC",
    "FR-O": "FR-HDF",
    "FR-P": "FR-NOR",
    "FR-Q": "FR-NOR",
    "FR-R": "FR-PDL",
    "FR-S": "FR-HDF",
    "FR-T": "FR-NAQ",
    "FR-U": "FR-PAC",
    "FR-V": "FR-ARA",
    "FR-75": "FR-75C",
    "FR-COR": "FR-20R",
    # Poland, 2018.
    "PL-DS": "PL-02",
    "PL-KP": "PL-04",
    "PL-LU": "PL-06",
    "PL-LB": "PL-08",
    "PL-LD": "PL-10",
    "PL-MA": "PL-12",
    "PL-MZ": "PL-14",
    "PL-OP": "PL-16",
    "PL-PK": "PL-18",
    "PL-PD": "PL-20",
    "PL-PM": "PL-22",
    "PL-SL": "PL-24",
    "PL-SK": "PL-26",
    "PL-WN": "PL-28",
    "PL-WP": "PL-30",
    "PL-ZP": "PL-32",
    # Czechia, 2016.
    "CZ-PR": "CZ-10",
    "CZ-ST": "CZ-20",
    "CZ-JC": "CZ-31",
    "CZ-PL": "CZ-32",
    "CZ-KA": "CZ-41",
    "CZ-US": "CZ-42",
    "CZ-LI": "CZ-51",
    "CZ-KR": "CZ-52",
    "CZ-PA": "CZ-53",
    "CZ-VY": "CZ-63",
    "CZ-JM": "CZ-64",
    "CZ-OL": "CZ-71",
    "CZ-ZL": "CZ-72",
    "CZ-MO": "CZ-80",
    # India, 2020 to 2023.
    "IN-CT": "IN-CG",
    "IN-DD": "IN-DH",
    "IN-DN": "IN-DH",
    "IN-OR": "IN-OD",
    "IN-TG": "IN-TS",
    "IN-UL": "IN-UK",
    "IN-UT": "IN-UK",
    # One each.
    "CA-NF": "CA-NL",
    "MX-DIF": "MX-CMX",
    "ZA-GT": "ZA-GP",
    "ZA-NL": "ZA-KZN",
}
"""What a former code is now."""

DIVIDED: Final[dict[str, tuple[str, ...]]] = {"KZ-YUZ": ("KZ-61", "KZ-79")}
"""Former codes of what was divided into several subdivisions, none of which has kept its name."""

DIVIDED_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "KZ-YUZ": ("South Kazakhstan", "Ontustik Qazaqstan", "Yuzhno-Kazakhstanskaya Oblast"),
}
"""The names of :data:`DIVIDED`."""
