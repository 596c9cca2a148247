# shellcheck shell=bash
# What the recipes have in common: sourced by them, never run.
# shellcheck source=recipes/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

# Say a command as one would type it, then run it; the tables of single commands are not the result of a recipe.
run() {
    result "$@" >&2
}

# The same of a command whose stdout is wanted.
result() {
    printf '\n$ %s\n' "$*" >&2
    "$@"
}

# stop CODE WHAT HINT: end with an error, as psiflow says it.
stop() {
    printf '%s\n' "$2" "  hint: $3" >&2
    exit "$1"
}

# A psiflow must be there; which one is said.
need_psiflow() {
    command -v psiflow >/dev/null || stop 69 "psiflow is not on PATH" "pip install it, or activate its environment"
    say "using $(command -v psiflow)"
}

# path FILE: where it is, wherever the script goes from here.
path() {
    [ -e "$1" ] || stop 66 "$1: no such file" "check its name and the working directory"
    realpath -- "$1"
}

# preset FILE: what comes on stdin becomes FILE, unless there is one.
preset() {
    if [ ! -e "$1" ]; then
        cat >"$1.part"
        mv "$1.part" "$1"
        say "wrote $PWD/$1, for you to change"
    fi
}

# together FILE PARTS...: all frames of the parts; FILE appears whole, whenever this is killed.
together() {
    local whole=$1
    shift
    cat "$@" >"$whole.part"
    mv "$whole.part" "$whole"
}

# judge FOLDER MODEL TEST [OPTIONS]: predictions, a parity plot, and errors.json for psiflow compare.
judge() {
    local folder=$1
    result psiflow evaluate "$3" --model "$2" "${@:4}" -o "$folder/test.evaluated.xyz" --plot "$folder/parity.png" --json \
        >"$folder/errors.json.part"
    mv "$folder/errors.json.part" "$folder/errors.json"
}

# holds ERRORS.json... QUESTION: psiflow compare's yes or no; whatever else it ends with ends the script.
holds() {
    local code=0
    psiflow compare "$@" >/dev/null || code=$?
    [ "$code" -le 1 ] || exit "$code"
    return "$code"
}
