"""Concurrent parts of a service, which all end when the first of them ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Coroutine

_log = structlog.get_logger(__name__)


class _EndedError(Exception):
    """A part has returned, so the group must end."""


async def run_until_first_ends(*parts: Coroutine[Any, Any, object]) -> None:
    """Run coroutines concurrently until the first one ends, then cancel the others.

    Returns when all of them have ended, so each must end soon after it was cancelled. An error
    that another one raises meanwhile is logged; it never replaces the first error.

    Raises:
        Exception: the error of the first one to end, not wrapped in a group.
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


def raise_if_cancelled() -> None:
    """Raise if this task was cancelled: a library can drop the cancellation.

    aiokafka does while it closes, and redis-py where it uses ``asyncio.wait_for`` of Python 3.11,
    if an answer arrives at the same time. A loop would then go on, and its service with it.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
