"""The simulation as a separate process."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from launch.simulation.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULE = (sys.executable, "-m", "launch.simulation")


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*MODULE, *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def answer(url: str) -> bytes:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - on loopback
                return bytes(response.read())
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_simulation_responds_for_pools_and_stops_at_once(
    unused_tcp_port: int, tmp_path: Path, number: signal.Signals
) -> None:
    token = tmp_path / "token"
    token.write_text("a-partners-token\n")
    closed = "http://127.0.0.1:9"  # the port of "discard", which is not in use
    options = ["--seed", "7", "--scenario", "calm", "--intake", closed, "--token-file", str(token)]
    with running("--port", str(unused_tcp_port), *options) as process:
        url = f"http://127.0.0.1:{unused_tcp_port}/api.ocean.xyz/v1/pool_hashrate"
        assert b"pool_300s" in answer(url)
        with socket.create_connection(("127.0.0.1", unused_tcp_port)):  # stays open
            process.send_signal(number)
            _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert "a-partners-token" not in errors


def test_a_port_in_use_is_one_line(unused_tcp_port: int) -> None:
    with running("--port", str(unused_tcp_port)) as first:
        answer(f"http://127.0.0.1:{unused_tcp_port}/api.ocean.xyz/v1/pool_hashrate")
        with running("--port", str(unused_tcp_port)) as second:
            _, errors = second.communicate(timeout=20)
        assert second.returncode == 1
        assert errors.startswith(f"Error: --port {unused_tcp_port}: ")
        assert errors.count("\n") == 1
        assert first.poll() is None


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--scenario", "alaska"), "calm"),
        (("--origin", "2026-11-22T15:00:00"), "time zone"),
        (("--intake", "http://127.0.0.1:8081"), "--token-file"),
    ],
)
def test_wrong_usage_is_named(arguments: tuple[str, ...], text: str) -> None:
    done = CliRunner().invoke(main, ["--port", "0", *arguments])
    assert done.exit_code == 2
    assert text in done.stderr
