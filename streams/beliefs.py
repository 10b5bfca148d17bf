"""Beliefs from files: those of this package, and those of the operator (method.md 5.0).

A file is one document in TOML or JSON; a folder is all of its files together. Every part of a
document may be left out::

    [[network]]                      # a distribution of the whole network: `id` and `series`
    [[pools]]                        # of one pool: also `pool`, and `kind` (declared or prior)
    [[claims]]                       # a floor: `id`, `place`, `at_least` (H/s), `from`, `until`
    [part_of]                        # PART = "WHOLE", both slugs of pools
    [[rules]]                        # a relabelling: `id`, `place`, `applies_to`
"""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias, TypeVar

import msgspec

from miningmap import places
from miningmap.messages import Slug
from streams.method.beliefs import Beliefs, Claim, Document, Entry, Rule, normalised

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from miningmap.settings import Method

Weight: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]

SHIPPED: Final = files("beliefs")
"""The folder of the beliefs of this package."""

SUFFIXES: Final = (".toml", ".json")
_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True)
class BeliefOptions:
    """The beliefs to load: the same fields and defaults as ``miningmap.settings.Method``.

    For callers that run without the packages that read settings.
    """

    beliefs: Path | None = None
    shipped_beliefs: bool = True


# --- documents ------------------------------------------------------------------------------------


class Cited(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where a belief is from.

    Attributes:
        id: its name, such as ``claims/cleanspark-us-ga``.
        source: the address of the source, or what identifies it.
        publisher: who published it.
        published: when.
        primary: whether the source is the one that knows, and not the press.
        licence: the licence of the source, where it is known.
        checked: when somebody last read the source.
        stated: the figure as the source states it, with its unit.
        converted: how the figure here was made from the one that is stated.
        note: anything else that a reader should know.
    """

    id: str
    source: str = ""
    publisher: str = ""
    published: date | None = None
    primary: bool | None = None
    licence: str = ""
    checked: date | None = None
    stated: str = ""
    converted: str = ""
    note: str = ""


C = TypeVar("C", bound=Cited)


class SeriesEntry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The weights of a distribution, in any unit, from a day on."""

    start: date = msgspec.field(name="from")
    until: date | None = None
    weights: dict[str, Weight]
    source: str = ""
    note: str = ""


class NetworkDistribution(Cited, kw_only=True, forbid_unknown_fields=True):
    """A distribution of the whole network."""

    series: list[SeriesEntry]


class PoolDistribution(NetworkDistribution, kw_only=True, forbid_unknown_fields=True):
    """A distribution of a whole pool."""

    pool: Slug
    kind: Literal["declared", "prior"]


class StatedClaim(Cited, kw_only=True, forbid_unknown_fields=True):
    """A floor: at least so much (H/s) operates at a place."""

    place: str
    at_least: Weight
    start: date = msgspec.field(name="from")
    until: date
    pools: list[Slug] | None = None
    within: str | None = None


class Relabelling(Cited, kw_only=True, forbid_unknown_fields=True):
    """A rule: hashrate at a place belongs to the country's other subdivisions."""

    place: str
    applies_to: list[Slug] | Literal["*"]


class BeliefsDocument(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One file of beliefs, or all files of a folder together."""

    network: list[NetworkDistribution] = []
    pools: list[PoolDistribution] = []
    claims: list[StatedClaim] = []
    part_of: dict[Slug, Slug] = {}
    rules: list[Relabelling] = []

    def cited(self) -> Iterator[Cited]:
        """Yield everything that has an id."""
        yield from (*self.network, *self.pools, *self.claims, *self.rules)


class BeliefsError(ValueError):
    """Beliefs cannot be used; the text names the file, the belief and the reason."""


# --- loading --------------------------------------------------------------------------------------


def load(options: Method | BeliefOptions) -> Beliefs:
    """Return the beliefs that are configured: the operator's before those of this package.

    Raises:
        BeliefsError: a file cannot be read, or what it says cannot be used.
    """
    documents = []
    if options.beliefs:
        documents.append(read(options.beliefs))
    if options.shipped_beliefs:
        documents.append(read(SHIPPED))
    return beliefs_of(documents)


def load_only(path: Path) -> Beliefs:
    """Return the beliefs in a file or folder, and no others.

    Raises:
        BeliefsError: a file cannot be read, or what it says cannot be used.
    """
    return beliefs_of([read(path)])


def read(path: Path | Traversable) -> BeliefsDocument:
    """Return the document in a file, or in the files of a folder in the order of their names.

    Raises:
        BeliefsError: a file cannot be read or is not such a document, or an id occurs twice.
    """
    merged = BeliefsDocument()
    for file in _files(path):
        document = _read_file(file)
        merged.network += document.network
        merged.pools += document.pools
        merged.claims += document.claims
        merged.rules += document.rules
        merged.part_of |= document.part_of
    twice = [id_ for id_, n in Counter(each.id for each in merged.cited()).items() if n > 1]
    if twice:
        raise BeliefsError(f"{path}: the id {twice[0]} occurs twice")
    return merged


def beliefs_of(documents: Sequence[BeliefsDocument]) -> Beliefs:
    """Return the beliefs of documents; of those with one id, the one of the earliest document.

    Raises:
        BeliefsError: what a document says cannot be used.
    """
    network = _by_id(document.network for document in documents)
    pools = _by_id(document.pools for document in documents)
    claims = _by_id(document.claims for document in documents)
    rules = _by_id(document.rules for document in documents)
    part_of = {p: whole for d in reversed(documents) for p, whole in d.part_of.items()}
    _check_parts(part_of)
    _check_claims(claims)
    return Beliefs(
        network=[_document(each) for each in network.values()],
        pools=[
            _document(each, pool=each.pool, declared=each.kind == "declared")
            for each in pools.values()
        ],
        claims=[_claim(each) for each in claims.values()],
        part_of=part_of,
        rules=[_rule(rules[id_]) for id_ in sorted(rules)],
    )


def _by_id(parts: Iterable[Iterable[C]]) -> dict[str, C]:
    found: dict[str, C] = {}
    for part in parts:
        for cited in part:
            found.setdefault(cited.id, cited)
    return found


def _files(path: Path | Traversable) -> Iterator[Path | Traversable]:
    if not path.is_dir():
        yield path
        return
    for inner in sorted(path.iterdir(), key=lambda entry: entry.name):
        if inner.is_dir():
            yield from _files(inner)
        elif inner.name.endswith(SUFFIXES):
            yield inner


def _read_file(path: Path | Traversable) -> BeliefsDocument:
    try:
        raw = path.read_bytes()
        if path.name.endswith(".toml"):
            return msgspec.convert(tomllib.loads(raw.decode()), BeliefsDocument)
        return msgspec.json.decode(raw, type=BeliefsDocument)
    except OSError as error:
        raise BeliefsError(f"{path}: {error.strerror}") from None
    except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BeliefsError(f"{path}: {error}") from None


# --- rules that one belief keeps ------------------------------------------------------------------


def _document(
    cited: NetworkDistribution, *, pool: str | None = None, declared: bool = False
) -> Document:
    return Document(cited.id, [_entry(cited.id, e) for e in cited.series], pool, declared)


def _entry(id_: str, entry: SeriesEntry) -> Entry:
    for code in entry.weights:
        _check_place(id_, code)
    if sum(entry.weights.values()) <= 0:
        raise BeliefsError(f"{id_}: the weights from {entry.start} on must add up to more than 0")
    until = None if entry.until is None else _day(entry.until)
    return Entry(_day(entry.start), normalised(entry.weights), until)


def _claim(claim: StatedClaim) -> Claim:
    _check_place(claim.id, claim.place)
    if claim.place.endswith(places.OTHER):
        raise BeliefsError(f"{claim.id}: a claim needs a place, and {claim.place} is none")
    if claim.pools is not None and not claim.pools:
        raise BeliefsError(f"{claim.id}: pools is empty; leave it out if no pool is known")
    return Claim(
        id=claim.id,
        place=claim.place,
        at_least=claim.at_least,
        start=_day(claim.start),
        until=_day(claim.until),
        pools=None if claim.pools is None else frozenset(claim.pools),
        within=claim.within,
    )


def _rule(rule: Relabelling) -> Rule:
    if not places.is_subdivision(rule.place):
        raise BeliefsError(f"{rule.id}: {rule.place!r} is not a subdivision, such as CN-ZJ")
    return Rule(rule.id, rule.place, None if rule.applies_to == "*" else frozenset(rule.applies_to))


def _check_place(id_: str, code: str) -> None:
    if not places.is_locatable(code):
        raise BeliefsError(f"{id_}: {code!r} is not a place: {places.hint(code)}")


def _day(day: date) -> int:
    return (day - _EPOCH).days


# --- rules that several beliefs keep --------------------------------------------------------------


def _check_parts(part_of: dict[str, str]) -> None:
    for part in part_of:
        seen = {part}
        whole = part_of.get(part)
        while whole is not None:
            if whole in seen:
                raise BeliefsError(f"part_of: {part} is a part of itself, by way of {whole}")
            seen.add(whole)
            whole = part_of.get(whole)


def _check_claims(claims: dict[str, StatedClaim]) -> None:
    for claim in claims.values():
        seen = {claim.id}
        inner = claim
        while inner.within is not None:
            if inner.within in seen:
                raise BeliefsError(f"{claim.id}: is within itself, by way of {inner.within}")
            seen.add(inner.within)
            container = claims.get(inner.within)
            if container is None:
                raise BeliefsError(f"{inner.id}: within {inner.within}, which is not a claim")
            if container.place not in {inner.place, places.country_of(inner.place)}:
                raise BeliefsError(
                    f"{inner.id}: within {container.id}, but {inner.place} is not in "
                    f"{container.place}"
                )
            inner = container
