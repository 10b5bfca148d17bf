"""``python -m tests.torture.watched NAME``: a service that says how many asyncio tasks it has.

It writes the number to the file in ``TORTURE_TASKS`` every second; the service itself is unchanged.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from asyncio.base_events import BaseEventLoop
from pathlib import Path

from launch.cli import main


def _watch(file: Path) -> None:
    """Count the tasks of the loop of the main thread."""
    loops: list[BaseEventLoop] = []
    run_forever = BaseEventLoop.run_forever

    def noted(self: BaseEventLoop) -> None:
        if threading.current_thread() is threading.main_thread():
            loops.append(self)
        run_forever(self)

    def count() -> None:
        while True:
            if loops:
                file.write_text(str(len(asyncio.all_tasks(loops[-1]))))
            time.sleep(1)

    BaseEventLoop.run_forever = noted  # type: ignore[method-assign]
    threading.Thread(target=count, daemon=True).start()


if __name__ == "__main__":
    _watch(Path(os.environ["TORTURE_TASKS"]))
    main(prog_name="miningmap")
