"""Several processes run as one: started, watched, and ended together, with nothing left behind.

::

    async with Supervisor() as supervisor:
        await supervisor.start(broker, redis)  # both at once, until both are ready
        await supervisor.start(streams, endpoint)
        await supervisor.run_for(None)

The body is cancelled when the user asks for the end (Ctrl-C, SIGTERM, a closed terminal), which is
a good end, or when a child dies, which becomes a :class:`ChildError` that says what it said last.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from types import TracebackType

READY_S: Final = 30.0
# All of them together; with it the whole shutdown stays well under the 10 s that are promised.
GRACE_S: Final = 8.0

_POLL_S: Final = 0.05
# After a child's end its output is read to the end, unless somebody else holds the pipe open.
_DRAIN_S: Final = 1.0
# Between a child's end and the event loop's knowing of it.
_NEWS_S: Final = 0.25
_TAIL_LINES: Final = 20
_CHUNK: Final = 65_536

# Runs in the child before the real program: the kernel is to kill it when its parent dies, even if
# that was killed itself. Not a preexec_fn, which is unsafe (and warned of) beside other threads.
# What Python ignores (SIGPIPE) would stay ignored in the program, so it is put back.
_BIND_TO_PARENT: Final = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent has gone already")
for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(ignored, signal.SIG_DFL)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    print(f"cannot run {sys.argv[2]}: {error.strerror}", file=sys.stderr)
    sys.exit(127)
"""


def bound_to_this_process(argv: Sequence[str]) -> list[str]:
    """``argv``, wrapped so that it is killed when this process dies, however that happens.

    On Linux only; elsewhere ``argv`` as it is. "Dies" includes the end of the *thread* that starts
    it, so start it from a thread that lives as long as the process should.
    """
    if sys.platform != "linux":
        return list(argv)
    return [sys.executable, "-I", "-S", "-c", _BIND_TO_PARENT, str(os.getpid()), *argv]


@dataclass(frozen=True)
class Child:
    """One process: ``env`` is added to this process's own.

    ``ready`` is asked again and again until it says yes; None means ready once started.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], Awaitable[bool]] | None = None


class ChildError(Exception):
    """A child died or did not become ready; names it, says how, ends with its last lines."""


def _to_stderr(line: str) -> None:
    # A terminal that has gone must not keep the children's output from being read on.
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - the children's own output


class Supervisor:
    """An asynchronous context; use it from the main thread, where signals arrive."""

    def __init__(
        self, *, say: Callable[[str], None] = _to_stderr, grace_s: float = GRACE_S
    ) -> None:
        """Nothing is done before ``async with``.

        Args:
            say: gets every line of every child, as ``name | line``.
            grace_s: how long all children together may take to end before they are killed.
        """
        self._say = say
        self._grace_s = grace_s
        self._running: list[_Running] = []
        self._failure: ChildError | None = None
        self._cancelled = False
        self._ending = False
        self._body: asyncio.Task[object]
        self._stop_signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which is what nohup asks for
            self._stop_signals.append(signal.SIGHUP)

    async def __aenter__(self) -> Self:
        body = asyncio.current_task()
        assert body is not None  # noqa: S101 - a coroutine runs in a task
        self._body = body
        for sign in self._stop_signals:
            asyncio.get_running_loop().add_signal_handler(sign, self._cancel_body)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._ending = True
        if exc is not None and not self._cancelled:
            self._failure = await self._first_death()  # why the body failed, before it was noticed
        try:
            await self._end()
        finally:
            for sign in self._stop_signals:
                asyncio.get_running_loop().remove_signal_handler(sign)
        others_cancel = self._cancelled and self._body.uncancel() > 0
        if self._failure is not None:
            raise self._failure from None
        return isinstance(exc, asyncio.CancelledError) and self._cancelled and not others_cancel

    async def start(self, *children: Child, within_s: float = READY_S) -> None:
        """Start ``children`` at once, in this order, and wait until all of them are ready.

        Raises:
            ChildError: one cannot be started, or is not ready ``within_s`` seconds from now.
        """
        started = [await self._launch(child) for child in children]
        deadline = asyncio.get_running_loop().time() + within_s
        for running in started:
            try:
                async with asyncio.timeout_at(deadline):
                    await running.until_ready()
            except TimeoutError:
                raise ChildError(running.described(f"was not ready after {within_s:g} s")) from None

    async def run_for(self, seconds: float | None) -> None:
        """Do nothing for ``seconds``; with None, until told to stop."""
        await asyncio.sleep(float("inf") if seconds is None else seconds)

    async def _launch(self, child: Child) -> _Running:
        try:
            running = await _Running.launch(child, self._say)
        except OSError as error:
            raise ChildError(f"{child.name} cannot be started: {error}") from None
        running.exited.add_done_callback(lambda _: self._notice(running))
        self._running.append(running)
        return running

    def _notice(self, running: _Running) -> None:
        if not self._ending and self._failure is None:
            self._failure = running.death()
            self._cancel_body()

    def _cancel_body(self) -> None:
        if not self._ending and not self._cancelled:
            self._cancelled = True
            self._body.cancel()

    async def _first_death(self) -> ChildError | None:
        """The death that an error elsewhere came from, if there is one; news of it may be late."""
        exits = {asyncio.create_task(running.process.wait()) for running in self._running}
        if exits:
            await asyncio.wait(exits, timeout=_NEWS_S, return_when=asyncio.FIRST_COMPLETED)
        for task in exits:
            task.cancel()
        for running in self._running:
            if running.process.returncode is not None:
                await running.exited
                return running.death()
        return None

    async def _end(self) -> None:
        """SIGTERM in reverse order, each after the one before has ended or had its share of time.

        The shares add up to the grace, and who is quick leaves more to the others. One that is slow
        goes on ending while the next is told; only at the end of the grace is anybody killed.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._grace_s
        try:
            for left, running in reversed(list(enumerate(self._running, start=1))):
                running.signal_group(signal.SIGTERM)
                await asyncio.wait({running.exited}, timeout=(deadline - loop.time()) / left)
        finally:
            for running in self._running:
                running.signal_group(signal.SIGKILL)
        for running in self._running:
            await running.exited


class _Running:
    """A started child. ``exited`` is done when its group has gone and its output is read."""

    def __init__(self, child: Child, process: Process) -> None:
        self.child = child
        self.process = process
        self.exited: asyncio.Task[None]
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)

    @classmethod
    async def launch(cls, child: Child, say: Callable[[str], None]) -> _Running:
        output, transport, writing = await _pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *bound_to_this_process(child.argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                env={**os.environ, **child.env},
                start_new_session=True,
            )
        except BaseException:
            transport.close()
            raise
        finally:
            os.close(writing)
        # No await from here: a process that is not yet in anybody's list must not be forgotten.
        running = cls(child, process)
        running.exited = asyncio.create_task(running.watch(output, transport, say))
        return running

    async def watch(
        self,
        output: asyncio.StreamReader,
        transport: asyncio.ReadTransport,
        say: Callable[[str], None],
    ) -> None:
        """Until the child has gone: then nothing of its group is left, and its output is read."""
        pump = asyncio.create_task(self._pump(output, say))
        await self.process.wait()
        self.signal_group(signal.SIGKILL)  # what it has left behind
        await asyncio.wait({pump}, timeout=_DRAIN_S)
        transport.close()
        pump.cancel()

    async def until_ready(self) -> None:
        ready = self.child.ready
        while ready is not None and not await ready():  # noqa: ASYNC110 - another process sets it
            await asyncio.sleep(_POLL_S)

    def signal_group(self, sign: signal.Signals) -> None:
        """To the child and to all that it started, unless they have gone."""
        if not self.exited.done():
            with suppress(ProcessLookupError, PermissionError):  # macOS says the second for zombies
                os.killpg(self.process.pid, sign)

    def death(self) -> ChildError:
        code = self.process.returncode or 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return ChildError(self.described(f"ended unexpectedly ({how})"))

    def described(self, what: str) -> str:
        said = "".join(f"\n  {line}" for line in self._tail)
        return f"{self.child.name} {what}" + (f"; its last lines:{said}" if said else "")

    async def _pump(self, output: asyncio.StreamReader, say: Callable[[str], None]) -> None:
        rest = b""
        while chunk := await output.read(_CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _CHUNK:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._emit(line, say)
        if rest:
            self._emit(rest, say)

    def _emit(self, line: bytes, say: Callable[[str], None]) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        self._tail.append(text)
        say(f"{self.child.name} | {text}")


async def _pipe() -> tuple[asyncio.StreamReader, asyncio.ReadTransport, int]:
    """What a child writes to the descriptor comes out of the reader.

    Not asyncio's own pipes: with them, waiting for a child can wait for its children too.
    """
    reading, writing = os.pipe()
    output = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(output), os.fdopen(reading, "rb", buffering=0)
    )
    return output, transport, writing
