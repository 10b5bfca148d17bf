#!/usr/bin/env bash
# Check dashboards (those of the repository, or the files that are given) against Grafana's own types,
# an npm package. Without npm the check is skipped with a message.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- deploy/grafana/dashboards/*.json
unchecked="the dashboards are not checked against Grafana's types"
. tools/npm-packages.sh
NODE_PATH=$cache/node_modules node tools/check-dashboards.cjs tools/dashboards/schema.ts "$@"
