"""What describes an edition: data package, citation and README. Pure."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import inspect

from launch.words import counted
from miningmap import __version__
from miningmap.api.columns import columns, described
from miningmap.pool_names import CBECI_SAMPLE
from streams.method import METHOD
from streams.queries.dataset import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from miningmap.api.columns import Column
    from miningmap.licences import Licence
    from streams.queries.dataset import Range, Row, Table

MESSAGES_FILE: Final = "messages.jsonl.gz"
BELIEFS_FILE: Final = "beliefs.json"
PACKAGE: Final = "datapackage.json"
CITATION: Final = "CITATION.cff"
README: Final = "README.md"
SUMS: Final = "SHA256SUMS"

AUTHORS: Final = "Contributors of miningmap"

_URL: Final = re.compile(r"https?://\S+")
_FILES: Final[dict[str, tuple[str, str, str]]] = {
    MESSAGES_FILE: (
        "messages",
        "application/gzip",
        "Every message that the figures are made from, one a line, in the order of their starts",
    ),
    BELIEFS_FILE: (
        "beliefs-document",
        "application/json",
        "The beliefs of the table beliefs, as the program reads them",
    ),
}
"""The name, the media type and the title of the files that are no tables."""


class File(NamedTuple):
    """The size and the hash of a file."""

    bytes: int
    sha256: str


class Facts(NamedTuple):
    """What the descriptions of an edition are made from.

    Attributes:
        range: its windows.
        licence: of the data.
        messages: how many there are.
        sources: each source of each pool; the pool of the network's hashrate is ``None``.
        beliefs: the rows of the table of beliefs.
        simulated: whether any of the data is made up.
    """

    range: Range
    licence: Licence
    messages: int
    sources: frozenset[tuple[str | None, str]]
    beliefs: list[Row]
    simulated: bool

    @property
    def title(self) -> str:
        """The title of the edition."""
        made_up = "Simulated: " if self.simulated else ""
        span = self.range
        return f"{made_up}Where Bitcoin is mined, {span.names}, by {span.step}"

    @property
    def description(self) -> str:
        """The edition in a few sentences."""
        made_up = " The data is made up by a simulation." if self.simulated else ""
        return (
            "Shares of Bitcoin's hashrate by country and by province or state, with bounds, with "
            "what is measured, declared, estimated and assumed, and with the messages and beliefs "
            f"from which every figure can be computed again.{made_up}"
        )


# --- datapackage.json -----------------------------------------------------------------------------


def package(facts: Facts, files: Mapping[str, File]) -> dict[str, Any]:
    """Return the Data Package (Frictionless, version 1) of an edition.

    Version 1, because that is what the tools of today check in full, without the network.

    Args:
        facts: about the edition.
        files: its tables, beliefs and messages, by name.
    """
    span = facts.range
    return {
        "profile": "data-package",
        "name": f"miningmap-{span.windows[0].name}-{span.windows[-1].name}-{span.step}",
        "title": facts.title,
        "description": facts.description,
        "keywords": ["Bitcoin", "mining", "hashrate", "energy", "geography"],
        "licenses": [
            {
                "name": facts.licence.spdx,
                "title": facts.licence.title,
                "path": facts.licence.url,
            }
        ],
        "sources": [*_pool_sources(facts.sources), *_belief_sources(facts.beliefs)],
        "method": METHOD,
        "software": {"name": "miningmap", "version": __version__},
        "step": span.step,
        "simulated": facts.simulated,
        "resources": [
            *(_table(table, files[f"{table.name}.csv"]) for table in TABLES),
            *(_parquet(table, files) for table in TABLES if f"{table.name}.parquet" in files),
            *(_file(name, files[name]) for name in _FILES),
        ],
    }


def _table(table: Table, file: File) -> dict[str, Any]:
    return {
        "name": table.name,
        "path": f"{table.name}.csv",
        "profile": "tabular-data-resource",
        "title": table.title,
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        **_hashed(file),
        "schema": schema_of(table),
    }


def schema_of(table: Table) -> dict[str, Any]:
    """Return the Table Schema of a table: its columns, its key and its references."""
    known = described(table.row)
    references = [_reference(column, where) for column, where in table.references.items()]
    return {
        "fields": [_field(known[name], key=name in table.key) for name in columns(table.fields)],
        "missingValues": [""],
        "primaryKey": list(table.key),
        **({"foreignKeys": references} if references else {}),
    }


def _hashed(file: File) -> dict[str, Any]:
    return {"bytes": file.bytes, "hash": f"sha256:{file.sha256}"}


def _reference(column: str, where: str) -> dict[str, Any]:
    table, _, referenced = where.partition(".")
    return {"fields": [column], "reference": {"resource": table, "fields": [referenced]}}


def _field(column: Column, *, key: bool) -> dict[str, Any]:
    """Return the description of a column.

    A text that may be empty is missing in CSV, so only texts of a key are required.
    """
    kind = _type(column.type)
    constraints: dict[str, Any] = {}
    if not column.nullable and (key or kind != "string"):
        constraints["required"] = True
    if column.unit:
        constraints["minimum"] = 0
    if isinstance(column.type, inspect.LiteralType):
        constraints["enum"] = sorted(column.type.values)
    return {
        "name": column.name,
        "type": kind,
        "description": column.description,
        **({"unit": column.unit} if column.unit else {}),
        **({"constraints": constraints} if constraints else {}),
    }


def _type(kind: inspect.Type) -> str:
    match kind:
        case inspect.FloatType():
            return "number"
        case inspect.BoolType():
            return "boolean"
        case inspect.DateType():
            return "date"
        case inspect.DateTimeType():
            return "datetime"
        case _:
            return "string"  # lists are texts with spaces between the items


def _parquet(table: Table, files: Mapping[str, File]) -> dict[str, Any]:
    path = f"{table.name}.parquet"
    return {
        "name": f"{table.name}-parquet",
        "path": path,
        "profile": "data-resource",
        "title": f"{table.title}, as Parquet",
        # Not "parquet": frictionless reads that through pandas, which has no unknown numbers, and
        # does not check its bytes.
        "format": "apache-parquet",
        "mediatype": "application/vnd.apache.parquet",
        **_hashed(files[path]),
    }


def _file(path: str, file: File) -> dict[str, Any]:
    name, mediatype, title = _FILES[path]
    return {
        "name": name,
        "path": path,
        "profile": "data-resource",
        "title": title,
        "format": path.rpartition(".")[2],
        "mediatype": mediatype,
        **_hashed(file),
    }


def _pool_sources(sources: Iterable[tuple[str | None, str]]) -> list[dict[str, str]]:
    titles = {
        f"{source}, for the network's hashrate" if pool is None else f"{source}, for {pool}"
        for pool, source in sources
    }
    return [{"title": title} for title in sorted(titles)]


def _belief_sources(beliefs: Iterable[Row]) -> list[dict[str, str]]:
    """Return the publishers of beliefs, each with every address that it is read at."""
    found: set[tuple[str, str]] = set()
    for row in beliefs:
        addresses = [_without_punctuation(address) for address in _URL.findall(row["source"])]
        title = row["publisher"] or row["source"]
        found.update((title, address) for address in addresses)
        if title and not addresses:
            found.add((title, ""))
    return [
        {"title": title, **({"path": address} if address else {})}
        for title, address in sorted(found)
    ]


def _without_punctuation(address: str) -> str:
    """Return an address without what ends the sentence or the brackets that it stands in."""
    while address.endswith((".", ",", ";", ":")) or (
        address.endswith(")") and address.count(")") > address.count("(")
    ):
        address = address[:-1]
    return address


# --- CITATION.cff ---------------------------------------------------------------------------------


def citation(facts: Facts, digest: str) -> str:
    """Return the citation (Citation File Format 1.2.0), of which every line is YAML.

    Its texts are written as JSON, which is YAML too.
    """
    lines = {
        "cff-version": "1.2.0",
        "message": "If you use these figures, please cite this edition.",
        "type": "dataset",
        "title": facts.title,
        "abstract": facts.description,
        "authors": [{"name": AUTHORS}],
        "version": digest,
        "date-released": f"{facts.range.until:%Y-%m-%d}",
        "license": facts.licence.spdx,
        "keywords": ["Bitcoin", "mining", "hashrate"],
        "references": [
            {
                "type": "software",
                "title": "miningmap",
                "version": __version__,
                "authors": [{"name": AUTHORS}],
            }
        ],
    }
    return "".join(
        f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in lines.items()
    )


# --- README.md ------------------------------------------------------------------------------------


def readme(facts: Facts, digest: str) -> str:
    """Return the page that a reader of the folder opens first."""
    windows = facts.range.windows
    last = windows[-1].name
    as_of = f"{facts.range.until:%Y-%m-%d}T00:00:00Z"
    return f"""\
# {facts.title}

{facts.description}

This edition covers {counted(len(windows), "window")} and is made from \
{counted(facts.messages, "message")}. Its digest, \
which names exactly these files, is

    {digest}

## Files

| file | content |
|---|---|
{_table_of_files()}
`shares.parquet`, if it is there, is `shares.csv` with typed columns. Every column is described in
`{PACKAGE}`: its type, its unit and what it says. Shares, bounds and coverages are parts of 1,
hashrates are in hashes per second, times are in UTC. An empty field means unknown; 0 is a finding.

## Before you quote a number

A share is a part of the hashrate *that could be located*, not of the whole network. `coverage` in
`windows.csv` is the part of the network that is seen. `evidence` is the part of a figure that is
more than an assumption, `low` and `high` are bounds on measured hashrate alone, and `placed.csv`
says how much rests on which belief.

## Check and recompute

    sha256sum -c {SUMS}
    grep -v -e ' {CITATION}$' -e ' {README}$' {SUMS} | sha256sum     # the digest
    miningmap recompute {MESSAGES_FILE} --beliefs {BELIEFS_FILE} --window {last} --as-of {as_of}

The figures were computed by version {METHOD} of the method, in version {__version__} of the
software miningmap.

## Licence and citation

The data is under {facts.licence.spdx} ({facts.licence.url}).{_credit(facts)}
The sources of what was believed are in `beliefs.csv`; please credit those that your figures rest
on. Cite this edition as `{CITATION}` says:

> {AUTHORS}: {facts.title}. {facts.range.until:%Y-%m-%d}. Edition {digest[:16]}.
"""


def _table_of_files() -> str:
    titles = {f"{table.name}.csv": table.title for table in TABLES}
    titles |= {path: title for path, (_, _, title) in _FILES.items()}
    titles[PACKAGE] = "The description of all of these files, for people and programs"
    return "".join(f"| `{path}` | {title} |\n" for path, title in titles.items())


def _credit(facts: Facts) -> str:
    if all(pool != CBECI_SAMPLE for pool, _ in facts.sources):
        return ""
    return (
        " Tables of the Cambridge Bitcoin Electricity Consumption Index (Cambridge Centre for "
        f"Alternative Finance) are among the messages, as reports of the pool {CBECI_SAMPLE}."
    )
