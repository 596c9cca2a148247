#!/usr/bin/env bash
# Say where this repository is: fills the address into every line that clones it, and into the package's metadata.
#     release/address.sh https://example.org/psiflow.git
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
address=${1:?"the address that git clones from"}
sed -i "s|git clone [^ ]* \(~/\)\?psiflow|git clone $address \1psiflow|; s|git clone <this repository>|git clone $address|" \
    README.md docs/*.md
grep -q '^\[project.urls\]' pyproject.toml || sed -i 's|^\[project.scripts\]|[project.urls]\nRepository = ""\n\n&|' pyproject.toml
sed -i "s|^Repository = .*|Repository = \"$address\"|" pyproject.toml
grep -q '^repository-code:' CITATION.cff || echo 'repository-code: ""' >>CITATION.cff
sed -i "s|^repository-code: .*|repository-code: \"$address\"|" CITATION.cff
