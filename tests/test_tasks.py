"""Tasks of a service: the first to end cancels the others, and all errors are reported."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from miningmap.tasks import run_until_first_ends


class FirstError(Exception):
    """The error that ends the group."""


class LaterError(Exception):
    """An error that is raised while the group ends."""


class Part:
    """A task that runs until it is cancelled, and may fail then."""

    def __init__(self, error: Exception | None = None) -> None:
        self.started = asyncio.Event()
        self.ended = False
        self._error = error

    async def run(self) -> None:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # stopping takes a moment
            self.ended = True
            if self._error:
                raise self._error


async def ends_after(part: Part, error: Exception | None = None) -> None:
    await part.started.wait()
    if error:
        raise error


async def test_the_first_to_return_ends_the_others() -> None:
    part = Part()
    await run_until_first_ends(part.run(), ends_after(part))
    assert part.ended


async def test_the_first_error_ends_the_others_and_is_raised_by_itself() -> None:
    part, error = Part(), FirstError()
    with pytest.raises(FirstError) as caught:
        await run_until_first_ends(part.run(), ends_after(part, error))
    assert caught.value is error
    assert part.ended


async def test_an_error_while_stopping_is_logged_and_does_not_replace_the_first() -> None:
    part, other = Part(LaterError("later")), Part()
    with capture_logs() as logs, pytest.raises(FirstError):
        await run_until_first_ends(part.run(), other.run(), ends_after(part, FirstError()))
    assert other.ended
    assert [(log["event"], log["error"]) for log in logs] == [
        ("stop_failed", "LaterError('later')")
    ]


async def test_an_error_while_stopping_is_logged_after_an_orderly_end() -> None:
    part = Part(LaterError("later"))
    with capture_logs() as logs:
        await run_until_first_ends(part.run(), ends_after(part))
    assert [log["event"] for log in logs] == ["stop_failed"]


async def test_groups_inside_groups_raise_the_one_error() -> None:
    part = Part()
    inner = run_until_first_ends(part.run(), ends_after(part, FirstError()))
    with pytest.raises(FirstError):
        await run_until_first_ends(Part().run(), inner)


async def test_cancellation_from_outside_ends_all() -> None:
    parts = [Part(), Part()]
    group = asyncio.create_task(run_until_first_ends(*(part.run() for part in parts)))
    for part in parts:
        await part.started.wait()
    group.cancel()
    with pytest.raises(asyncio.CancelledError):
        await group
    assert all(part.ended for part in parts)
