"""Compare the locked dependencies with the known vulnerabilities (pip-audit).

pip-audit reports success for a dependency that it could not look up, so its exit code alone says
nothing where no advisory data can be had. Exit codes of this script: 0 if every dependency was
looked up and none is known to be vulnerable, 1 if one is, 3 if some could not be looked up.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = "requirements.lock"
SERVICES: Final = ("pypi", "osv")
VULNERABLE: Final = 1
UNKNOWN: Final = 3
_AUDIT_S: Final = 300
_SHOWN: Final = 5


def main() -> int:
    """Ask one service after another until one knows all dependencies; return the exit code."""
    reasons = []
    for service in SERVICES:
        report, error = audited(service)
        if report is None:
            reasons.append(f"{service}: {error}")
            continue
        code, text = verdict(report)
        if code != UNKNOWN:
            sys.stdout.write(text)
            return code
        reasons.append(f"{service}: {text}")
    sys.stderr.write(f"{LOCK} was not audited, because no advisory data could be had:\n")
    sys.stderr.writelines(f"  {reason.strip()}\n" for reason in reasons)
    return UNKNOWN


def audited(service: str) -> tuple[dict[str, Any] | None, str]:
    """Return the report of pip-audit, or ``None`` and why there is none."""
    command = [
        *(sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes"),
        *("--requirement", LOCK, "--vulnerability-service", service),
        *("--progress-spinner", "off", "--format", "json"),
    ]
    try:
        run = subprocess.run(  # noqa: S603 - the arguments are those above
            command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=_AUDIT_S
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer within {_AUDIT_S} s"
    try:
        report: dict[str, Any] = json.loads(run.stdout)
    except ValueError:
        *_, last = run.stderr.strip().splitlines() or ["no output"]
        return None, last
    return report, ""


def verdict(report: dict[str, Any]) -> tuple[int, str]:
    """Return the exit code and the text for a report of pip-audit."""
    dependencies = report["dependencies"]
    lines = [
        f"{each['name']} {each['version']}: {found['id']}"
        f" ({', '.join(found['aliases']) or 'no alias'}); fixed in"
        f" {', '.join(found['fix_versions']) or 'no version yet'}\n"
        for each in dependencies
        for found in each.get("vulns", ())
    ]
    if lines:
        return VULNERABLE, "".join(lines)
    skipped = [each for each in dependencies if "skip_reason" in each]
    if skipped or not dependencies:
        names = ", ".join(each["name"] for each in skipped[:_SHOWN])
        return UNKNOWN, f"{len(skipped)} of {len(dependencies)} not found there: {names}, …\n"
    return 0, f"{LOCK}: none of {len(dependencies)} dependencies is known to be vulnerable\n"


if __name__ == "__main__":
    sys.exit(main())
