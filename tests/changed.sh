#!/usr/bin/env bash
# Print the tests of what has changed since HEAD left a branch (main): tests mirror the package.
#     python -m pytest -q $(tests/changed.sh)
set -euo pipefail
shopt -s nullglob
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Print the first there is: the tests of a module, of its folder, of the module that the folder is.
mirrored() {
    local module=${1%/__init__} folder own
    folder=$(dirname "tests/$module")
    own=("$folder/test_${module##*/}".p[y] "$folder/test_${module##*/}"_*.py)
    if [ -d "tests/$module" ]; then
        printf '%s\n' "tests/$module"
    elif [ "${#own[@]}" != 0 ]; then
        printf '%s\n' "${own[@]}"
    elif [ "$folder" != tests ] && [ -d "$folder" ]; then
        printf '%s\n' "$folder"
    elif [ "$folder" != tests ]; then
        mirrored "${folder#tests/}"
    fi
}

{
    printf '%s\n' tests/test_architecture.py tests/test_house_rules.py
    { git diff --name-only --merge-base "${1:-main}" && git ls-files --others --exclude-standard; } | while IFS= read -r file; do
        case $file in
        tests/test_*.py | tests/*/test_*.py) [ ! -e "$file" ] || printf '%s\n' "$file" ;;
        psiflow_cli/commands/*/*.py) mirrored "commands/$(basename "$file" .py)" ;;  # rooms, and one of tests
        psiflow_cli/*.py) file=${file#psiflow_cli/} && mirrored "${file%.py}" ;;
        esac
    done
} | sort -u
