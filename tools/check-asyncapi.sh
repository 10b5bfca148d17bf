#!/usr/bin/env bash
# Checks docs/asyncapi.yaml with the AsyncAPI project's own parser, a package of npm. Where that cannot
# be had the check is left out, and says so: the document is made from the code in any case.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=.cache/tools
bundle=/etc/ssl/certs/ca-certificates.crt

left_out() {
  echo "docs/asyncapi.yaml is not checked by AsyncAPI's parser: $1" >&2
  exit 0
}

command -v npm >/dev/null || left_out "there is no npm (Node.js 20 or newer brings it)"
if ! cmp --silent tools/package-lock.json "$cache/package-lock.json"; then
  # Node.js has authorities of its own, and does not ask the machine for those that it trusts.
  if [ -z "${NODE_EXTRA_CA_CERTS:-}" ] && [ -r "$bundle" ]; then export NODE_EXTRA_CA_CERTS=$bundle; fi
  rm -rf "$cache" && mkdir -p "$cache"
  cp tools/package.json tools/package-lock.json "$cache"
  timeout 180 npm ci --prefix "$cache" --ignore-scripts --no-audit --no-fund --silent || {
    rm -rf "$cache"
    left_out "npm could not install it"
  }
fi
NODE_PATH=$cache/node_modules node tools/check-asyncapi.cjs docs/asyncapi.yaml
