"""Everything that is wrong with files of beliefs, by file and line.

The loader refuses only what it cannot use (``refusals``). This also finds what it can use, but what
is most likely a mistake: nobody can verify a figure without a source, for example.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec

from miningmap.inputs import ENCODING, decode_json, decode_toml, in_words
from miningmap.messages import Slug
from miningmap.pool_names import is_known_pool, unknown_pool
from streams.beliefs import refusals
from streams.beliefs.documents import (
    BeliefsDocument,
    Citation,
    Cited,
    NetworkDistribution,
    PoolDistribution,
    Relabelling,
    StatedAnnotation,
    StatedClaim,
    belief_files,
    periods,
)
from streams.beliefs.lines import Keys, Lines, json_lines, line_of, toml_lines
from streams.beliefs.loader import annotation_of, claim_of
from streams.method.beliefs import contained, contents_on

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from streams.beliefs.documents import SeriesEntry
    from streams.beliefs.refusals import Refusal
    from streams.method.annotations import Annotation

B = TypeVar("B", bound=Cited)

_SECTIONS: Final[dict[str, type[Cited]]] = {
    "network": NetworkDistribution,
    "pools": PoolDistribution,
    "claims": StatedClaim,
    "rules": Relabelling,
    "annotations": StatedAnnotation,
}
_PART_OF: Final = "part_of"
_KEY: Final = re.compile(r"\.(\w+)|\[(\d+)\]")
_UNKNOWN_FIELD: Final = re.compile(r"unknown field `(.+)`")
_TOML_LINE: Final = re.compile(r" \(at line (\d+), column \d+\)| \(at end of document\)")
_JSON_BYTE: Final = re.compile(r" \(byte (\d+)\)")
# In so many days every day of the year falls on every weekday, 29 February too.
_CYCLE_D: Final = 41 * 366
# Claims and their sums are figures of a few digits; floats add up to a little more or less.
_TOLERANCE: Final = 1e-9


class Finding(NamedTuple):
    """What is wrong, and where: ``line`` counts from 1."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


@dataclass(frozen=True)
class _File:
    """A file that could be parsed."""

    name: str
    lines: Lines

    def finding(self, keys: Keys, text: str) -> Finding:
        return Finding(self.name, line_of(self.lines, keys), text)


class _Found(NamedTuple):
    """A belief and its place in the files."""

    belief: Any
    file: _File
    keys: Keys

    def finding(self, refusal: Refusal) -> Finding:
        keys = (*self.keys, *refusal.keys)
        return self.file.finding(keys, f"{self.belief.id}: {refusal.text}")

    def says(self, text: str, *keys: str | int) -> Finding:
        return self.finding(refusals.Refusal(keys, text))


@dataclass
class _Beliefs:
    """All beliefs of the files that have the right shape."""

    found: list[_Found] = field(default_factory=list)
    parts: dict[str, _Found] = field(default_factory=dict)

    def of(self, kind: type[Cited]) -> list[_Found]:
        return [each for each in self.found if type(each.belief) is kind]


def check(
    path: Path | Traversable, *, pools: Collection[str], others: BeliefsDocument
) -> list[Finding]:
    """Return all that is wrong with a file or a folder, by file and line.

    Args:
        path: of the file or folder.
        pools: the slugs of the pools that are known.
        others: beliefs that will be loaded too, whose claims those of the files may be within.
    """
    beliefs = _Beliefs()
    findings: list[Finding] = []
    for file in belief_files(path):
        findings += _read(file, beliefs)
    findings += _ids_that_occur_twice(beliefs.found)
    findings += _wrong_alone(beliefs, pools)
    findings += _overlapping(beliefs.of(PoolDistribution))
    findings += _wrong_containers(beliefs.of(StatedClaim), others.claims)
    return sorted(set(findings))


# --- reading --------------------------------------------------------------------------------------


def _read(path: Path | Traversable, beliefs: _Beliefs) -> Iterator[Finding]:
    """Add what a file says; yield what has the wrong shape."""
    name = str(path)
    try:
        text = path.read_text(encoding=ENCODING)
        if name.endswith(".toml"):
            document: object = decode_toml(text)
            lines = toml_lines(text)
        else:
            document = decode_json(text.encode(), object)
            lines = json_lines(text)
    except OSError as error:
        yield Finding(name, 1, error.strerror or str(error))
    except UnicodeDecodeError as error:
        yield Finding(name, error.object.count(b"\n", 0, error.start) + 1, "not UTF-8")
    except tomllib.TOMLDecodeError as error:
        yield _not_toml(name, text, str(error))
    except msgspec.DecodeError as error:
        yield _not_json(name, text, str(error))
    else:
        yield from _convert(document, _File(name, lines), beliefs)


def _not_toml(name: str, text: str, error: str) -> Finding:
    match = _TOML_LINE.search(error)
    line = int(match[1]) if match and match[1] else text.count("\n") + 1
    return Finding(name, line, _TOML_LINE.sub("", error))


def _not_json(name: str, text: str, error: str) -> Finding:
    match = _JSON_BYTE.search(error)
    line = text.encode()[: int(match[1])].count(b"\n") + 1 if match else text.count("\n") + 1
    return Finding(name, line, _JSON_BYTE.sub("", error))


def _convert(document: object, file: _File, beliefs: _Beliefs) -> Iterator[Finding]:
    if not isinstance(document, dict):
        yield file.finding((), "expected a document of beliefs: a table or an object")
        return
    for section, content in document.items():
        if section == _PART_OF:
            yield from _convert_parts(content, file, beliefs)
        elif section not in _SECTIONS:
            expected = ", ".join([*_SECTIONS, _PART_OF])
            yield file.finding((section,), f"unknown part {section!r}; expected one of: {expected}")
        elif not isinstance(content, list):
            yield file.finding((section,), f"expected a list of tables: [[{section}]]")
        else:
            for number, item in enumerate(content):
                yield from _convert_belief(item, file, (section, number), beliefs)


def _convert_belief(item: object, file: _File, keys: Keys, beliefs: _Beliefs) -> Iterator[Finding]:
    try:
        belief = msgspec.convert(item, _SECTIONS[str(keys[0])])
    except msgspec.ValidationError as error:
        text, _, where = in_words(error).partition(" - at `$")
        inner = [name or int(number) for name, number in _KEY.findall(where)]
        unknown = _UNKNOWN_FIELD.findall(text)
        yield file.finding((*keys, *inner, *unknown), f"{_name(item)}{text}{_at(inner)}")
    else:
        beliefs.found.append(_Found(belief, file, keys))


def _at(keys: Sequence[str | int]) -> str:
    return f" - at {'.'.join(map(str, keys))}" if keys else ""


def _name(item: object) -> str:
    id_ = item.get("id") if isinstance(item, dict) else None
    return f"{id_}: " if isinstance(id_, str) else ""


def _convert_parts(content: object, file: _File, beliefs: _Beliefs) -> Iterator[Finding]:
    if not isinstance(content, dict):
        yield file.finding((_PART_OF,), 'expected a table of PART = "WHOLE"')
        return
    for part, whole in content.items():
        keys = (_PART_OF, part)
        try:
            msgspec.convert({part: whole}, dict[Slug, Slug])
        except msgspec.ValidationError:
            yield file.finding(keys, 'part_of: expected the slugs of two pools: PART = "WHOLE"')
        else:
            found = _Found(_Part(part, whole), file, (_PART_OF,))
            before = beliefs.parts.setdefault(part, found)
            if before is not found:
                where = before.says("", part)
                yield found.says(f"{part} occurs already in {where.file}:{where.line}", part)


class _Part(NamedTuple):
    part: str
    whole: str

    @property
    def id(self) -> str:
        return _PART_OF


# --- what is wrong with a belief by itself --------------------------------------------------------


def _wrong_alone(beliefs: _Beliefs, pools: Collection[str]) -> Iterator[Finding]:
    for found in (*beliefs.of(NetworkDistribution), *beliefs.of(PoolDistribution)):
        yield from map(found.finding, refusals.of_distribution(found.belief))
        yield from _wrong_series(found)
    for found in beliefs.of(PoolDistribution):
        yield from _unknown_pools(found, {("pool",): found.belief.pool}, pools)
    for found in beliefs.of(StatedClaim):
        yield from map(found.finding, refusals.of_claim(found.belief))
        yield from _wrong_claim(found)
        yield from _unknown_pools(found, _numbered("pools", found.belief.pools or ()), pools)
    for found in beliefs.of(Relabelling):
        yield from map(found.finding, refusals.of_rule(found.belief))
        yield from _wrong_citation(found, found.belief)
        applies_to = found.belief.applies_to
        listed = applies_to if isinstance(applies_to, list) else ()
        yield from _unknown_pools(found, _numbered("applies_to", listed), pools)
    for found in beliefs.of(StatedAnnotation):
        yield from _wrong_annotation(found)
        yield from _unknown_pools(found, _numbered("pools", found.belief.pools), pools)
    part_of = {part: found.belief.whole for part, found in beliefs.parts.items()}
    for part, found in beliefs.parts.items():
        yield from map(found.finding, refusals.of_part(part, part_of))
        yield from _unknown_pools(found, {(part,): part}, pools)
        yield from _unknown_pools(found, {(part,): found.belief.whole}, pools)


def _wrong_series(found: _Found) -> Iterator[Finding]:
    series = found.belief.series
    if not series:
        yield found.says("the series has no entries")
    if not all(found.belief.source or entry.source for entry in series):
        yield found.says(_NO_SOURCE)
    yield from _wrong_dates_of_citation(found, found.belief)
    previous = None
    for number, entry in enumerate(series):
        at = ("series", number)
        for code, weight in entry.weights.items():
            if weight == 0:
                text = f"the weight of {code} is 0; leave the place out"
                yield found.says(text, *at, "weights", code)
        if entry.until is not None and entry.until <= entry.start:
            yield found.says(_wrong_way_round(entry.start, entry.until), *at, "until")
        if previous is not None and entry.start <= previous:
            text = f"from {entry.start} does not follow {previous}, that of the entry before it"
            yield found.says(text, *at, "from")
        previous = entry.start
        yield from _wrong_dates_of_citation(found, entry, *at)


def _wrong_claim(found: _Found) -> Iterator[Finding]:
    claim = found.belief
    yield from _wrong_citation(found, claim)
    if claim.at_least == 0:
        yield found.says("at least 0 H/s says nothing; leave the claim out", "at_least")
    if claim.until <= claim.start:
        yield found.says(_wrong_way_round(claim.start, claim.until), "until")


def _wrong_annotation(found: _Found) -> Iterator[Finding]:
    annotation = found.belief
    refused = list(refusals.of_annotation(annotation))
    yield from map(found.finding, refused)
    yield from _wrong_citation(found, annotation)
    start, until = annotation.start, annotation.until
    if start is not None and until is not None and until <= start:
        yield found.says(_wrong_way_round(start, until), "until")
    elif not refused and not _ever_counts(annotation_of(annotation)):
        yield found.says("has no day: none of its days of the year is in its dates and weekdays")


def _ever_counts(annotation: Annotation) -> bool:
    """Return whether the calendar has any day at all."""
    first = annotation.start or annotation.until or date(2000, 1, 1)
    days = (first + timedelta(number) for number in range(-_CYCLE_D, _CYCLE_D))
    return any(map(annotation.counts_on, days))


_NO_SOURCE: Final = "has no source: give its address, or what identifies it"


def _wrong_citation(found: _Found, citation: Citation) -> Iterator[Finding]:
    if not citation.source:
        yield found.says(_NO_SOURCE)
    yield from _wrong_dates_of_citation(found, citation)


def _wrong_dates_of_citation(
    found: _Found, citation: Citation, *keys: str | int
) -> Iterator[Finding]:
    published, checked = citation.published, citation.checked
    if published is not None and checked is not None and checked < published:
        text = f"checked on {checked}, before it was published on {published}"
        yield found.says(text, *keys, "checked")


def _wrong_way_round(start: object, until: object) -> str:
    return f"until {until} is not after from {start}"


def _numbered(key: str, items: Iterable[str]) -> dict[Keys, str]:
    return {(key, number): item for number, item in enumerate(items)}


def _unknown_pools(
    found: _Found, named: dict[Keys, str], pools: Collection[str]
) -> Iterator[Finding]:
    for keys, pool in named.items():
        if pool not in pools and not is_known_pool(pool):
            yield found.says(unknown_pool(pool, pools), *keys)


# --- what is wrong with several beliefs together --------------------------------------------------


def _ids_that_occur_twice(found: Iterable[_Found]) -> Iterator[Finding]:
    first: dict[str, _Found] = {}
    for each in found:
        before = first.setdefault(each.belief.id, each)
        if before is not each:
            where = before.says("")
            yield each.says(f"this id occurs already in {where.file}:{where.line}", "id")


def _overlapping(distributions: Iterable[_Found]) -> Iterator[Finding]:
    by_pool: defaultdict[tuple[str, str], list[_Found]] = defaultdict(list)
    for found in distributions:
        by_pool[found.belief.pool, found.belief.kind].append(found)
    for (pool, kind), group in by_pool.items():
        for first, second in combinations(group, 2):
            day = _first_day_of_both(first.belief.series, second.belief.series)
            if day is not None:
                yield second.says(
                    f"on {day} {first.belief.id} is in force too; only one {kind} document may "
                    f"be in force for {pool} at a time"
                )


def _first_day_of_both(
    first: Sequence[SeriesEntry], second: Sequence[SeriesEntry]
) -> object | None:
    days = [
        max(a.start, b.start)
        for a in periods(first)
        for b in periods(second)
        if a.contains(max(a.start, b.start)) and b.contains(max(a.start, b.start))
    ]
    return min(days, default=None)


def _wrong_containers(found: Sequence[_Found], others: Iterable[StatedClaim]) -> Iterator[Finding]:
    claims = {claim.id: claim for claim in others}
    claims |= {each.belief.id: each.belief for each in found}
    wrong = set()
    for each in found:
        for refusal in refusals.of_container(each.belief, claims):
            wrong.add(each.belief.id)
            yield each.finding(refusal)
    sound = {
        id_: msgspec.structs.replace(claim, within=None) if id_ in wrong else claim
        for id_, claim in claims.items()
    }
    yield from _overfull({each.belief.id: each for each in found}, sound)


def _overfull(found: dict[str, _Found], stated: dict[str, StatedClaim]) -> Iterator[Finding]:
    """Yield the claims whose contents are larger, each on the first day on which they are."""
    claims = {id_: claim_of(claim) for id_, claim in stated.items()}
    done = set()
    for day, from_ in sorted({(claims[id_].start, stated[id_].start) for id_ in found}):
        contents = contents_on(claims.values(), day)
        for id_, inner in contents.items():
            size, own = contained(id_, contents), claims[id_].at_least
            checked = [found[i] for i in (id_, *(c.id for c in inner)) if i in found]
            if size > own * (1 + _TOLERANCE) and checked and id_ not in done:
                done.add(id_)
                yield checked[0].says(
                    f"the claims within {id_} add up to {size:g} H/s from {from_} on, more than "
                    f"its {own:g} H/s"
                )
