"""What a process of this machine has used, as the kernel counts it."""

from __future__ import annotations

import os
from pathlib import Path


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process so far, in seconds, of the threads that still run."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    # In nanoseconds; what /proc/PID/stat has is counted in hundredths of a second.
    return sum(int(each.read_text(encoding="ascii").split()[0]) for each in threads) / 1e9


def memory_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
