"""Long work on an event loop waits for what goes before it, and not for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from miningmap import precedence
from miningmap.precedence import Precedence

if TYPE_CHECKING:
    import pytest

DEADLINE_S = 10.0
TURNS = 100


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def test_long_work_gets_its_turn_when_nothing_goes_before() -> None:
    async with asyncio.timeout(DEADLINE_S):
        await Precedence().give_way()


async def test_others_use_the_event_loop_between_pieces_of_long_work() -> None:
    others = asyncio.create_task(turns())
    one = Precedence()
    for _ in range(TURNS + 2):
        await one.give_way()
    assert others.done()


async def test_long_work_waits_until_what_goes_before_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precedence, "AT_MOST_S", 10 * DEADLINE_S)
    one = Precedence()
    with one.taken():
        waiting = asyncio.create_task(one.give_way())
        await turns()
        assert not waiting.done()
    async with asyncio.timeout(DEADLINE_S):
        await waiting


async def test_long_work_goes_on_beside_what_takes_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precedence, "AT_MOST_S", 0.05)
    async with asyncio.timeout(DEADLINE_S):
        with (one := Precedence()).taken():
            await one.give_way()


async def test_the_limit_of_what_has_ended_does_not_count_for_what_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = Precedence()
    monkeypatch.setattr(precedence, "AT_MOST_S", 0.05)
    with one.taken():
        pass
    monkeypatch.setattr(precedence, "AT_MOST_S", 10 * DEADLINE_S)
    with one.taken():
        waiting = asyncio.create_task(one.give_way())
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
    await waiting
