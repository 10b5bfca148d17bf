"""What differs between two editions, in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from launch.words import counted
from miningmap.units import format_hashrate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streams.queries.dataset_diff import Comparison, IdChanges, MessageChanges, Reasons

_NOTHING: Final = "-"
_HEADER: Final = ("window", "place", "share", "", "hashrate", "")


def text(comparison: Comparison) -> str:
    """Return the totals, the places that were revised, and the reasons, as lines."""
    lines = [_totals(comparison), *_only(comparison)]
    if comparison.revisions:
        lines += ["", *_table(comparison)]
    if comparison.windows:
        lines += ["", "Why, by window:", ""]
        listed = {revision.window for revision in comparison.revisions}
        for reasons in comparison.windows:
            lines += _reasons(reasons, places_listed=reasons.window in listed)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _totals(comparison: Comparison) -> str:
    if not comparison.compared:
        return "no window is in both editions: no figure could be compared"
    compared = f"{counted(comparison.compared, 'window')} compared"
    if not comparison.windows:
        return f"{compared}: no figure differs"
    changed = len(comparison.revisions) - comparison.appeared - comparison.vanished
    return (
        f"{compared}, {len(comparison.windows)} revised: "
        f"{counted(changed, 'place')} changed, "
        f"{comparison.appeared} appeared, {comparison.vanished} vanished"
    )


def _only(comparison: Comparison) -> Iterator[str]:
    if comparison.only_before:
        yield f"only in the first edition: {', '.join(comparison.only_before)}"
    if comparison.only_after:
        yield f"only in the second edition: {', '.join(comparison.only_after)}"


def _table(comparison: Comparison) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [_HEADER]
    for revision in comparison.revisions:
        shares = map(_share, revision.share)
        hashrates = map(_hashrate, revision.hashrate)
        rows.append((revision.window, f"{revision.code} {revision.name}", *shares, *hashrates))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))


def _share(share: float | None) -> str:
    return _NOTHING if share is None else f"{share:.9g}"


def _hashrate(hashrate: float | None) -> str:
    return _NOTHING if hashrate is None else format_hashrate(hashrate, 9)


def _reasons(reasons: Reasons, *, places_listed: bool) -> Iterator[str]:
    found = [
        *(f"messages of {_messages(each)}" for each in reasons.messages),
        *_ids("beliefs", reasons.beliefs),
        *_ids("rules", reasons.rules),
        *(
            f"pool {each.pool}: {each.before or 'not known'}, then {each.after or 'not known'}"
            for each in reasons.cohort
        ),
        *_versions("method", reasons.method),
        *_versions("software", reasons.software),
    ]
    yield f"{reasons.window}:"
    if not places_listed:  # where shares differ, nearly all figures do
        yield f"  figures that differ: {_listed(reasons.columns)}"
    for line in found or ["nothing differs in what it was made from"]:
        yield f"  {line}"


def _messages(changes: MessageChanges) -> str:
    about = changes.source + ("" if changes.pool is None else f" about {changes.pool}")
    counts = {"added": changes.added, "removed": changes.removed, "changed": changes.changed}
    return f"{about}: {', '.join(f'{number} {word}' for word, number in counts.items() if number)}"


def _ids(what: str, changes: IdChanges) -> Iterator[str]:
    by_word = {"added": changes.added, "removed": changes.removed, "changed": changes.changed}
    for word, ids in by_word.items():
        if ids:
            yield f"{what} {word}: {_listed(ids)}"


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(ids)


def _versions(what: str, versions: tuple[str, str] | None) -> Iterator[str]:
    if versions:
        yield f"{what}: version {versions[0]}, then {versions[1]}"
