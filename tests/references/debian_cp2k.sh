#!/usr/bin/env bash
# Print a folder with a cp2k.psmp that is of another Debian release, installed into a bare root of its own:
#     PATH=$(tests/references/debian_cp2k.sh trixie build/trixie):$PATH python -m pytest --full tests/references/test_cp2k*.py
# Needs root, debootstrap and a network. It calculates in folders below /tmp, which it shares with this system.
set -euo pipefail
release=$1
mkdir -p "$2"
root=$(cd "$2" && pwd)
program="$root.bin/cp2k.psmp"

if [ ! -x "$program" ]; then
    # shellcheck source=tests/bare_root.sh
    . "$(dirname "${BASH_SOURCE[0]}")/../bare_root.sh"
    make_root "$release" "$root" cp2k cp2k-data openmpi-bin
    mkdir -p "$root.bin"
    printf '#!/bin/sh\nroot=%q\nexport root\n' "$root" >"$program"
    cat >>"$program" <<'END'
# The mounts are seen by this process alone, and end with it. PATH may name this script's folder in there, too.
# shellcheck disable=SC2016
exec unshare --mount sh -euc '
    for folder in tmp proc dev; do mount --bind "/$folder" "$root/$folder"; done
    PATH=/usr/bin:/bin exec unshare --root="$root" --wd="$PWD" cp2k.psmp "$@"' cp2k "$@"
END
    chmod +x "$program"
fi
dirname "$program"
