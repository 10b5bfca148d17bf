#!/usr/bin/env bash
# Checks docs/asyncapi.yaml with the AsyncAPI project's own parser, a package of npm. Where there is no
# npm the check is left out, except with CI=true: there that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=.cache/tools

if ! command -v npm >/dev/null; then
  echo "docs/asyncapi.yaml is not checked: there is no npm (Node.js 20 or newer brings it)" >&2
  case "${CI:-}" in "" | 0 | false) exit 0 ;; *) exit 1 ;; esac
fi
if ! cmp --silent tools/package-lock.json "$cache/package-lock.json"; then
  rm -rf "$cache" && mkdir -p "$cache"
  cp tools/package.json tools/package-lock.json "$cache"
  npm ci --prefix "$cache" --ignore-scripts --no-audit --no-fund --silent || { rm -rf "$cache"; exit 1; }
fi
NODE_PATH=$cache/node_modules node tools/check-asyncapi.cjs docs/asyncapi.yaml
