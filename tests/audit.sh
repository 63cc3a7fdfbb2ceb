#!/usr/bin/env bash
# Checks licences, sources and bans of all dependencies by deny.toml, where cargo-deny is installed.
set -uo pipefail
cd "$(dirname "$0")/.."
if command -v cargo-deny >/dev/null; then
  cargo deny --locked check bans licenses sources
else
  echo "audit: cargo-deny is not installed (cargo install cargo-deny); deny.toml was not checked"
fi
