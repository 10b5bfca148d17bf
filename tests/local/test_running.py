"""How a demo is announced to other processes of its user, and found by them."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from launch.local.running import DemoError, RunningDemo, announced, only_demo, running_demos

if TYPE_CHECKING:
    from pathlib import Path

FIRST = RunningDemo("http://127.0.0.1:8080", "http://127.0.0.1:8081", "127.0.0.1:1", "redis://x:1")
SECOND = RunningDemo("http://127.0.0.1:8090", "http://127.0.0.1:8091", "127.0.0.1:2", "redis://x:2")
NONE = "no demo is running; start one with: miningmap demo"
ANNOUNCE = """
import signal, sys, time
from launch.local.running import RunningDemo, announced
with announced(RunningDemo("page", "intake", "127.0.0.1:1", "redis")):
    print("announced", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's run-time folder; there is also a folder for temporary files."""
    runtime, temporary = tmp_path / "runtime", tmp_path / "tmp"
    for folder in (runtime, temporary):
        folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    return runtime


def problem() -> str:
    with pytest.raises(DemoError) as caught:
        only_demo()
    return str(caught.value)


def test_a_demo_is_found_until_it_ends(runtime: Path) -> None:
    assert problem() == NONE
    with announced(FIRST):
        assert only_demo() == FIRST
        (file,) = (runtime / "miningmap").iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert problem() == NONE
    assert list(runtime.iterdir()) == []


def test_of_several_demos_none_is_chosen_until_one_is_left() -> None:
    with announced(FIRST):
        with announced(SECOND):
            text = problem()
            assert text.startswith("several demos are running, at http://127.0.0.1:80")
            assert FIRST.page in text
            assert SECOND.page in text
        assert only_demo() == FIRST


def test_a_demo_of_another_login_is_found(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    with announced(FIRST):
        assert list(runtime.iterdir()) == []
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        assert only_demo() == FIRST
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "none"))
        assert only_demo() == FIRST


def test_a_demo_that_was_killed_is_not_running_and_its_file_is_removed(runtime: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ANNOUNCE], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"announced\n"
        assert [demo.page for demo in running_demos()] == ["page"]
        process.send_signal(signal.SIGKILL)
    assert len(list((runtime / "miningmap").iterdir())) == 1
    assert problem() == NONE
    assert list((runtime / "miningmap").iterdir()) == []


def test_a_folder_that_others_can_read_or_have_prepared_is_not_used(
    runtime: Path, tmp_path: Path
) -> None:
    (runtime / "miningmap").mkdir(mode=0o755)
    (runtime / "miningmap").chmod(0o755)
    temporary = tmp_path / "tmp" / f"miningmap-{os.geteuid()}"
    with announced(FIRST):
        assert len(list(temporary.iterdir())) == 1
        assert only_demo() == FIRST
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    temporary.symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(DemoError, match=r"tmp/miningmap-\d+ is not a folder that only this user"),
        announced(FIRST),
    ):
        pass


def test_what_another_version_has_written_is_ignored(runtime: Path) -> None:
    with ExitStack() as stack:
        stack.enter_context(announced(FIRST))
        (file,) = (runtime / "miningmap").iterdir()
        file.write_text('{"page": 1}')
        assert problem() == NONE
