"""Run the parts of a service side by side, with one way to end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Coroutine

_log = structlog.get_logger(__name__)


class _EndedError(Exception):
    """A part of the group has returned, so the group ends."""


async def run_until_first_ends(*parts: Coroutine[Any, Any, object]) -> None:
    """Run coroutines side by side until the first one ends, then cancel the others.

    Returns when all of them have ended, so each has to end soon after it was cancelled. An error
    that comes up while the others end is logged; it never replaces the first one.

    Raises:
        Exception: what the first one to end raised, as it was raised and not in a group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(_run(part))
    except ExceptionGroup as errors:
        first, *later = errors.exceptions  # in the order in which the parts ended
        for error in later:
            if not isinstance(error, _EndedError):
                _log.error("stop_failed", error=repr(error), exc_info=error)
        if not isinstance(first, _EndedError):
            raise first from None


async def _run(part: Coroutine[Any, Any, object]) -> None:
    await part
    # A task group only ends early if one of its tasks fails.
    raise _EndedError
