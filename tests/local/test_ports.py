"""The ports that ``demo`` and ``up`` choose, and those that are taken."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from launch.local.embedded import LOOPBACK, free_port
from launch.local.ports import PortError, take_ports
from miningmap.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = "MININGMAP_ENDPOINT__PORT"
INTAKE = "MININGMAP_INTAKE__PORT"
STREAMS = "MININGMAP_STREAMS__METRICS_PORT"
COLLECTOR = "MININGMAP_COLLECTOR__METRICS_PORT"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Free ports of page and intake, which are set."""
    ports = {PAGE: str(free_port()), INTAKE: str(free_port())}
    for name, port in ports.items():
        monkeypatch.setenv(name, port)
    return ports


def test_metrics_have_free_ports_and_page_and_intake_those_of_the_settings(
    known: dict[str, str],
) -> None:
    settings = load()
    ports = take_ports(settings)
    assert ports.keys() == {PAGE, INTAKE, STREAMS, COLLECTOR}
    assert {name: ports[name] for name in known} == known
    assert len(set(ports.values())) == 4
    assert {ports[STREAMS], ports[COLLECTOR]}.isdisjoint({"9101", "9102"})
    assert str(settings.streams.metrics_port) == ports[STREAMS]
    assert str(settings.collector.metrics_port) == ports[COLLECTOR]


def test_a_port_for_metrics_that_is_set_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STREAMS, port := str(free_port()))
    assert take_ports(load())[STREAMS] == port


@pytest.mark.parametrize("name", [PAGE, INTAKE, STREAMS, COLLECTOR])
def test_the_port_0_becomes_a_free_port(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "0")
    assert int(take_ports(load())[name]) > 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (PAGE, "--port: cannot listen at 127.0.0.1:{} for the page: Address already in use"),
        (INTAKE, f"{INTAKE}: cannot listen at 127.0.0.1:{{}} for the intake: Address already in"),
        (STREAMS, f"{STREAMS}: cannot listen at 127.0.0.1:{{}} for metrics: Address already in"),
    ],
)
def test_a_port_that_is_taken_is_named(
    name: str, text: str, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(taken))
    with pytest.raises(PortError) as caught:
        take_ports(load())
    assert str(caught.value).startswith(text.format(taken))
    assert str(caught.value).endswith("; choose another")


def test_a_host_that_is_not_of_this_machine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("192.0.2.1", "2001:db8::1", "no.invalid"):
        monkeypatch.setenv("MININGMAP_INTAKE__HOST", host)
        with pytest.raises(PortError, match=f"^{INTAKE}: cannot listen at {host}:") as caught:
            take_ports(load())
        assert "\n" not in str(caught.value)
