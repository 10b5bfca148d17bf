"""A network that fails: a real toxiproxy between the services and their servers.

``tests/install-servers.sh`` builds it where Go is installed. https://github.com/Shopify/toxiproxy
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import httpx

from launch.local.embedded import LOOPBACK
from tests.servers import CACHE, STOP_S, Server, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

VERSION: Final = "2.12.0"
PROGRAM: Final = CACHE / f"toxiproxy-{VERSION}" / "server"


class Toxiproxy(Server):
    """A real toxiproxy, which passes on nothing until a link is added."""

    name = "toxiproxy"

    def __init__(self, folder: Path, ports: list[int]) -> None:
        super().__init__(folder, ports)
        self.url = f"http://{LOOPBACK}:{ports[0]}"

    @classmethod
    def require(cls) -> None:
        if not PROGRAM.exists():
            raise UnavailableError(
                f"there is no toxiproxy {VERSION}: install Go (Debian: apt-get install golang) and "
                "run tests/install-servers.sh"
            )

    def add(self, name: str, port: int, upstream: str) -> None:
        """Pass connections to ``port`` on to a server, HOST:PORT."""
        proxy = {"name": name, "listen": f"{LOOPBACK}:{port}", "upstream": upstream}
        self._ask("POST", "/proxies", {**proxy, "enabled": True})

    def spoil(self, name: str, kind: str, stream: str, **attributes: int) -> None:
        """Add a toxic to a link; ``stream`` is ``upstream`` (to the server) or ``downstream``."""
        toxic = {"type": kind, "stream": stream, "toxicity": 1.0, "attributes": attributes}
        self._ask("POST", f"/proxies/{name}/toxics", toxic)

    def cut(self, name: str) -> None:
        """Close all connections of a link, and refuse new ones."""
        self._ask("POST", f"/proxies/{name}", {"enabled": False})

    def mend(self) -> None:
        """Remove all toxics, and let all links pass again."""
        self._ask("POST", "/reset", {})

    def _ask(self, method: str, path: str, document: dict[str, Any]) -> None:
        httpx.request(method, f"{self.url}{path}", json=document, timeout=STOP_S).raise_for_status()

    def _command(self) -> list[str]:
        return [str(PROGRAM), "-host", LOOPBACK, "-port", str(self.ports[0])]

    def _responds(self) -> bool:
        try:
            return httpx.get(f"{self.url}/version", timeout=STOP_S).is_success
        except httpx.TransportError:  # not listening yet
            return False


async def in_thread(call: Any, *args: Any, **more: Any) -> None:
    """Call what blocks, without stopping the load."""
    await asyncio.to_thread(call, *args, **more)
