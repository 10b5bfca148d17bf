"""What is installed is locked, listed and audited, and no secret is among the files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.audit import UNKNOWN, VULNERABLE, verdict

ROOT = Path(__file__).parents[1]
LOCKED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def report(*dependencies: dict[str, Any]) -> dict[str, Any]:
    return {"dependencies": list(dependencies)}


FINE = {"name": "fine", "version": "1", "vulns": []}
SKIPPED = {"name": "skipped", "skip_reason": "not found"}
BAD = {
    "name": "bad",
    "version": "2",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["3"]}],
}


def test_the_audit_passes_only_if_everything_was_looked_up() -> None:
    assert verdict(report(FINE))[0] == 0
    assert verdict(report(FINE, SKIPPED))[0] == UNKNOWN
    assert verdict(report()) == (UNKNOWN, "0 of 0 not found there: , …\n")


def test_a_vulnerability_is_named_with_its_fix() -> None:
    code, text = verdict(report(SKIPPED, BAD))
    assert (code, text) == (VULNERABLE, "bad 2: PYSEC-1 (CVE-1); fixed in 3\n")


def test_without_advisory_data_the_audit_says_so() -> None:
    nowhere = "http://127.0.0.1:9"
    run = subprocess.run(
        [sys.executable, "-m", "tools.audit"],
        cwd=ROOT,
        env={**os.environ, "HTTPS_PROXY": nowhere, "https_proxy": nowhere},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == UNKNOWN, run.stderr
    assert run.stderr.startswith("requirements.lock was not audited, because no advisory data")


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN PRIVATE " + "KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC\n",
        'key = "AKIA' + 'IOSFODNN7EXAMPLZ"\n',
        'token = "ghp_' + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8" + '"\n',
    ],
)
def test_a_secret_among_the_files_is_found(text: str, tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(text)
    script = ROOT / "tools/check-secrets.sh"
    run = subprocess.run([script, planted], check=False, capture_output=True, text=True)
    assert run.returncode == 1
    assert "planted.py:1" in run.stdout + run.stderr
    planted.write_text("nothing = 1\n")
    assert subprocess.run([script, planted], check=False, capture_output=True).returncode == 0


def test_the_bill_of_materials_lists_what_is_locked(tmp_path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    (recipe,) = re.findall(r"^\t@\$\(BIN\)/(cyclonedx-py (?:.*\\\n)*.*)$", makefile, re.MULTILINE)
    name, *arguments = recipe.replace("\\\n", " ").split()
    arguments[arguments.index("sbom.json")] = str(tmp_path / "sbom.json")
    program = shutil.which(name, path=str(Path(sys.executable).parent))
    assert program
    subprocess.run([program, *arguments], cwd=ROOT, check=True, capture_output=True)
    bill = json.loads((tmp_path / "sbom.json").read_bytes())
    listed = {(each["name"], each["version"]) for each in bill["components"]}
    assert listed == set(LOCKED.findall((ROOT / "requirements.lock").read_text()))
    assert all(
        reference["hashes"]
        for each in bill["components"]
        for reference in each["externalReferences"]
    )


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_locked_dependency_has_hashes(name: str) -> None:
    blocks = re.split(r"\n(?=[a-z])", (ROOT / name).read_text())
    assert len(blocks) > 50
    for block in blocks:
        assert LOCKED.match(block), block
        assert "--hash=sha256:" in block
