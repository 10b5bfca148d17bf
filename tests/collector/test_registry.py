"""The sources are found by their files, and the settings choose among them."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

import pytest

from collector import pools, registry
from collector.registry import choose, discover
from miningmap.settings import Collector, SettingsError
from tests.cases import all_cases
from tests.collector.recordings import sources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOY = """
from collector.sources.base import Credential, PoolSource, Request
from collector.sources.single import single_pool

SOURCE = PoolSource(
    slug="toy", name="Toy", home="https://toy.example", docs=None, terms="none",
    requests=(Request("https://toy.example/hashrate"),), poll_s=60, poll_reason="a toy",
    averaging_s=60, hold_s=60, confidence="low", default=False, pool="toy",
    parse=single_pool("toy", float, lambda figure: figure),
)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The path of a source file that the registry finds during the test."""
    with monkeypatch.context() as patch:
        patch.setattr(pools, "__path__", [*pools.__path__, str(tmp_path)])
        patch.setattr(sys, "dont_write_bytecode", True)
        importlib.invalidate_caches()
        yield tmp_path / "toy.py"
    if sys.modules.pop("collector.pools.toy", None):
        delattr(pools, "toy")
    assert "pools/toy" not in registry.paths()


def test_sources_of_both_kinds_are_found_by_slug() -> None:
    paths = registry.paths()
    assert {"pools/foundry", "pools/mempool", "network/mempool"} <= set(paths)
    assert paths == sorted(paths, key=lambda path: (path.startswith("network/"), path))
    assert paths == [source.path for source in discover()]


def test_a_new_file_is_a_source(toy: Path) -> None:
    toy.write_text(TOY)
    assert "pools/toy" in [source.path for source in discover()]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", r"must declare SOURCE = PoolSource\(\.\.\.\)"),
        ("SOURCE = 'toy'", r"must declare SOURCE = PoolSource\(\.\.\.\)"),
        (TOY.replace('slug="toy"', 'slug="tot"'), "slug 'tot' must be the file's name, 'toy'"),
        (TOY.replace("poll_s=60", "poll_s=3600"), "poll_s 3600 must be .* less than an hour"),
        (TOY.replace("default=False", "default=True"), r"needs example=example.*simulation"),
        (
            TOY.replace(
                "default=False", 'default=True, credentials=(Credential("key", "the key"),)'
            ),
            "with credentials cannot be on by default",
        ),
        (TOY.replace('pool="toy"', 'pool="toy", scope="account"'), r"part_of.*go together"),
        (TOY.replace('pool="toy"', 'pool="toy", part_of="ocean"'), r"part_of.*go together"),
    ],
)
def test_an_invalid_source_file_is_named_with_the_reason(toy: Path, text: str, error: str) -> None:
    toy.write_text(text)
    with pytest.raises(TypeError, match=rf"^collector/pools/toy\.py: .*{error}"):
        discover()


def test_by_default_the_network_is_over_the_same_blocks_as_the_pools() -> None:
    """Most minutes decide which network source is used, then its name (method.md 4)."""
    chosen = choose(discover(), Collector())
    pools_by_blocks = next(source for source in chosen if source.path == "pools/mempool")
    preferred, *others = (source for source in chosen if source.kind == "network")
    assert preferred.requests == pools_by_blocks.requests
    assert preferred.averaging_s == pools_by_blocks.averaging_s
    assert others
    for other in others:
        assert preferred.slug < other.slug
        assert preferred.poll_s > other.poll_s
        assert preferred.hold_s > other.hold_s


def test_a_set_host_must_be_one_that_a_source_asks() -> None:
    hosts = {"www.viabtc.com": "www.viabtc.net"}
    assert choose(sources(), Collector(hosts=hosts)) == choose(sources(), Collector())
    with pytest.raises(SettingsError, match=r"COLLECTOR__HOSTS: no source asks 'viabtc'.*viabtc\."):
        choose(sources(), Collector(hosts={"viabtc": "www.viabtc.net"}))


@all_cases("host", ["https://www.viabtc.net", "www.viabtc.net/", "a b", "", "me@x.example", "x:y"])
def test_a_set_host_is_a_host(host: str) -> None:
    with pytest.raises(ValueError, match=r"expected HOST or HOST:PORT"):
        Collector(hosts={"www.viabtc.com": host})


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["ocean"], ["pools/ocean"]),
        (["mempool"], ["pools/mempool", "network/mempool"]),
        (["network/mempool"], ["network/mempool"]),
        ([], []),
    ],
)
def test_the_settings_choose_the_sources(names: list[str], chosen: list[str]) -> None:
    assert [source.path for source in choose(sources(), Collector(sources=names))] == chosen


def test_without_settings_the_default_sources_are_chosen() -> None:
    assert choose(sources(), Collector()) == [source for source in sources() if source.default]


def test_an_unknown_source_is_named_with_the_known_ones() -> None:
    error = r"COLLECTOR__SOURCES: unknown source 'ocaen'; expected one of: .*ocean"
    with pytest.raises(SettingsError, match=error):
        choose(sources(), Collector(sources=["ocaen"]))


def test_an_interval_of_an_hour_is_rejected() -> None:
    with pytest.raises(SettingsError, match=r"COLLECTOR__POLL_S: must be less than an hour"):
        choose(sources(), Collector(poll_s=3600))
