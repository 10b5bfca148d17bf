"""Logs, of a process of their own: they are set up for a whole process, once."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

DEADLINE_S = 20
PROGRAM = """
import logging, sys
import structlog
from miningmap import logs
from miningmap.settings import Log

def fail(password):
    raise ValueError("no " + "entry")

logs.keep_quiet()  # as the command line does before it knows which command it is
log = structlog.get_logger("miningmap.test")
logging.getLogger("aiokafka.conn").error("refused")
log.warning("early")
logs.configure(Log(format=sys.argv[1], level=sys.argv[2]), "streams")
log.debug("details")
log.info("started", port=8080)
logging.getLogger("aiohttp.server").warning("said by %s", "a library")
logging.getLogger("aiokafka.conn").info("connected")
try:
    fail("geh" + "eim")
except ValueError:
    log.exception("failed")
    logging.getLogger("asyncio").exception("failed too")
"""


def piped(format_: str, level: str = "info") -> str:
    """What the program writes to a standard error that is no terminal."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, format_, level],
        check=True,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert not ran.stdout
    return ran.stderr


def in_terminal(format_: str) -> str:
    """What the program writes to a standard error that is a terminal."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM, format_, "info"], stderr=theirs
        ) as process:
            os.close(theirs)
            written = b"".join(iter(lambda: _read(ours), b""))
        assert process.returncode == 0
    finally:
        os.close(ours)
    return written.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # how Linux says that nobody holds the other end any more
        return b""


def test_what_is_no_terminal_gets_json_one_object_a_line() -> None:
    lines = [json.loads(line) for line in piped("auto").splitlines()]
    assert [line["event"] for line in lines] == [
        "started",
        "said by a library",
        "failed",
        "failed too",
    ]
    started = lines[0]
    assert started.pop("timestamp").endswith("Z")
    assert started == {
        "event": "started",
        "level": "info",
        "logger": "miningmap.test",
        "port": 8080,
        "service": "streams",
    }
    assert {line["service"] for line in lines} == {"streams"}
    assert {line["logger"] for line in lines[1:]} == {"aiohttp.server", "miningmap.test", "asyncio"}


def test_a_terminal_gets_lines_for_people() -> None:
    written = in_terminal("auto")
    assert "\x1b[" in written
    assert "started" in written
    assert "{" not in written


def test_json_can_be_had_in_a_terminal_too() -> None:
    first, *_ = in_terminal("json").splitlines()
    assert json.loads(first)["event"] == "started"


def test_lines_for_people_in_a_file_have_no_colours() -> None:
    written = piped("console")
    assert "[info     ] started" in written
    assert "\x1b[" not in written


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_traceback_shows_no_local_variables(format_: str) -> None:
    written = piped(format_)
    assert written.count("Traceback (most recent call last)") == 2
    assert written.count("ValueError: no entry") == 2
    assert "geheim" not in written


def test_nor_does_one_in_a_terminal() -> None:
    written = in_terminal("auto")
    assert written.count("ValueError: no entry") == 2
    assert "geheim" not in written


def test_the_level_holds_for_libraries_too() -> None:
    events = [json.loads(line)["event"] for line in piped("json", "error").splitlines()]
    assert events == ["failed", "failed too"]
    events = [json.loads(line)["event"] for line in piped("json", "debug").splitlines()]
    assert events[:2] == ["details", "started"]
