#!/usr/bin/env bash
# Install the missing packages that the tests' real servers (tests/servers.py) and the browser need. This works on
# Debian and its derivatives, as root, and prints nothing if no package is missing. A package that
# cannot be installed is not an error: the tests that need it skip, or fail with CI=true.
# toxiproxy is no package of Debian's: it is built where Go is (tests/torture says what it leaves out).
set -euo pipefail
cd "$(dirname "$0")/.."

has() { command -v "$1" >/dev/null; }

java_fits() {
  local version
  has java && version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p') \
    && [ "${version:-0}" -ge 17 ]
}

toxiproxy=.cache/toxiproxy-2.12.0
if [ ! -x $toxiproxy/server ] && has go; then
  echo "Building toxiproxy ..." >&2
  # The version is pinned, and Go checks it against its database of checksums.
  GOBIN="$PWD/$toxiproxy" GOFLAGS=-mod=mod go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0 2>/dev/null \
    || echo "Could not build toxiproxy" >&2
fi

missing=()
has redis-server || has valkey-server || missing+=(redis-server)
java_fits || missing+=(default-jre-headless)
compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || missing+=(faketime)
has promtool || missing+=(prometheus)
has amtool || missing+=(prometheus-alertmanager)
has chromium || has chromium-browser || has google-chrome || missing+=(chromium)
compgen -G '.cache/kafka-*/pom.xml' >/dev/null || has mvn || missing+=(maven)
[ ${#missing[@]} -gt 0 ] || exit 0

if ! has apt-get || [ "$(id -u)" -ne 0 ]; then
  echo "Not installed, and cannot be from here (no apt-get, or not root): ${missing[*]}" >&2
  exit 0
fi

# Debian starts each installed service, unless this policy forbids it.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod +x $policy
fi

export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null; }
echo "Installing ${missing[*]} ..." >&2
# The lists of packages are updated only if the installation fails without that.
if ! install 2>/dev/null && ! { apt-get update -qq && install; }; then
  echo "Could not install ${missing[*]}" >&2
  exit 0
fi
# What was installed must not start at the next boot either.
for service in redis-server prometheus prometheus-alertmanager; do
  if [[ " ${missing[*]} " == *" $service "* ]] && has systemctl; then
    systemctl disable --quiet "$service" 2>/dev/null || true
  fi
done
