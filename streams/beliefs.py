"""Beliefs from files: the priors and rules of this package, and those of the operator.

What names a subdivision inside another one is read as the outermost, as in messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias, TypeVar

import msgspec

from miningmap import places
from miningmap.inputs import decode_json
from miningmap.messages import Slug
from miningmap.pool_names import CBECI_SAMPLE, is_known_pool, named_pools, unknown_pool
from streams.method.placing import Beliefs, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from miningmap.settings import Method

T = TypeVar("T")
Weights: TypeAlias = dict[str, Annotated[float, msgspec.Meta(ge=0)]]

SHIPPED: Final = files(__package__) / "data"


@dataclass(frozen=True)
class BeliefOptions:
    """The beliefs to load: the same fields and defaults as ``miningmap.settings.Method``.

    For callers that run without the packages that read settings.
    """

    priors_file: Path | None = None
    rules_file: Path | None = None
    zhejiang_pools: Sequence[str] = ()
    default_prior: bool = True


class DeclaredPrior(msgspec.Struct, forbid_unknown_fields=True):
    """A prior in a file: a distribution over places, with its source and date."""

    weights: Weights
    source: str
    date: str


class DeclaredRule(msgspec.Struct):
    """A rule in an operator's file."""

    id: str
    place: str
    applies_to: list[Slug] | Literal["*"]


class PublishedRule(msgspec.Struct, forbid_unknown_fields=True):
    """A rule that is part of this package; the settings list the pools that it applies to."""

    id: str
    place: str
    source: str
    date: str


class BeliefsError(ValueError):
    """A file of priors or rules is invalid; the text names the file and the reason."""


def load(method: Method | BeliefOptions) -> Beliefs:
    """Return the beliefs that are set.

    Raises:
        BeliefsError: a file cannot be read, or its content is invalid.
    """
    priors = read_priors(method.priors_file) if method.priors_file else {}
    rules = read_rules(method.rules_file) if method.rules_file else []
    if method.zhejiang_pools:
        rules.append(read_published_rule(method.zhejiang_pools))
    default = read_default_prior() if method.default_prior else None
    return Beliefs(priors, default, rules)


def unknown_pools(beliefs: Beliefs) -> list[str]:
    """Return an error for each pool that priors or rules name and nobody knows, in order.

    Such a belief is valid, and waits for reports of that pool; or its slug is misspelt, and it has
    no effect.
    """
    named = set(beliefs.priors).union(*(rule.applies_to or () for rule in beliefs.rules))
    unknown = sorted(pool for pool in named if not is_known_pool(pool) and pool != CBECI_SAMPLE)
    return [unknown_pool(pool, named_pools()) for pool in unknown]


def read_default_prior() -> dict[str, float]:
    """Return the default prior of this package, for pools without a prior of their own."""
    path = SHIPPED / "default-prior.json"
    return _checked(path, "weights", _read(path, DeclaredPrior).weights)


def read_published_rule(pools: Sequence[str]) -> Rule:
    """Return this package's rule ``cn-zhejiang``, applied to these pools."""
    declared = _read(SHIPPED / "cn-zhejiang.json", PublishedRule)
    return Rule(declared.id, declared.place, frozenset(pools))


def read_priors(path: Path) -> dict[str, dict[str, float]]:
    """Return the priors in a file, by pool.

    The file's content is ``{"SLUG": {"weights": {…}, "source": …, "date": …}}``; the weights alone
    are allowed in place of the inner object.

    Raises:
        BeliefsError: the file cannot be read, or its content is invalid.
    """
    return {
        pool: _checked(path, pool, _weights(path, pool, raw))
        for pool, raw in _read(path, dict[Slug, msgspec.Raw]).items()
    }


def read_rules(path: Path) -> list[Rule]:
    """Return the rules in a file, in their order.

    The file's content is ``[{"id": …, "place": "CN-ZJ", "applies_to": "*" or [SLUG, …]}]``.

    Raises:
        BeliefsError: the file cannot be read, or its content is invalid.
    """
    rules = []
    for rule in _read(path, list[DeclaredRule]):
        if not places.is_subdivision(rule.place):
            hint = places.hint(rule.place)
            raise BeliefsError(
                f"{path}: rule {rule.id}: {rule.place!r} is not a subdivision: {hint}"
            )
        pools = None if isinstance(rule.applies_to, str) else frozenset(rule.applies_to)
        rules.append(Rule(rule.id, places.outermost(rule.place), pools))
    return rules


def _weights(path: Path, pool: str, raw: msgspec.Raw) -> Weights:
    bare = _decode(path, raw, dict[str, msgspec.Raw], pool)
    if "weights" in bare:
        return _decode(path, raw, DeclaredPrior, pool).weights
    return _decode(path, raw, Weights, pool)


def _checked(path: Path | Traversable, pool: str, weights: Weights) -> Weights:
    for code in weights:
        if not places.is_locatable(code):
            raise BeliefsError(f"{path}: {pool}: {code!r} is not a place: {places.hint(code)}")
    if sum(weights.values()) <= 0:
        raise BeliefsError(f"{path}: {pool}: the weights must add up to more than 0")
    return places.by_outermost(weights.items())


def _read(path: Path | Traversable, kind: type[T]) -> T:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BeliefsError(f"{path}: {error.strerror}") from None
    return _decode(path, raw, kind)


def _decode(path: Path | Traversable, raw: bytes | msgspec.Raw, kind: type[T], at: str = "") -> T:
    try:
        return decode_json(bytes(raw), kind)
    except msgspec.DecodeError as error:
        raise BeliefsError(f"{path}: {at}{': ' if at else ''}{error}") from None
