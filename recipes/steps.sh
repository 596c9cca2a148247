# shellcheck shell=bash
# Functions shared by the recipes, which source this file; it is not run by itself.
# shellcheck source=recipes/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

# Print a command, then run it; tables of single commands go to stderr, since they are not the result of a recipe.
run() {
    perform "$*" "$@" >&2
}

# result_to FILE COMMAND...: the same for a command whose stdout is its result.
result_to() {
    local file=$1
    shift
    perform "$* >$file" "$@" >"$file"
}

# perform LINE COMMAND...: print that line, then run the command.
perform() {
    printf '\n$ %s\n' "$1" >&2
    shift
    "$@"
}

# stop CODE WHAT HINT: exit with an error message like those of psiflow.
stop() {
    printf '%s\n' "$2" "  hint: $3" >&2
    exit "$1"
}

# Check that psiflow is installed, and print which one is used.
need_psiflow() {
    command -v psiflow >/dev/null || stop 69 "psiflow is not on PATH" "pip install it, or activate its environment"
    say "using $(command -v psiflow)"
}

# path FILE: its absolute path.
path() {
    [ -e "$1" ] || stop 66 "$1: no such file" "check its name and the working directory"
    realpath -- "$1"
}

# preset FILE: write stdin to FILE, unless it exists.
preset() {
    if [ ! -e "$1" ]; then
        cat >"$1.part"
        mv "$1.part" "$1"
        say "wrote $PWD/$1, for you to change"
    else
        cat >/dev/null # otherwise SIGPIPE ends the writer, and pipefail the script
    fi
}

# together FILE PARTS...: write all frames of the parts to FILE, which is either complete or absent.
together() {
    local whole=$1
    shift
    cat "$@" >"$whole.part"
    mv "$whole.part" "$whole"
}

# judge FOLDER MODEL TEST [OPTIONS]: write predictions, a parity plot, and errors.json for psiflow compare.
judge() {
    local folder=$1
    result_to "$folder/errors.json.part" \
        psiflow evaluate "$3" --model "$2" "${@:4}" -o "$folder/test.evaluated.xyz" --plot "$folder/parity.png" --json
    mv "$folder/errors.json.part" "$folder/errors.json"
}

# holds ERRORS.json... QUESTION: the yes or no of psiflow compare; any other exit code ends the script.
holds() {
    local code=0
    psiflow compare "$@" >/dev/null || code=$?
    [ "$code" -le 1 ] || exit "$code"
    return "$code"
}
