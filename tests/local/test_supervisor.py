"""The supervisor with real, small processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from launch.local.supervisor import Child, ChildError, Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

DEADLINE_S = 10
FOR_EVER = ["sleep", "600"]
TELL_PID = "echo pid $$; exec sleep 600"
STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.05; done"
SUPERVISING = """
import asyncio, signal, sys
from launch.local.supervisor import Child, Supervisor

signal.signal(signal.SIGHUP, getattr(signal, sys.argv[1]))

async def ready():
    return sys.argv[2] == "ready"

async def main():
    async with Supervisor(output=lambda line: print(line, flush=True)) as supervisor:
        await supervisor.start(Child("child", ["sh", "-c", sys.argv[3]], ready=ready))
        await supervisor.run_for(None)
    if not asyncio.current_task().cancelling():
        print("over", flush=True)

asyncio.run(main())
"""


async def until(condition: Callable[[], bool], what: str) -> None:
    for _ in range(DEADLINE_S * 50):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"still not after {DEADLINE_S} s: {what}")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/status")
        # A zombie has ended, even if it was not reaped yet.
        return not (status.exists() and "State:\tZ" in status.read_text())
    except ProcessLookupError:
        return False


def shell(script: str, name: str = "child", **env: str) -> Child:
    return Child(name, ["sh", "-c", script], env)


def has_line(path: Path) -> Callable[[], Awaitable[bool]]:
    """Return a check that succeeds once the file has a complete line."""

    async def ready() -> bool:
        return exists()

    def exists() -> bool:
        return path.is_file() and path.read_text().endswith("\n")

    return ready


async def run(supervisor: Supervisor, *children: Child) -> None:
    async with supervisor:
        await supervisor.start(*children)
        await supervisor.run_for(None)


class Lines(list[str]):
    """The output of children, and a way to wait for a line."""

    async def has(self, line: str) -> None:
        await until(lambda: line in self, f"{line!r} among {self}")

    def pid(self, child: str) -> int:
        return next(int(line.split()[-1]) for line in self if line.startswith(f"{child} | pid"))


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def supervisor(lines: Lines) -> Supervisor:
    return Supervisor(output=lines.append, grace_s=2)


async def test_every_line_is_forwarded_under_its_childs_name(
    supervisor: Supervisor, lines: Lines
) -> None:
    async with supervisor:
        await supervisor.start(
            shell("echo out; echo err >&2; exec sleep 600", "a"),
            shell('printf %s "$GREETING"; printf "\\r\\n"; exec sleep 600', "b", GREETING="hello"),
        )
        await lines.has("a | out")
        await lines.has("a | err")
        await lines.has("b | hello")


async def test_output_without_line_ends_neither_blocks_the_child_nor_accumulates(
    supervisor: Supervisor, lines: Lines
) -> None:
    async with supervisor:
        await supervisor.start(shell("head -c 1000000 /dev/zero; echo; echo done; sleep 600"))
        await lines.has("child | done")
    assert sum(line.count("\0") for line in lines) == 1_000_000
    assert max(map(len, lines)) < 200_000


async def test_start_waits_until_all_are_ready(supervisor: Supervisor, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    script = "sleep 0.1; echo ready > {}; exec sleep 600"
    async with supervisor:
        await supervisor.start(
            Child("first", ["sh", "-c", script.format(first)], ready=has_line(first)),
            Child("second", ["sh", "-c", script.format(second)], ready=has_line(second)),
        )
        assert first.exists()
        assert second.exists()


async def test_a_child_that_does_not_become_ready_is_an_error_with_its_last_lines(
    supervisor: Supervisor, lines: Lines
) -> None:
    async def never() -> bool:
        return False

    script = "echo pid $$; echo waiting for godot; exec sleep 600"
    with pytest.raises(ChildError, match=r"godot was not ready after 0.5 s(.|\n)*for godot"):
        async with supervisor:
            await supervisor.start(Child("godot", ["sh", "-c", script], ready=never), within_s=0.5)
    assert not alive(lines.pid("godot"))


async def test_a_child_that_ends_at_start_is_an_error_at_once(supervisor: Supervisor) -> None:
    async def never() -> bool:
        return False

    began = time.monotonic()
    with pytest.raises(ChildError) as caught:
        async with supervisor:
            await supervisor.start(
                Child("bad", ["sh", "-c", "echo no such setting >&2; exit 3"], ready=never)
            )
    assert time.monotonic() - began < 5
    assert str(caught.value) == (
        "bad ended unexpectedly (exit code 3); its last lines:\n  no such setting"
    )


async def test_an_error_repeats_only_the_last_lines(supervisor: Supervisor) -> None:
    with pytest.raises(ChildError) as caught:
        await run(supervisor, shell("seq 1 50000; exit 1"))
    assert str(caught.value).splitlines()[1:] == [f"  {n}" for n in range(49_981, 50_001)]


async def test_a_missing_program_is_named(
    supervisor: Supervisor,
) -> None:
    with pytest.raises(ChildError, match=r"ghost (.|\n)*no-such-program"):
        await run(supervisor, Child("ghost", ["no-such-program"]))


async def test_all_children_end_when_one_ends(supervisor: Supervisor, lines: Lines) -> None:
    async def body() -> None:
        async with supervisor:
            await supervisor.start(shell(TELL_PID, "first"), shell(TELL_PID, "second"))
            await until(lambda: len(lines) == 2, "two pids")
            os.kill(lines.pid("second"), signal.SIGKILL)
            await supervisor.run_for(None)

    with pytest.raises(ChildError, match=r"second ended unexpectedly \(killed by SIGKILL\)"):
        await body()
    assert not alive(lines.pid("first"))


async def test_a_child_killed_by_a_realtime_signal_is_an_error_with_its_number(
    supervisor: Supervisor,
) -> None:
    with pytest.raises(ChildError, match=r"child ended unexpectedly \(killed by signal 40\)"):
        await run(supervisor, shell("kill -40 $$"))


async def test_a_child_that_ends_is_an_error_even_with_exit_code_0(
    supervisor: Supervisor,
) -> None:
    with pytest.raises(ChildError, match=r"child ended unexpectedly \(exit code 0\)"):
        await run(supervisor, shell("exit 0"))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.local.supervisor.FIRST_PAUSE_S", 0.01)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("end", "how"), [("exit 1", "exit code 1"), ("kill -9 $$", "killed by SIGKILL")]
)
async def test_a_child_that_fails_is_started_again(
    supervisor: Supervisor, lines: Lines, tmp_path: Path, end: str, how: str
) -> None:
    """Twice; the third time it goes on, and is stopped as any other."""
    starts = tmp_path / "starts"
    script = f"echo up >> {starts}; [ $(wc -l < {starts}) -gt 2 ] || {end}; {TELL_PID}"
    async with supervisor:
        await supervisor.start(replace(shell(script), restarts=True))
        await until(lambda: any("pid" in line for line in lines), "a pid")
        pid = lines.pid("child")
    assert not alive(pid)
    again = [line for line in lines if "started again" in line]
    assert [line.partition(";")[0] for line in again] == [f"child | ended unexpectedly ({how})"] * 2


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("code", [0, 2, 3])
async def test_a_child_with_another_exit_code_is_not_started_again(
    supervisor: Supervisor, code: int
) -> None:
    with pytest.raises(ChildError, match=rf"child ended unexpectedly \(exit code {code}\)"):
        await run(supervisor, replace(shell(f"exit {code}"), restarts=True))


async def test_a_child_that_was_never_ready_is_not_started_again(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    never = replace(shell("exit 1"), restarts=True, ready=has_line(tmp_path / "never"))
    with pytest.raises(ChildError, match=r"child ended unexpectedly \(exit code 1\)"):
        await run(supervisor, never)


async def test_a_child_that_waits_to_be_started_again_does_not_hold_up_the_end(
    supervisor: Supervisor, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launch.local.supervisor.FIRST_PAUSE_S", 600.0)
    async with asyncio.timeout(DEADLINE_S), supervisor:
        await supervisor.start(replace(shell("exit 1"), restarts=True))
        await until(lambda: any("started again" in line for line in lines), "its end")


class Process:
    """A process that supervises a child, so that signals are never sent to the test process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def has(self, line: str) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            while (read := (await self.process.stdout.readline()).decode()) != f"{line}\n":
                assert read, f"the process ended without {line!r}"

    async def ended(self) -> int:
        async with asyncio.timeout(DEADLINE_S):
            return await self.process.wait()


@asynccontextmanager
async def supervising(
    script: str, *, hangup: str = "SIG_DFL", state: str = "ready"
) -> AsyncIterator[Process]:
    """Run a process that supervises a shell script, and prints "over" when that ends normally.

    Args:
        script: of the child.
        hangup: what SIGHUP does at the start of the process; under nohup it is ``SIG_IGN``.
        state: of the child; unless it is "ready", the start of the child never ends.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SUPERVISING, hangup, state, script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Process(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_signals_end_without_an_error(number: signal.Signals) -> None:
    async with supervising("trap 'echo ended; exit' TERM; echo up; sleep 600 & wait") as parent:
        await parent.has("child | up")
        parent.process.send_signal(number)
        await parent.has("child | ended")
        await parent.has("over")
        assert await parent.ended() == 0


async def test_a_hangup_is_ignored_under_nohup() -> None:
    script = "trap 'echo alive' USR1; echo pid $$; while :; do sleep 0.02; done"
    async with supervising(f"kill -HUP $PPID; {script}", hangup="SIG_IGN") as parent:
        assert parent.process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            pid = int((await parent.process.stdout.readline()).split()[-1])
        os.kill(pid, signal.SIGUSR1)
        await parent.has("child | alive")
        parent.process.terminate()
        assert await parent.ended() == 0


async def test_a_signal_at_start_ends_without_an_error() -> None:
    async with supervising("kill -INT $PPID; exec sleep 600", state="starting") as parent:
        await parent.has("over")
        assert await parent.ended() == 0


async def test_a_second_signal_is_ignored() -> None:
    on_term = "kill -INT $PPID; sleep 0.1; echo ended; exit"
    async with supervising(f"trap '{on_term}' TERM; echo up; sleep 600 & wait") as parent:
        await parent.has("child | up")
        parent.process.send_signal(signal.SIGINT)
        await parent.has("child | ended")
        await parent.has("over")
        assert await parent.ended() == 0


async def test_the_time_can_be_limited(supervisor: Supervisor) -> None:
    async with supervisor:
        await supervisor.start(Child("child", FOR_EVER))
        await supervisor.run_for(0.01)


async def test_children_end_in_reverse_order(supervisor: Supervisor, lines: Lines) -> None:
    script = "trap 'sleep 0.1; echo ended; exit' TERM; echo up; while :; do sleep 0.02; done"
    names = ["broker", "redis", "streams"]
    async with supervisor:
        for name in names:
            await supervisor.start(shell(script, name))
            await lines.has(f"{name} | up")
    ends = [line for line in lines if line.endswith("ended")]
    assert ends == [f"{name} | ended" for name in reversed(names)]


async def test_a_child_that_ignores_sigterm_is_killed_and_others_end_in_order(
    lines: Lines,
) -> None:
    well = "trap 'echo ended; exit' TERM; echo up; while :; do sleep 0.02; done"
    async with Supervisor(output=lines.append, grace_s=1) as supervisor:
        await supervisor.start(shell(well, "first"), shell(STUBBORN, "second"))
        await supervisor.start(shell(STUBBORN, "third"))
        for name in ("first", "second", "third"):
            await lines.has(f"{name} | up")
        began = time.monotonic()
    assert time.monotonic() - began < 3
    assert "first | ended" in lines


async def test_grandchildren_end_with_their_parent(supervisor: Supervisor, lines: Lines) -> None:
    script = "sh -c \"trap '' TERM; echo pid \\$\\$; while :; do sleep 0.05; done\" & wait"
    async with supervisor:
        await supervisor.start(shell(script))
        await until(lambda: bool(lines), "the grandchild's pid")
        assert alive(lines.pid("child"))
    await until(lambda: not alive(lines.pid("child")), "the grandchild has gone")


async def test_orphans_of_a_child_end(supervisor: Supervisor, lines: Lines) -> None:
    with pytest.raises(ChildError, match="exit code 1"):
        await run(supervisor, shell("sleep 600 & echo pid $!; exit 1"))
    await until(lambda: not alive(lines.pid("child")), "the orphan has gone")


async def test_an_error_in_the_body_ends_the_children(supervisor: Supervisor, lines: Lines) -> None:
    async def body() -> None:
        async with supervisor:
            await supervisor.start(shell(TELL_PID))
            await until(lambda: bool(lines), "the pid")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await body()
    assert not alive(lines.pid("child"))


async def test_the_end_of_a_child_replaces_the_error_that_it_caused_in_the_body(
    supervisor: Supervisor, lines: Lines
) -> None:
    # A grandchild in its own session keeps the pipe open, so the end is detected late.
    escaped = "import os, time; os.setsid(); print('pid', os.getpid(), flush=True); time.sleep(600)"

    async def body() -> None:
        async with supervisor:
            await supervisor.start(shell(f'echo $$; {sys.executable} -c "{escaped}" & wait'))
            await until(lambda: len(lines) == 2, "both pids")
            child = int(lines[0].split()[-1])
            os.kill(child, signal.SIGTERM)
            await until(lambda: not alive(child), "the child's death")
            raise ConnectionError

    with pytest.raises(ChildError, match=r"child ended unexpectedly \(killed by SIGTERM\)"):
        await body()
    os.kill(lines.pid("child"), signal.SIGKILL)


async def test_an_error_of_the_body_is_the_cause_of_the_end_of_a_child(
    supervisor: Supervisor, lines: Lines
) -> None:
    async def body() -> None:
        async with supervisor:
            await supervisor.start(shell(TELL_PID))
            await until(lambda: bool(lines), "the pid")
            os.kill(lines.pid("child"), signal.SIGTERM)
            raise ZeroDivisionError

    with pytest.raises(ChildError) as caught:
        await body()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def test_an_error_while_forwarding_output_is_raised_and_ends_all_children() -> None:
    seen: list[int] = []

    def fail(line: str) -> None:
        seen.append(int(line.rsplit(maxsplit=1)[-1]))
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:
        await run(Supervisor(output=fail, grace_s=2), shell(TELL_PID), Child("second", FOR_EVER))
    assert caught.group_contains(ZeroDivisionError)
    assert not alive(seen[0])
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_no_task_outlives_the_supervisor(supervisor: Supervisor) -> None:
    async with supervisor:
        await supervisor.start(Child("first", FOR_EVER), Child("second", FOR_EVER))
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_cancellation_is_raised(supervisor: Supervisor, lines: Lines) -> None:
    task = asyncio.create_task(run(supervisor, shell(TELL_PID)))
    await until(lambda: bool(lines), "the pid")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(lines.pid("child"))


async def test_a_cancellation_while_the_bodys_error_is_examined_stops_the_children(
    supervisor: Supervisor, lines: Lines
) -> None:
    failing = asyncio.Event()

    async def body() -> None:
        async with supervisor:
            await supervisor.start(shell(TELL_PID))
            await until(lambda: bool(lines), "the pid")
            failing.set()
            raise ZeroDivisionError

    task = asyncio.create_task(body())
    await failing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(lines.pid("child"))
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a parent's death")
async def test_children_of_a_killed_supervisor_end() -> None:
    script = (
        "import asyncio\n"
        "from launch.local.supervisor import Child, Supervisor\n"
        "async def main():\n"
        "    async with Supervisor() as supervisor:\n"
        f"        await supervisor.start(Child('child', ['sh', '-c', {TELL_PID!r}]))\n"
        "        await supervisor.run_for(None)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(  # noqa: ASYNC220 - its first line comes within a second
        [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stderr is not None
        pid = int(parent.stderr.readline().split()[-1])
        assert alive(pid)
        parent.kill()
    await until(lambda: not alive(pid), "the child has gone")
