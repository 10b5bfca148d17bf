#!/usr/bin/env bash
# Check docs/asyncapi.yaml with the AsyncAPI project's own parser, an npm package. Without npm the check
# is skipped with a message.
set -euo pipefail
cd "$(dirname "$0")/.."
unchecked="docs/asyncapi.yaml is not checked with AsyncAPI's parser"
. tools/npm-packages.sh
NODE_PATH=$cache/node_modules node tools/check-asyncapi.cjs docs/asyncapi.yaml
