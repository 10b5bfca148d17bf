"""A small database of addresses in MaxMind's format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mmdb_writer import MMDBWriter
from netaddr import IPSet

if TYPE_CHECKING:
    from pathlib import Path

# Addresses of the ranges that are reserved for documentation.
ADDRESSES: Final = {
    "texas": "192.0.2.17",
    "texas-2": "192.0.2.18",
    "sichuan": "198.51.100.7",
    "norway": "203.0.113.9",
    "quebec": "2001:db8:1:2::5",
    "nowhere": "203.0.113.200",
}
_PLACES: Final = {
    "192.0.2.0/24": ("US", "TX"),
    "198.51.100.0/24": ("CN", "SC"),
    "203.0.113.0/25": ("NO", None),
    "2001:db8:1::/48": ("CA", "QC"),
}


def write_iranian_database(path: Path) -> Path:
    """Write a database that locates all of 192.0.2.0/24 at Iran's code 07."""
    writer = MMDBWriter(6, "Test-City", ipv4_compatible=True)
    record = {"country": {"iso_code": "IR"}, "subdivisions": [{"iso_code": "07"}]}
    writer.insert_network(IPSet(["192.0.2.0/24"]), record)
    writer.to_db_file(str(path))
    return path


def write_dbip_database(path: Path) -> Path:
    """Write a database as DB-IP's, which has the names of subdivisions and no codes."""
    writer = MMDBWriter(6, "DBIP-City-Lite", ipv4_compatible=True)
    named = {
        "192.0.2.0/26": ("US", "Texas"),
        "192.0.2.64/26": ("KZ", "Pavlodar Region"),
        "192.0.2.128/26": ("CN", "Huadong"),
        "192.0.2.192/26": ("KZ", "Baikal"),
    }
    for network, (country, name) in named.items():
        record = {"country": {"iso_code": country}, "subdivisions": [{"names": {"en": name}}]}
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path


def write_database(path: Path, ip_version: int = 6) -> Path:
    """Write a database that locates all :data:`ADDRESSES` except ``nowhere``."""
    writer = MMDBWriter(ip_version, "Test-City", ipv4_compatible=ip_version == 6)
    for network, (country, subdivision) in _PLACES.items():
        if ip_version == 4 and ":" in network:
            continue
        record: dict[str, object] = {"country": {"iso_code": country}}
        if subdivision:
            record["subdivisions"] = [{"iso_code": subdivision}]
        writer.insert_network(IPSet([network]), record)
    writer.insert_network(IPSet(["203.0.113.128/25"]), {"continent": {"code": "EU"}})
    writer.to_db_file(str(path))
    return path
