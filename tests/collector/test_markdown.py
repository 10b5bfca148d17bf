"""The page about sources: nothing that a declaration says is left out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collector.registry import discover
from collector.sources.base import Credential, Source
from collector.sources.markdown import document

SOURCES = discover()
PAGE = document(SOURCES)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path)
def test_every_source_is_told_of_in_full(source: Source) -> None:
    section = PAGE.partition(f"### {source.path}\n")[2].partition("\n#")[0]
    said = (source.home, source.terms, source.poll_reason, source.confidence, source.unsure)
    assert all(text in section for text in said)
    assert f"{source.poll_s} s" in section


def test_credentials_are_told_by_the_setting_that_holds_them() -> None:
    key = Credential("token", "a read token of the account")
    page = document([replace(SOURCES[0], slug="locked", credentials=(key,))])
    assert "`MININGMAP_CREDENTIALS__LOCKED__TOKEN`: a read token of the account" in page
    assert "with its key" in page
    assert "## Pools, without a key" not in page
