"""The loop watchdog: ends a process whose event loop no longer runs, so that it is started again.

All else that watches a service runs in its event loop, and stops with it. Two things do not: a
thread, which logs where the loop is stuck, and the timer of :mod:`faulthandler`, which needs no
lock of the interpreter and so ends a process that is stuck in C code too.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
import threading
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCKED_S: Final = 60.0
"""How long an event loop may be blocked, in seconds."""
TICK_S: Final = 1.0
"""How often the loop shows that it runs, and how often that is looked at, in seconds."""
GRACE_S: Final = 5.0
"""How much later the timer ends the process, in seconds, if the thread cannot."""
END_S: Final = 10.0
"""How long a service that has stalled may take to stop, in seconds."""
EXIT_CODE: Final = 1

_log = structlog.get_logger(__name__)
_active: list[LoopWatchdog] = []


class LoopWatchdog:
    """Watches one event loop of this process, of the thread that makes it."""

    def __init__(self) -> None:
        self._beats = 0
        self._watched = threading.get_ident()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, name="loop-watchdog", daemon=True)
        self._must_end = False

    async def beat(self) -> NoReturn:
        """Show that the loop runs, until cancelled."""
        while True:
            self._beats += 1
            if not self._must_end:
                _exit_after(BLOCKED_S + GRACE_S)
            await asyncio.sleep(TICK_S)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()
        faulthandler.cancel_dump_traceback_later()

    def end_soon(self) -> None:
        """End the process in :data:`END_S` seconds, unless it has stopped by itself."""
        self._must_end = True
        _exit_after(END_S)

    def _look(self) -> None:
        """Count how often in a row the loop has not run.

        Not by the clock: a process that was stopped, like its machine, has missed one beat.
        """
        missed, beats = 0, -1
        while not self._stopped.wait(TICK_S):
            missed = missed + 1 if self._beats == beats else 0
            beats = self._beats
            if missed * TICK_S >= BLOCKED_S:
                self._end()

    def _end(self) -> NoReturn:
        _exit_after(GRACE_S)  # a log that cannot be written could be what blocks the loop
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - documented for this use
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        _log.critical("event_loop_blocked", seconds=BLOCKED_S, stack=stack)
        os._exit(EXIT_CODE)


@contextmanager
def watched_loop() -> Iterator[LoopWatchdog]:
    """Watch the event loop that runs in the block, in which :meth:`LoopWatchdog.beat` runs."""
    watchdog = LoopWatchdog()
    watchdog.start()
    _active.append(watchdog)
    try:
        yield watchdog
    finally:
        _active.remove(watchdog)
        watchdog.stop()


def end_soon() -> None:
    """End this process soon, also if a part of its service cannot be stopped.

    Without a watched loop, as in tests, this does nothing.
    """
    for watchdog in _active:
        watchdog.end_soon()


def _exit_after(seconds: float) -> None:
    """Start the timer anew; it writes where every thread is to standard error."""
    stderr = sys.__stderr__
    if stderr is None or stderr.closed:
        return
    faulthandler.dump_traceback_later(seconds, exit=True, file=stderr)
