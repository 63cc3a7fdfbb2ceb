#!/usr/bin/env bash
# Reads a store with the independent reader and with `stoa inspect`, and compares what they print, value for value.
#
# usage: check.sh DATA [KEYFILE]
#
# STOA          the binary (default: the debug or release build of this workspace)
# STOA_READER   where the reader's tools are kept (default: target/reader of this workspace)
set -euo pipefail
export PYTHONDONTWRITEBYTECODE=1
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
data=${1:?usage: check.sh DATA [KEYFILE]}
data=${data%/}
key=${2:-$data.key}
target=${CARGO_TARGET_DIR:-$root/target}
tools=${STOA_READER:-$target/reader}

"$here/prepare.sh" "$tools"
"$tools/venv/bin/python" "$here/check_vectors.py" "$tools/parsers"
ours=$(mktemp) theirs=$(mktemp)
trap 'rm -f "$ours" "$theirs"' EXIT
"$tools/venv/bin/python" "$here/stoa_reader.py" --parsers "$tools/parsers" "$data" "$key" > "$ours"

stoa=${STOA:-}
for built in "$target/release/stoa" "$target/debug/stoa"; do
    [ -n "$stoa" ] || [ ! -x "$built" ] || stoa=$built
done
[ -n "$stoa" ] || { echo "check.sh: no stoa binary; build one or set STOA" >&2; exit 2; }
"$stoa" inspect "$data" --reveal --json --key-file "$key" > "$theirs"
exec "$tools/venv/bin/python" "$here/compare.py" "$ours" "$theirs"
