"""The page about sources contains everything that the sources declare."""

from __future__ import annotations

from dataclasses import replace

from collector.sources.base import Credential
from collector.sources.markdown import document
from tests.collector.recordings import sources


def test_every_source_is_described_in_full() -> None:
    page = document(sources())
    missing = []
    for source in sources():
        section = page.partition(f"### {source.path}\n")[2].partition("\n#")[0]
        texts = (source.home, source.terms, source.poll_reason, source.confidence, source.unsure)
        wanted = [*texts, f"{source.poll_s} s", *(c.meaning for c in source.credentials)]
        missing += [(source.path, text) for text in wanted if text not in section]
    assert missing == []


def test_credentials_are_listed_by_their_settings() -> None:
    key = Credential("token", "a read token of the account")
    page = document([replace(sources()[0], slug="locked", credentials=(key,))])
    assert "`MININGMAP_CREDENTIALS__LOCKED__TOKEN`: a read token of the account" in page
    assert "with its credentials" in page
    assert "## Pools, without credentials" not in page
