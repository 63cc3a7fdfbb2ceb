#!/usr/bin/env bash
# Installs what the suite's peers need beside Rust, once: Debian's RocksDB (a build from source takes most of an hour),
# libclang for its bindings, OpenSSL for SQLCipher, and the servers: Redis, PostgreSQL, OpenLDAP. What is there already is
# left alone. The suite starts servers of its own; those that packages start by themselves are not started here.
set -uo pipefail
packages=(librocksdb-dev libclang-dev libssl-dev redis-server postgresql slapd)
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
# Packages ask this script whether to start what they bring (invoke-rc.d(8)); one that is there already is kept.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || {
  echo "install: ${missing[*]} could not be installed"
  exit 1
}
