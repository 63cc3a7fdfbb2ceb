#!/usr/bin/env bash
# Installs what the independent reader needs, once, into a directory outside the sources, and compiles the .ksy files.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tools=${1:?usage: prepare.sh DIR}
mkdir -p "$tools"
stamp() { cat "$@" | cksum; }

want=$(stamp "$here/requirements.txt")
if [ "$(cat "$tools/venv.stamp" 2>/dev/null)" != "$want" ]; then
    python3 -m venv "$tools/venv"
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    echo "$want" > "$tools/venv.stamp"
fi

want=$(stamp "$here/../kaitai/package.json")
if [ "$(cat "$tools/npm.stamp" 2>/dev/null)" != "$want" ]; then
    mkdir -p "$tools/npm"
    cp "$here/../kaitai/package.json" "$tools/npm/"
    (cd "$tools/npm" && npm install --silent --no-audit --no-fund)
    echo "$want" > "$tools/npm.stamp"
fi

want=$(stamp "$here"/../kaitai/*.ksy "$here/../kaitai/compile.mjs" "$here/../kaitai/package.json")
if [ "$(cat "$tools/parsers.stamp" 2>/dev/null)" != "$want" ]; then
    rm -rf "$tools/parsers"
    node "$here/../kaitai/compile.mjs" "$tools/npm" "$tools/parsers"
    echo "$want" > "$tools/parsers.stamp"
fi
