#!/usr/bin/env bash
# Build the page (`tools/page.sh build`), or check its types, its style and whether what is built is what
# the sources make (`tools/page.sh check`). Without npm the check is skipped with a message.
set -euo pipefail
cd "$(dirname "$0")/.."
page=endpoint/page
bundle=/etc/ssl/certs/ca-certificates.crt

unable() {
  if [ "$1" = check ]; then
    echo "the page is not checked: $2" >&2
    exit 0
  fi
  echo "the page cannot be built: $2" >&2
  exit 1
}

command -v npm >/dev/null || unable "$1" "there is no npm (it is part of Node.js 20 or newer)"
if ! cmp --silent $page/package-lock.json $page/node_modules/.lock; then
  # Node.js has its own list of certificate authorities and ignores the machine's.
  if [ -z "${NODE_EXTRA_CA_CERTS:-}" ] && [ -r "$bundle" ]; then export NODE_EXTRA_CA_CERTS=$bundle; fi
  timeout 300 npm ci --prefix $page --ignore-scripts --no-audit --no-fund --silent ||
    unable "$1" "npm could not install its packages"
  cp $page/package-lock.json $page/node_modules/.lock
fi

cd $page
case $1 in
  install) ;;
  build) node build.mjs built ;;
  check)
    # The types of the API's answers are made from its own description.
    ../../.venv/bin/python -m endpoint.routes.openapi > node_modules/.openapi.json
    npx --no-install openapi-typescript node_modules/.openapi.json --output src/api-types.ts > /dev/null
    npx --no-install tsc
    npx --no-install eslint .
    node build.mjs node_modules/.built
    diff -rq built node_modules/.built > /dev/null ||
      { echo "$page/built differs from what its sources make: run \`make page\`" >&2; exit 1; }
    ;;
esac
