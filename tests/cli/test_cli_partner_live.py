"""``partner push --live`` and ``partner aggregate --every`` as processes, and the real intake."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.partner.fixtures import ADDRESSES, write_database
from tests.partner.live_intake import TOKEN, TOO_LARGE, LiveIntake, lines, row, until

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.cli.conftest import Run

DEADLINE_S: Final = 60
PIPE: Final = asyncio.subprocess.PIPE


class Pool:
    """The machine of a pool: a token, a spool, and commands that run there."""

    def __init__(self, folder: Path, intake: LiveIntake) -> None:
        self.folder = folder
        self.intake = intake
        self.spool = folder / "spool"
        self.token = folder / "token"
        self.token.write_text(TOKEN)

    @property
    def push_words(self) -> list[str]:
        words = ("-m", "launch", "partner", "push", "--live", "--to", self.intake.url)
        options = ("--token-file", self.token, "--spool", self.spool)
        return [sys.executable, *words, *map(str, options)]

    @asynccontextmanager
    async def pushing(self, *words: str) -> AsyncIterator[Process]:
        process = await asyncio.create_subprocess_exec(
            *self.push_words, *words, stdin=PIPE, stderr=PIPE
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def push(self, rows: bytes, *words: str) -> tuple[int | None, list[str]]:
        """Push rows until the end of the input; return the exit code and the lines it printed."""
        async with self.pushing(*words) as process:
            return await ended(process, rows)


async def ended(process: Process, rows: bytes = b"") -> tuple[int | None, list[str]]:
    """Give the last rows, end the input, and wait; return the exit code and the printed lines."""
    async with asyncio.timeout(DEADLINE_S):
        _, printed = await process.communicate(rows if process.stdin else None)
    return process.returncode, printed.decode().splitlines()


async def give(process: Process, rows: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(rows)
    await process.stdin.drain()


async def line(process: Process) -> str:
    """Return the next line that the process prints for people."""
    assert process.stderr is not None
    async with asyncio.timeout(DEADLINE_S):
        return (await process.stderr.readline()).decode().rstrip("\n")


@pytest.fixture
def intake() -> LiveIntake:
    return LiveIntake()


@pytest.fixture
def pool(tmp_path: Path, intake: LiveIntake) -> Pool:
    return Pool(tmp_path, intake)


# --- push --live ----------------------------------------------------------------------------------


async def test_rows_are_pushed_until_the_end_of_the_input(pool: Pool, intake: LiveIntake) -> None:
    async with intake.running():
        code, printed = await pool.push(lines(map(row, range(100))))
    assert (code, printed) == (0, ["push: 100 rows accepted"])
    assert intake.hashrates() == list(range(100))


async def test_by_default_the_spool_is_among_the_state_of_the_user(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(pool.folder))
    for value, parent in (
        (pool.folder / "state", pool.folder / "state"),
        ("relative", pool.folder / ".local" / "state"),
    ):
        monkeypatch.setenv("XDG_STATE_HOME", str(value))
        spool = pool.push_words.index("--spool")
        words = pool.push_words[:spool]
        process = await asyncio.create_subprocess_exec(*words, stdin=PIPE, stderr=PIPE)
        assert await ended(process) == (0, ["push: 0 rows accepted"])
        assert (parent / "miningmap" / "spool" / "spool.sqlite3").exists()


async def test_a_row_is_pushed_at_once_while_the_input_goes_on(
    pool: Pool, intake: LiveIntake
) -> None:
    async with intake.running(), pool.pushing("-") as process:
        for number in range(3):
            await give(process, lines([row(number)]))
            await intake.until(number + 1)
        assert (await ended(process))[0] == 0


async def test_rows_wait_on_the_disk_while_the_intake_is_away(
    pool: Pool, intake: LiveIntake
) -> None:
    async with pool.pushing() as process:
        await give(process, lines(map(row, range(700))))
        assert (await line(process)).startswith(f"push: no answer from {intake.url}/api/v1/reports")
        await give(process, lines(map(row, range(700, 1440))))
        async with intake.running():
            await intake.until(1440)
            code, printed = await ended(process)
    assert intake.hashrates() == list(range(1440))
    assert code == 0
    assert printed[0].startswith("push: the intake answers again")
    assert printed[1:] == ["push: 1440 rows accepted"]


async def test_after_a_kill_between_acceptance_and_removal_a_row_is_sent_again(
    pool: Pool, intake: LiveIntake
) -> None:
    intake.acknowledges.clear()
    async with intake.running():
        async with pool.pushing() as process:
            await give(process, lines([row(0)]))
            await intake.until(1)
            process.kill()
            await process.wait()
        intake.acknowledges.set()
        code, printed = await pool.push(lines([row(1)]))
    assert code == 0
    assert printed == [
        f"push: spool {pool.spool}: 1 row from an earlier run, sent first",
        "push: 2 rows accepted",
    ]
    assert intake.hashrates() == [0, 0, 1]
    first, again, _ = intake.reports
    assert (first.start, first.end, first.hold_s) == (again.start, again.end, again.hold_s)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_and_leaves_in_the_spool_what_is_not_accepted(
    pool: Pool, intake: LiveIntake, stop: signal.Signals
) -> None:
    async with pool.pushing() as process:
        await give(process, lines(map(row, range(5))))
        assert "no answer from" in await line(process)
        process.send_signal(stop)
        code, printed = await ended(process)
    assert (code, printed) == (
        0,
        ["push: 0 rows accepted, 5 rows left in the spool, to be sent at the next start"],
    )
    async with intake.running():
        code, printed = await pool.push(b"")
    assert (code, printed[-1]) == (0, "push: 5 rows accepted")
    assert intake.hashrates() == list(range(5))


async def test_an_intake_that_stays_away_at_the_end_of_the_input_is_an_error(
    pool: Pool, intake: LiveIntake
) -> None:
    intake.tokens.clear()
    async with intake.running():
        code, printed = await pool.push(lines([row(0)]))
    assert code == 1
    assert printed[-1] == (
        "miningmap: 0 rows accepted, 1 row left in the spool, to be sent at the next start: "
        f"{intake.url}/api/v1/reports answered 401: Invalid bearer token"
    )
    assert TOKEN not in "".join(printed)


async def test_wrong_lines_and_refused_rows_are_named_and_the_others_accepted(
    pool: Pool, intake: LiveIntake
) -> None:
    given = lines([row(0), row(1, hashrate=-1), row(2, hashrate=TOO_LARGE), row(3)])
    async with intake.running():
        code, printed = await pool.push(given + b'{"start":"2026-11-')
    assert code == 1
    assert intake.hashrates() == [0, 3]
    assert printed[0].startswith("push: line 2: hashrate: expected a finite number")
    assert printed[1].startswith("push: line 5: not JSON: ")
    assert printed[2].startswith("push: the intake refused 1 row, now in ")
    assert printed[3:] == ["miningmap: 2 rows accepted, 2 lines skipped, 1 row refused"]


async def test_two_processes_cannot_use_one_spool(pool: Pool, intake: LiveIntake) -> None:
    async with intake.running(), pool.pushing() as process:
        await give(process, lines([row(0)]))
        await intake.until(1)
        code, printed = await pool.push(lines([row(1)]))
        assert code == 1
        said = f"miningmap: spool {pool.spool}: another process uses it; give each its own by "
        assert printed == [said + "--spool"]
        assert (await ended(process))[0] == 0
    assert intake.hashrates() == [0]


async def test_a_damaged_spool_is_said_and_does_not_stop_the_rows(
    pool: Pool, intake: LiveIntake
) -> None:
    pool.spool.mkdir()
    (pool.spool / "spool.sqlite3").write_bytes(b"not a database" * 100)
    async with intake.running():
        code, printed = await pool.push(lines([row(0)]))
    said = f"push: spool {pool.spool}: damaged; it is now damaged-spool.sqlite3, and a new one is "
    assert (code, printed) == (0, [said + "used", "push: 1 row accepted"])


async def test_a_token_from_a_pipe_is_read_once(pool: Pool, intake: LiveIntake) -> None:
    pool.token.unlink()
    os.mkfifo(pool.token)
    async with intake.running(), pool.pushing() as process:
        await asyncio.to_thread(pool.token.write_text, TOKEN)
        assert await ended(process, lines([row(0)])) == (0, ["push: 1 row accepted"])


async def test_a_new_token_in_the_file_is_used_without_a_restart(
    pool: Pool, intake: LiveIntake
) -> None:
    async with intake.running(), pool.pushing() as process:
        await give(process, lines([row(0)]))
        await intake.until(1)
        pool.token.unlink()
        await give(process, lines([row(1)]))
        await intake.until(2)
        intake.tokens = {"another"}
        pool.token.write_text("another")
        await give(process, lines([row(2)]))
        await intake.until(3)
        assert await ended(process) == (0, ["push: 3 rows accepted"])


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["push"], "Missing argument 'FILE'; see miningmap partner push --help"),
        (["push", "-"], "Missing argument 'FILE'; see miningmap partner push --help"),
        (["push", "--live"], "--to: give the address of the intake"),
        (["push", "--live", "--dry-run"], "--dry-run: not with --live"),
        (["push", "none", "--live"], "Invalid value for '[FILE]': File 'none' does not exist"),
        (["push", __file__, "--spool", "x"], "--spool: only with --live"),
        (
            ["push", "--live", "--to", "http://localhost", "--spool-max", "1MB"],
            "Invalid value for '--spool-max': 1MB is less than 4MB",
        ),
        (
            ["push", "--live", "--to", "http://localhost", "--spool-max", "64"],
            "Invalid value for '--spool-max': '64' is not a size such as 64MB (MB, GB)",
        ),
        (["push", "--live", "--to", "http://localhost"], "no token: give --token-file"),
        (["aggregate", __file__], "Missing option '--date'; see miningmap partner aggregate"),
        (["aggregate", __file__, "--date", "2026-11-01"], "Missing option '--period'"),
        (
            ["aggregate", "none", "--date", "2026-11-01", "--period", "daily"],
            "Invalid value for 'FILE': File 'none' does not exist",
        ),
        (
            ["aggregate", "x", "--every", "1m", "--period", "daily"],
            "--date, --period, --output: not with --every",
        ),
        (["aggregate", "x", "--every", "90s"], "--every: expected whole minutes, less than an"),
        (["aggregate", "x", "--every", "1h"], "--every: expected whole minutes, less than an"),
        (["aggregate", "x", "--every", "1"], "Invalid value for '--every': '1' is not a duration"),
        (["aggregate", "tcp:x", "--every", "1m"], "tcp:x: expected an address such as tcp:127.0."),
        (["aggregate", "tcp:[::1]:65536", "--every", "1m"], "tcp:[::1]:65536: expected an address"),
        (["aggregate", "x", "--every", "1m", "--unit", "W"], "unknown unit of hashrate: 'W'"),
        (
            ["aggregate", "x", "--every", "1m", "--database", __file__],
            f"{__file__}: not a database in MaxMind's format",
        ),
    ],
)
def test_wrong_usage_is_one_line(run: Run, words: list[str], error: str) -> None:
    result = run("partner", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"miningmap: {error}")
    assert result.stderr.count("\n") == 1


# --- aggregate --every ----------------------------------------------------------------------------


@pytest.fixture
def aggregate_words(tmp_path: Path) -> list[str]:
    """The command for a file with all addresses, 100 TH/s each, that was written just now."""
    database = write_database(tmp_path / "city.mmdb")
    file = tmp_path / "miners.csv"
    file.write_text("ip,hashrate\n" + "".join(f"{ip},100\n" for ip in ADDRESSES.values()))
    words = ("-m", "launch", "partner", "aggregate", file, "--every", "1m", "--unit", "TH/s")
    return [sys.executable, *map(str, words), "--database", str(database)]


async def test_a_list_becomes_a_row_without_an_address_and_a_signal_ends_the_command(
    aggregate_words: list[str],
) -> None:
    process = await asyncio.create_subprocess_exec(*aggregate_words, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        written = await process.stdout.readline()
    process.terminate()
    async with asyncio.timeout(DEADLINE_S):
        _, printed = await process.communicate()
    assert process.returncode == 0
    found = json.loads(written)
    assert found["hashrate"] == 6e14
    assert found["places"] == [
        {"code": "CA-QC", "hashrate": 1e14},
        {"code": "CN-SC", "hashrate": 1e14},
        {"code": "NO", "hashrate": 1e14},
        {"code": "US-TX", "hashrate": 2e14},
    ]
    assert printed.decode().splitlines() == [
        "aggregate: 5 miners with 500 TH/s in 4 places",
        "aggregate: not located and only in the total: 1 miner with 100 TH/s",
        "aggregate: 4 places with fewer than 3 miners: --min-miners 3 would merge them",
    ]


async def test_both_commands_are_a_pipeline(
    pool: Pool, intake: LiveIntake, aggregate_words: list[str]
) -> None:
    pipeline = f"{shlex.join(aggregate_words)} | {shlex.join(pool.push_words)}"
    async with intake.running():
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", pipeline, stderr=PIPE, start_new_session=True
        )
        try:
            await intake.until(1)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            _, printed = await ended(process)
    report = intake.reports[0]
    assert report.hashrate == 6e14
    assert {place.code for place in report.places} == {"CA-QC", "CN-SC", "NO", "US-TX"}
    assert report.length_s == 60
    assert not any(address in "\n".join(printed) for address in ADDRESSES.values())


def test_a_closed_pipe_ends_it_quietly(aggregate_words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        done = subprocess.run(
            aggregate_words, check=False, stdout=closed, stderr=subprocess.PIPE, timeout=DEADLINE_S
        )
    assert done.returncode == 1
    assert all(line.startswith(b"aggregate: ") for line in done.stderr.splitlines())


async def test_a_signal_ends_it_while_its_reader_lets_it_wait(aggregate_words: list[str]) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    process = await asyncio.create_subprocess_exec(*aggregate_words, stdout=writing, stderr=PIPE)
    try:
        for _ in range(3):  # the summary is printed before the row is written
            await line(process)
        await until(lambda: b"pipe_write" in wchan(process.pid) or not wchan(process.pid))
        process.terminate()
        assert (await ended(process))[0] == 0
    finally:
        os.close(writing)
        os.close(reading)


def wchan(pid: int) -> bytes:
    """Return in which function of the kernel a process waits; empty if that is not told."""
    with open(f"/proc/{pid}/wchan", "rb") as file:  # noqa: PTH123
        return file.read().strip(b"0")


async def test_without_a_usable_list_it_goes_on_and_says_why_without_an_address(
    aggregate_words: list[str], tmp_path: Path
) -> None:
    texas = ADDRESSES["texas"]
    (tmp_path / "miners.csv").write_text(f"{texas},1\n{texas}:3333,{texas}\n")
    process = await asyncio.create_subprocess_exec(*aggregate_words, stdout=PIPE, stderr=PIPE)
    said = await line(process)
    process.terminate()
    async with asyncio.timeout(DEADLINE_S):
        written, rest = await process.communicate()
    assert (written, rest) == (b"", b"")
    assert said == (
        f"aggregate: {tmp_path}/miners.csv: line 1: missing column hashrate; found none; there are "
        "no rows until that is mended"
    )
