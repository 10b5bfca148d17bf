"""``miningmap try``: what it makes of every recorded answer of every source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from collector.registry import discover
from miningmap.messages import decode

if TYPE_CHECKING:
    from tests.cli.conftest import Run

RECORDINGS = Path(__file__).parents[1] / "recordings"
FOLDERS = [RECORDINGS / source.path for source in discover()]
ANSWERS = [
    pytest.param(folder, case, id=f"{folder.parent.name}/{folder.name} {case}")
    for folder in FOLDERS
    for case in json.loads((folder / "expected.json").read_bytes())
]


def payloads(answer: Path) -> list[str]:
    """One file, or a folder of files numbered in the order of the requests."""
    files = [answer] if answer.is_file() else sorted(answer.iterdir(), key=lambda f: int(f.name))
    return [word for file in files for word in ("--payload", str(file))]


@pytest.mark.parametrize(("folder", "case"), ANSWERS)
def test_every_recording_is_read_or_its_error_told_in_one_line(
    run: Run, folder: Path, case: str
) -> None:
    expected: dict[str, Any] = json.loads((folder / "expected.json").read_bytes())[case]
    path = f"{folder.parent.name}/{folder.name}"
    done = run("try", path, *payloads(folder / case))
    said = done.stdout.splitlines()
    if "error" in expected:
        assert (done.exit_code, said) == (1, [])
        (error,) = done.stderr.splitlines()
        assert error.startswith("miningmap: ")
        return
    assert done.exit_code == 0, done.stderr
    assert len(said) == len(expected["readings"])
    assert all(decode(line.encode()).source == folder.name for line in said)
    if not said:
        assert "knows no figure" in done.stderr
