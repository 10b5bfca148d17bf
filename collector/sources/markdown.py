"""``docs/sources.md``: the page of all sources, made from their declarations. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collector.sources.base import PoolSource
from collector.sources.credentials import setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collector.sources.base import Source

_HEAD: Final = """\
# Sources

This page lists all sources: how often each is polled and why, and what is not certain. `make docs`
writes it from the declarations in `collector/pools/` and `collector/network/`. To add a source, see
[add-a-pool.md](add-a-pool.md).

A source is polled if it is on by default, or once its required credentials are set. If
`MININGMAP_COLLECTOR__SOURCES` is set, exactly the sources that it names are polled.
`miningmap try SLUG` polls one source once. Hardly any source gives the places of its miners; these
come from partners, who push them.

- **scope**: whose hashrate the source gives. `pool`: a whole pool's. `account`: one account's,
  which is part of the total of its pool. `market`: what is traded, which is also in the totals of
  other pools.
- **basis**: who a pool's hashrate is from. `reported`: the pool itself. `relayed`: somebody who
  repeats what pools say. `mined`: a count of the blocks that the pool found.
- **confidence**: how certain it is that the address, the shape of the response and its unit are as
  declared. A response of another shape is an error; nothing is guessed.
- **locates**: the kind of the places that the source gives, and whether they are countries or
  subdivisions.
"""


def document(sources: Sequence[Source]) -> str:
    """Return the page as Markdown."""
    sections = (
        (
            "Pools, without credentials",
            [s for s in sources if s.kind == "pools" and not s.credentials],
        ),
        ("Pools, with credentials", [s for s in sources if s.kind == "pools" and s.credentials]),
        ("The network's hashrate", [s for s in sources if s.kind == "network"]),
    )
    parts = [_HEAD]
    for title, members in sections:
        if members:
            parts += [f"## {title}\n", _table(members), *map(_section, members)]
    return "\n".join(parts)


def _table(sources: Iterable[Source]) -> str:
    rows = [
        "| source | name | scope | basis | on by default | interval | locates | confidence |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for source in sources:
        locates = f"{source.locates.kind}, {source.locates.granularity}" if source.locates else "-"
        default = (
            "with its credentials" if source.credentials else "yes" if source.default else "no"
        )
        cells = (
            f"[`{source.slug}`](#{_anchor(source)})",
            source.name,
            source.scope,
            source.basis if isinstance(source, PoolSource) else "-",
            default,
            f"{source.poll_s} s",
            locates,
            source.confidence,
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _section(source: Source) -> str:
    urls = ", ".join(f"<{request.url}>" for request in source.requests)
    if source.more:
        urls += ", and those that follow from the responses"
    lines = {
        "Home": f"<{source.home}>",
        "Documentation": f"<{source.docs}>" if source.docs else "none",
        "Terms": f"<{source.terms}>" if source.terms.startswith("https://") else source.terms,
        "Requests": "the operator's own server" if source.own_server else urls,
        "Interval": f"{source.poll_s} s. {source.poll_reason}",
        "Limit of the host": _limit(source),
        "Average": f"over {source.averaging_s} s; a figure is valid for {source.hold_s} s",
        "Locates": _locates(source),
        "Confidence": f"{source.confidence}. {source.unsure}"
        if source.unsure
        else source.confidence,
    }
    items = [f"- {name}: {text}" for name, text in lines.items()]
    if isinstance(source, PoolSource) and source.part_of is not None:
        items.append(f"- Reports `{source.pool}`, which is part of `{source.part_of}`")
    for credential in source.credentials:
        name = setting(source.slug, credential.name)
        optional = "" if credential.required else ", optional"
        items.append(f"- `{name}`{optional}: {credential.meaning}")
    return f"### {source.path}\n\n" + "\n".join(items) + "\n"


def _limit(source: Source) -> str:
    noun = "request" if source.rate.requests == 1 else "requests"
    return f"{source.rate.requests:g} {noun} in {source.rate.seconds:g} s"


def _locates(source: Source) -> str:
    if source.locates is None:
        return "nothing"
    return f"{source.locates.kind}, by {source.locates.granularity} ({source.locates.how})"


def _anchor(source: Source) -> str:
    return source.path.replace("/", "")
