# Installs the packages of tools/package.json into $cache; is sourced by the checks that need them.
# Without npm it ends the check with a message that begins with $unchecked.
cache=.cache/tools
bundle=/etc/ssl/certs/ca-certificates.crt

skip() {
  echo "$unchecked: $1" >&2
  exit 0
}

command -v npm >/dev/null || skip "there is no npm (it is part of Node.js 20 or newer)"
if ! cmp --silent tools/package-lock.json "$cache/package-lock.json"; then
  # Node.js has its own list of certificate authorities and ignores the machine's.
  if [ -z "${NODE_EXTRA_CA_CERTS:-}" ] && [ -r "$bundle" ]; then export NODE_EXTRA_CA_CERTS=$bundle; fi
  rm -rf "$cache" && mkdir -p "$cache"
  cp tools/package.json tools/package-lock.json "$cache"
  timeout 180 npm ci --prefix "$cache" --ignore-scripts --no-audit --no-fund --silent || {
    rm -rf "$cache"
    skip "npm could not install its packages"
  }
fi
