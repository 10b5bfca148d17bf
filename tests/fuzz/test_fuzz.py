"""A short run of every target of tests/fuzz; `make fuzz` runs them for long, guided by coverage."""

from __future__ import annotations

import time
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.examples import examples
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import TARGETS, Target

SLOW_S = 2.0

ALL = pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))


@ALL
def test_the_first_seeds_are_accepted(target: Target) -> None:
    """A run that begins with inputs that are rejected at once would test little."""
    assert target.seeds
    assert any(target(seed) for seed in target.seeds)


@ALL
def test_what_was_found_stays_mended(target: Target) -> None:
    for data in target.starts():
        target(data)


@ALL
@examples(20)
@given(number=st.integers(0, 2**32 - 1), data=st.binary(max_size=64))
@example(number=0, data=b"")
def test_only_documented_errors_in_bounded_time(target: Target, number: int, data: bytes) -> None:
    random = Random(number)  # noqa: S311 - reproducible
    starts = target.starts()
    for each in (data, *(mutated(random.choice(starts), starts, random) for _ in range(4))):
        began = time.process_time()
        target(each)
        assert time.process_time() - began < SLOW_S, each
