#!/usr/bin/env bash
# Build the sdist and the wheel into dist/: of one commit they are the same files, byte for byte, whenever and wherever.
#     release/build.sh [FOLDER]      default: dist
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
# only what is committed: nothing that lies about in the checkout
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
git archive HEAD | tar -x -C "$source"
python3 -m build --outdir "${1:-dist}" "$source"
sha256sum "${1:-dist}"/*
