"""Programs replace their parts of documents, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tools import marked

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """# A document

<!-- one: begin -->
old
<!-- one: end -->

between

<!-- two: begin -->
<!-- two: end -->
after
"""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "document.md"
    path.write_text(TEXT)
    return path


def test_a_part_is_replaced_and_the_rest_stays(document: Path) -> None:
    marked.write(document, "one", [r"new \1", "| a | b |"])
    assert marked.read(document, "one") == [r"new \1", "| a | b |"]
    assert marked.read(document, "two") == []
    expected = TEXT.replace("old\n", "\nnew \\1\n| a | b |\n\n")
    assert document.read_text() == expected


def test_a_part_that_is_not_there_is_an_error(document: Path) -> None:
    with pytest.raises(ValueError, match="has no place for three"):
        marked.write(document, "three", [])
    assert document.read_text() == TEXT
