"""``miningmap demo`` as a user runs it: a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.request import urlopen

from launch.local.embedded import LOOPBACK, EmbeddedBroker, EmbeddedError, EmbeddedRedis, free_port
from miningmap.settings import PREFIX
from tests.conftest import missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

READY_S: Final = 180  # of a machine that is busy with other tests
END_S: Final = 10
POLL_S: Final = 0.05


@dataclass(frozen=True)
class Demo:
    """The running demo, with its own working folder and folder for temporary files."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    env: Mapping[str, str]

    @property
    def output(self) -> str:
        return (self.folder / "stderr").read_text()

    def text(self, path: str, port: int | None = None) -> str:
        with urlopen(f"http://{LOOPBACK}:{port or self.port}{path}", timeout=10) as answer:
            assert answer.status == 200
            body: bytes = answer.read()
            return body.decode()

    @property
    def metrics_ports(self) -> dict[str, int]:
        """The ports of the services' metrics, as they are printed."""
        printed = re.findall(
            r"^  metrics  http://.*:(\d+)/metrics \((\w+)\)$", self.output, re.MULTILINE
        )
        return {service: int(port) for port, service in printed}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the same user."""
        return subprocess.run(
            [sys.executable, "-m", "launch", *words],
            check=True,
            capture_output=True,
            text=True,
            env=self.env,
            timeout=READY_S,
        )

    def json(self, path: str) -> Any:
        return json.loads(self.text(path))


@contextmanager
def running_demo(folder: Path, *options: str) -> Iterator[Demo]:
    """Run a demo, with the folder for its files, until the end of the block.

    Args:
        folder: empty.
        options: further ones of the command.
    """
    require_embedded()
    (folder / "cwd").mkdir()
    (folder / "tmp").mkdir()
    port = free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | {
        "TMPDIR": str(folder / "tmp"),
        "XDG_RUNTIME_DIR": "",
        "MININGMAP_INTAKE__PORT": str(free_port()),
    }
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "launch", "demo", "--port", str(port), *options],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=folder / "cwd",
            env=env,
        )
    started = Demo(process, folder, port, env)
    try:
        _until_ready(started)
        yield started
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def require_embedded() -> None:
    try:
        EmbeddedBroker()
        with EmbeddedRedis():
            pass
    except (EmbeddedError, ModuleNotFoundError) as error:
        raise missing(str(error), os.environ.get("CI", "")) from None


def _until_ready(demo: Demo) -> None:
    deadline = time.monotonic() + READY_S
    while "\nready after" not in demo.output:
        assert demo.process.poll() is None, f"the demo ended: {demo.output}"
        assert time.monotonic() < deadline, f"not ready after {READY_S} s: {demo.output}"
        time.sleep(POLL_S)
