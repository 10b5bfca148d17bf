"""The command line runs a service in a separate process until a signal stops it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


DEADLINE_S = 20
SERVICE = """
import asyncio, click, structlog, sys
from launch.cli.common import run_service
from miningmap.settings import SettingsError

left = []

async def ignore_cancellation():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def run(settings, stop):
    structlog.get_logger("toy").info("up")
    if sys.argv[1] == "misconfigured":
        raise SettingsError("MININGMAP_TOY__SETTING: no")
    if sys.argv[1] == "broken":
        raise RuntimeError("out of order")
    if sys.argv[1] == "stubborn":
        left.append(asyncio.create_task(ignore_cancellation()))
    await stop.wait()
    structlog.get_logger("toy").info("down")

@click.command()
@click.argument("how")
@click.pass_context
def command(context, how):
    run_service(context, "toy", run)

command()
"""


def service(how: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SERVICE, how], stderr=subprocess.PIPE, text=True)


def until_ended(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    _, lines = process.communicate(timeout=DEADLINE_S)
    return process.returncode, lines.splitlines()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_service_without_an_error(sign: signal.Signals) -> None:
    with service("well") as process:
        assert process.stderr
        up = json.loads(process.stderr.readline())
        process.send_signal(sign)
        code, lines = until_ended(process)
    assert code == 0
    assert (up["event"], up["service"]) == ("up", "toy")
    assert [json.loads(line)["event"] for line in lines] == ["down", "service_stopped"]


def test_a_task_that_ignores_its_cancellation_keeps_no_service_running() -> None:
    with service("stubborn") as process:
        assert process.stderr
        process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        code, lines = until_ended(process)
    assert code == 0
    assert [json.loads(line)["event"] for line in lines[:2]] == ["down", "service_stopped"]


def test_a_settings_error_of_a_service_has_the_exit_code_2() -> None:
    with service("misconfigured") as process:
        code, lines = until_ended(process)
    assert code == 2
    assert lines[1:] == ["miningmap: MININGMAP_TOY__SETTING: no"]


def test_an_unexpected_error_of_a_service_is_logged_and_one_line() -> None:
    with service("broken") as process:
        code, lines = until_ended(process)
    assert code == 1
    _, logged, last = lines
    assert json.loads(logged)["event"] == "service_failed"
    assert json.loads(logged)["exception"].endswith("RuntimeError: out of order")
    assert last == "miningmap: toy failed: RuntimeError('out of order')"


@pytest.mark.parametrize("command", ["streams", "endpoint"])
def test_a_service_does_not_start_with_unreadable_beliefs(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MININGMAP_METHOD__BELIEFS", str(tmp_path / "none.json"))
    ran = subprocess.run(
        [sys.executable, "-m", "launch", command],
        check=False,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == f"miningmap: {tmp_path / 'none.json'}: No such file or directory\n"
