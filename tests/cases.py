"""Run one test over a list of cases, and report every failing case with its name."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Test = Callable[..., None]


def all_cases(names: str | tuple[str, ...], cases: Iterable[Any]) -> Callable[[Test], Test]:
    """Like ``pytest.mark.parametrize``, but all cases are one test.

    For lists of small cases, of which hundreds would only make the report longer. Fixtures are set
    up once for all cases, so a test that changes them needs ``parametrize``.

    Args:
        names: the names of the parameters, as for ``parametrize``.
        cases: the values, or ``pytest.param`` with an id.
    """
    parameters = (names,) if isinstance(names, str) else names
    listed = [_named(case, single=isinstance(names, str)) for case in cases]
    assert listed, "there are no cases"

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def run(**fixtures: Any) -> None:
            failures = []
            for name, values in listed:
                try:
                    test(**fixtures, **dict(zip(parameters, values, strict=True)))
                except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - reported below
                    error.add_note(f"case: {name}")
                    failures.append(error)
            if failures:
                raise BaseExceptionGroup(f"{len(failures)} of {len(listed)} cases", failures)

        signature = inspect.signature(test)
        rest = [p for name, p in signature.parameters.items() if name not in parameters]
        run.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
        return run

    return decorate


def _named(case: Any, *, single: bool) -> tuple[str, tuple[Any, ...]]:
    if hasattr(case, "values") and hasattr(case, "marks"):  # pytest.param
        return case.id or repr(case.values), tuple(case.values)
    values = (case,) if single else tuple(case)
    return ", ".join(map(repr, values)), values
