#!/usr/bin/env bash
# Check the configuration of Prometheus with its rules, run the unit tests of the rules, and check the
# Alertmanager's configuration. No server is started, but Prometheus' and the Alertmanager's own tools
# are needed: what a machine without them cannot check is skipped with a message. `make test` installs
# them where it can, and runs the same checks.
set -euo pipefail
cd "$(dirname "$0")/.."

quietly() { # says something only if the command fails
  local output
  output=$("$@" 2>&1) || { printf '%s\n' "$output" >&2; exit 1; }
}

if command -v promtool >/dev/null; then
  quietly promtool check config deploy/prometheus/prometheus.yml
  quietly promtool test rules tests/deploy/rules/*.yml
else
  echo 'deploy/prometheus is not checked: there is no promtool (Debian: apt-get install prometheus)' >&2
fi
if command -v amtool >/dev/null; then
  quietly amtool check-config deploy/alertmanager/alertmanager.yml
else
  echo 'deploy/alertmanager is not checked: there is no amtool (Debian: apt-get install prometheus-alertmanager)' >&2
fi
