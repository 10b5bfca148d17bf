"""The servers of the pools that the collector polls: each poll gets a figure of its own.

They run in a thread of their own, so that a collector between two scenarios finds them too.
"""

from __future__ import annotations

import itertools
import json
import select
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

from launch.local.embedded import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.torture.history import History

SOURCES: Final = ("pools/ocean", "pools/parasite", "network/mempool")

_figures: Final = itertools.count(1)
_ANSWERS: Final[dict[str, tuple[str, Callable[[int], object], int, int]]] = {
    # By host: source, its answer, the least figure (H/s), and the step to the next one.
    "api.ocean.xyz": (
        "ocean",
        lambda figure: {"result": {"pool_300s": str(figure)}},
        int(2e18),
        10**9,
    ),
    "parasite.space": ("parasite", lambda figure: {"hashrate": str(figure)}, int(1e18), 10**9),
    "mempool.space": (
        "mempool",
        lambda figure: {"currentHashrate": float(figure)},
        int(1e21),
        10**12,
    ),
}


def _is_gone(connection: socket.socket) -> bool:
    """Whether the client has closed the connection: it asks for nothing more."""
    readable, _, _ = select.select([connection], [], [], 0)
    with suppress(ConnectionError):
        return bool(readable) and not connection.recv(1, socket.MSG_PEEK)
    return True


class Pools:
    """All of them, at one address, as ``MININGMAP_COLLECTOR__UPSTREAM`` expects."""

    def __init__(self, port: int, history: History) -> None:
        # While it is not set, polls wait for their answer: nothing is sent, and nothing fails.
        self.answering = answering = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answering.wait()
                if _is_gone(self.connection):
                    return
                host = self.path.split("/")[1]
                source, answer, least, step = _ANSWERS[host]
                figure = least + next(_figures) * step
                operation = history.begin(source, "poll", [{"source": source, "hashrate": figure}])
                history.attempt(operation)
                body = json.dumps(answer(figure)).encode()
                with suppress(ConnectionError):  # the collector was killed
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Log nothing: the history has it."""

        self._server = ThreadingHTTPServer((LOOPBACK, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """Stop them."""
        self.answering.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
