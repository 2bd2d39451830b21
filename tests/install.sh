#!/usr/bin/env bash
# install.sh PACKAGE... - install those of the Debian packages that are missing; with sudo where we are not root.
set -eu

missing=()
for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "missing here: ${missing[*]}"
echo "installing them with apt-get${as_root:+ (with sudo)}"
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
