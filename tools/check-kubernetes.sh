#!/bin/sh
# Validates the manifests of deploy/kubernetes, or the files that are given, against the schemas of
# the oldest Kubernetes that they are for and of the newest that kubernetes-validate has.
#
# It has none of the kinds of KEDA and of the Prometheus Operator: tests/deploy/test_kubernetes.py
# looks at those. Any other kind without a schema is misspelt.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- $(find deploy/kubernetes -name '*.yaml' ! -name kustomization.yaml \
  -exec grep -LE '^apiVersion: (keda\.sh|monitoring\.coreos\.com)/' {} + | sort)
for version in 1.31 1.37; do
  # A kind without a schema is only a warning there; what is right is passed over in silence.
  found=$(.venv/bin/kubernetes-validate --strict --quiet --kubernetes-version $version "$@" 2>&1) || true
  [ -z "$found" ] || { echo "$found" >&2; exit 1; }
done
