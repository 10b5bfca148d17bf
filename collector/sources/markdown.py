"""``docs/sources.md``: every source as its declaration tells of it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collector.sources.credentials import setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collector.sources.base import Source

_HEAD: Final = """\
# Sources

Who is asked, how often and why, and what is not sure. This page is made from the declarations in
`collector/pools/` and `collector/network/` by `make docs`; `make check` holds it to them.

A source is polled if it is on by default, or once its credentials are set, unless
`MININGMAP_COLLECTOR__SOURCES` names others. `miningmap try SLUG` asks one of them once. Hardly any
says where its miners are: that comes from partners, who push it.

- **scope**: whose hashrate it is. `pool`: all of a pool. `account`: what one account has there,
  which is in its pool's total as well. `market`: what is traded, which mines for other pools.
- **confidence**: that address, shape and unit are still as declared. On another shape a source
  fails and says so; it never guesses.
"""


def document(sources: Sequence[Source]) -> str:
    """The page, as Markdown."""
    sections = (
        ("Pools, without a key", [s for s in sources if s.kind == "pools" and not s.credentials]),
        ("Pools, with a key", [s for s in sources if s.kind == "pools" and s.credentials]),
        ("The network's hashrate", [s for s in sources if s.kind == "network"]),
    )
    parts = [_HEAD]
    for title, members in sections:
        if members:
            parts += [f"## {title}\n", _table(members), *map(_section, members)]
    return "\n".join(parts)


def _table(sources: Iterable[Source]) -> str:
    rows = [
        "| source | of | scope | on by default | asked every | locates | confidence |",
        "|---|---|---|---|---|---|---|",
    ]
    for source in sources:
        locates = f"{source.locates.kind}, {source.locates.granularity}" if source.locates else "-"
        default = "with its key" if source.credentials else "yes" if source.default else "no"
        cells = (
            f"[`{source.slug}`](#{_anchor(source)})",
            source.name,
            source.scope,
            default,
            f"{source.poll_s} s",
            locates,
            source.confidence,
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _section(source: Source) -> str:
    asks = ", ".join(f"<{request.url}>" for request in source.requests)
    lines = {
        "Home": f"<{source.home}>",
        "Documentation": f"<{source.docs}>" if source.docs else "none",
        "Terms": f"<{source.terms}>" if source.terms.startswith("https://") else source.terms,
        "Asks": "a server of the operator's own" if source.own_server else asks,
        "Every": f"{source.poll_s} s: {source.poll_reason}",
        "Host's limit": str(source.rate),
        "Averages over": f"{source.averaging_s} s; holds for {source.hold_s} s",
        "Locates": str(source.locates or "nothing"),
        "Confidence": source.confidence + (f"; {source.unsure}" if source.unsure else ""),
    }
    told = [f"- {name}: {said}" for name, said in lines.items()]
    for credential in source.credentials:
        name = setting(source.slug, credential.name)
        optional = "" if credential.required else ", optional"
        told.append(f"- `{name}`{optional}: {credential.meaning}")
    return f"### {_title(source)}\n\n" + "\n".join(told) + "\n"


def _title(source: Source) -> str:
    return f"{source.kind}/{source.slug}"


def _anchor(source: Source) -> str:
    return _title(source).replace("/", "")
