#!/usr/bin/env bash
# Installs what the tests need beside Rust, once: Debian's redis-tools, and real clients from PyPI
# and npm into target/test-env. What is there already is left alone; what cannot be had is said, and
# the tests that need it say so and skip.
set -uo pipefail
cd "$(dirname "$0")/.."
env=target/test-env
mkdir -p "$env"
if ! command -v redis-cli >/dev/null; then
  if [ "$(id -u)" = 0 ]; then
    apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-tools >/dev/null ||
      echo "install: redis-tools could not be installed"
  else
    echo "install: redis-cli is missing; run as root or: apt-get install redis-tools"
  fi
fi
if [ ! -x "$env/python/bin/python" ]; then
  python3 -m venv "$env/python" || echo "install: python3 -m venv failed (apt-get install python3-venv)"
fi
if [ -x "$env/python/bin/pip" ] && ! cmp -s tests/clients/requirements.txt "$env/requirements.done"; then
  "$env/python/bin/pip" install --quiet --disable-pip-version-check -r tests/clients/requirements.txt &&
    cp tests/clients/requirements.txt "$env/requirements.done" || echo "install: PyPI clients could not be installed"
fi
if command -v npm >/dev/null && ! cmp -s tests/clients/package.json "$env/node/package.json"; then
  mkdir -p "$env/node" && cp tests/clients/package.json "$env/node/package.json.new" &&
    mv "$env/node/package.json.new" "$env/node/package.json" &&
    (cd "$env/node" && npm install --silent --no-audit --no-fund) || {
    rm -f "$env/node/package.json"
    echo "install: npm clients could not be installed"
  }
fi
exit 0
