#!/usr/bin/env bash
# Crash images and fuzz targets beside each other: without end, or for STOA_SOAK_SECONDS. Each round gives every target
# STOA_FUZZ_SECONDS (60) and a seed of its own, and says how many inputs it tried; what went somewhere new is kept in target/fuzz/corpus, where
# the next round takes it up. Ends with the first failure, which says how it is tried again.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${STOA_SOAK_SECONDS:-}
round=${STOA_FUZZ_SECONDS:-60}
if [ -n "$seconds" ] && [ "$round" -gt $((seconds / 32 + 1)) ]; then round=$((seconds / 32 + 1)); fi
export STOA_FUZZ_SECONDS=$round STOA_FUZZ_CORPUS=${STOA_FUZZ_CORPUS:-${CARGO_TARGET_DIR:-$PWD/target}/fuzz/corpus}
parsers=(--lib --bins --test fuzz_format --test fuzz_engine)
cargo test --workspace "${parsers[@]}" --test crash --no-run
cargo test --workspace --test crash -- --ignored --nocapture soak &
crash=$!
trap 'kill $crash 2>/dev/null || true' EXIT
since=$SECONDS
while [ -z "$seconds" ] || [ $((SECONDS - since)) -lt "$seconds" ]; do
  STOA_FUZZ_SEED=$(date +%s%N) cargo test --workspace "${parsers[@]}" fuzz_ -- --nocapture 2>&1 | grep -E '^(fuzz|  |error|test .*FAILED)'
  if [ -n "$(jobs -rp)" ]; then continue; fi
  wait $crash
  [ -n "$seconds" ] || break
done
wait $crash
