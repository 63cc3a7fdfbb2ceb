#!/usr/bin/env bash
# Installs what the suite's peers need beside Rust, once: Debian's RocksDB (a build from source takes most of an hour),
# libclang for its bindings, and OpenSSL for SQLCipher. What is there already is left alone.
set -uo pipefail
packages=(librocksdb-dev libclang-dev libssl-dev)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[ "${#missing[@]}" = 0 ] && exit 0
if [ "$(id -u)" != 0 ]; then
  echo "install: missing ${missing[*]}; run as root or: apt-get install ${missing[*]}"
  exit 1
fi
apt-get update -qq >/dev/null
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || {
  echo "install: ${missing[*]} could not be installed"
  exit 1
}
