"""``miningmap up`` in a terminal, as a user runs it."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal

import pytest

from launch.local.embedded import free_port
from launch.local.stack import services
from miningmap.settings import PREFIX, load
from tests.demo import require_embedded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

DEADLINE_S: Final = 60
CTRL_C: Final = b"\x03"


class Terminal:
    """A terminal with a running command, and its content."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self.descriptor = descriptor
        self.process = process
        self.text = ""

    def has(self, pattern: str) -> None:
        """Read until a line matches."""
        deadline = time.monotonic() + DEADLINE_S
        while not re.search(pattern, self.text, re.MULTILINE):
            assert time.monotonic() < deadline, self.text
            assert self.process.poll() is None, self.text
            if select.select([self.descriptor], [], [], 1)[0]:
                self.text += os.read(self.descriptor, 65_536).decode().replace("\r\n", "\n")

    def press(self, key: bytes) -> None:
        os.write(self.descriptor, key)


@contextmanager
def terminal(folder: Path, *words: str, **env: str) -> Iterator[Terminal]:
    """Run ``miningmap`` in a new terminal, which becomes its controlling terminal."""
    script = "import fcntl, os, sys, termios; fcntl.ioctl(2, termios.TIOCSCTTY, 0); "
    script += "os.execv(sys.executable, [sys.executable, '-m', 'launch', *sys.argv[1:]])"
    own, child = pty.openpty()
    intake = {f"{PREFIX}INTAKE__PORT": str(free_port())}
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words],
        stdin=child,
        stdout=child,
        stderr=child,
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder), **intake, **env},
        start_new_session=True,
    )
    os.close(child)
    try:
        yield Terminal(own, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE_S)
        os.close(own)


UP: Final = {"MININGMAP_COLLECTOR__SOURCES": "[]"}  # tests send no requests to other servers


def test_logs_in_a_terminal_have_the_console_format_and_ctrl_c_ends_all(tmp_path: Path) -> None:
    require_embedded()
    port = str(free_port())
    with terminal(tmp_path, "up", "--port", port, **UP) as screen:
        for service in ("streams", "endpoint", "collector"):
            screen.has(rf"^{service} \| \S+ \[info +\] \S.*service={service}")
        screen.has(rf"^ready: http://127\.0\.0\.1:{port} \(Ctrl-C ends it\)$")
        screen.has(r"^  broker +MININGMAP_KAFKA__BOOTSTRAP_SERVERS=127\.0\.0\.1:\d+ ")
        screen.has(r"^  Redis +MININGMAP_REDIS__URL=redis://127\.0\.0\.1:\d+/0$")
        screen.has(r"^  metrics +http://127\.0\.0\.1:\d+/metrics \(collector\)$")
        screen.press(CTRL_C)
        assert screen.process.wait(DEADLINE_S) == 0
    assert not re.search(r"\| \{", screen.text)
    assert "Traceback" not in screen.text


@pytest.mark.parametrize(
    ("chosen", "is_terminal", "expected"),
    [("auto", True, "console"), ("auto", False, "json"), ("json", True, "json")],
)
def test_children_log_in_the_format_of_their_parent(
    chosen: Literal["auto", "json"],
    is_terminal: bool,  # noqa: FBT001 - a parameter of the test
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    settings = load()
    settings.log.format = chosen
    for child in services(settings, {"OTHER": "1"}, None):
        assert child.env["MININGMAP_LOG__FORMAT"] == expected
        assert child.env["OTHER"] == "1"
