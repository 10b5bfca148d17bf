"""The ports of `demo` and `up`: any free ones, but for the page and the intake."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from launch.local.embedded import free_port
from miningmap.settings import PREFIX

if TYPE_CHECKING:
    from miningmap.settings import Settings

_PAGE: Final = "--port"
_INTAKE: Final = f"{PREFIX}INTAKE__PORT"


class PortError(Exception):
    """A port cannot be used; the text is one line that begins with its option or setting."""


def take_ports(settings: Settings) -> dict[str, str]:
    """Choose the ports of all services, and return them as variables for the services.

    Page and intake have the ports of the settings, because users and partners must know them. A
    port for metrics is a free one, unless it is set.

    Args:
        settings: of this process; they get the chosen ports.

    Raises:
        PortError: a port of the settings cannot be used.
        EmbeddedError: there is no free port.
    """
    endpoint, intake = settings.endpoint, settings.intake
    streams, collector = settings.streams, settings.collector
    if not endpoint.port:
        endpoint.port = free_port()
    if not intake.port:
        intake.port = free_port()
    _require(endpoint.host, endpoint.port, _PAGE, "the page", reuse_port=endpoint.reuse_port)
    _require(intake.host, intake.port, _INTAKE, "the intake")
    for name, section in (("STREAMS", streams), ("COLLECTOR", collector)):
        if section.metrics_port and "metrics_port" in section.model_fields_set:
            setting = f"{PREFIX}{name}__METRICS_PORT"
            _require(section.metrics_host, section.metrics_port, setting, "metrics")
        else:
            section.metrics_port = free_port()
    return {
        f"{PREFIX}ENDPOINT__PORT": str(endpoint.port),
        _INTAKE: str(intake.port),
        f"{PREFIX}STREAMS__METRICS_PORT": str(streams.metrics_port),
        f"{PREFIX}COLLECTOR__METRICS_PORT": str(collector.metrics_port),
    }


def _require(host: str, port: int, name: str, what: str, *, reuse_port: bool = False) -> None:
    """Check that a server can listen, before anything is started that would have to be stopped.

    Raises:
        PortError: it cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family, reuse_port=reuse_port).close()
    except OSError as error:
        # create_server() appends the address to some of its texts.
        problem = error.strerror.partition(" (")[0] if error.strerror else str(error)
        raise PortError(
            f"{name}: cannot listen at {host}:{port} for {what}: {problem}; choose another"
        ) from None
