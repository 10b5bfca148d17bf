#!/bin/sh
# Looks for keys and tokens in all files that Git has, or in those that are given. What was looked at
# and is none is in .secrets.baseline; `tools/check-secrets.sh --accept` adds all that is there now.
#
# Assignments such as password = "…" are not looked for here: ruff finds them (S105 to S107), and
# tests have many that mean nothing.
set -eu
cd "$(dirname "$0")/.."
bin=.venv/bin
not='(^|/)(requirements.*\.lock|package-lock\.json|\.secrets\.baseline)$|^endpoint/page/built/|^tests/recordings/|^deploy/grafana/dashboards/|^tests/fuzz/found/'

if [ "${1:-}" = --accept ]; then
  exec $bin/detect-secrets scan --disable-plugin KeywordDetector --disable-plugin BasicAuthDetector \
    --exclude-files "$not" --baseline .secrets.baseline
fi
[ $# -gt 0 ] || set -- $(git ls-files)
# A copy, because the hook writes into it where lines have moved, and then ends with 3.
copy=$(mktemp)
trap 'rm -f "$copy"' EXIT
cp .secrets.baseline "$copy"
code=0
$bin/detect-secrets-hook --baseline "$copy" "$@" || code=$?
[ "$code" = 0 ] || [ "$code" = 3 ] || {
  echo 'Remove what is a secret, and replace it where it is used. If it is none: tools/check-secrets.sh --accept' >&2
  exit 1
}
