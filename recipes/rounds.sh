# shellcheck shell=bash
# The steps of online learning for online-learning.sh and slurm-chain.sh, which source this file; it is not run by itself.
# shellcheck source=recipes/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

defaults() {
    cat <<'EOF_CONF'
# Settings of the rounds; this file is read by bash.
ROUNDS=3            # largest number of rounds after the first training
DATA=               # file of your own labelled frames to start with, from the same method; empty: none
FIRST=30            # distorted copies of each start structure to start with; 0: none, if DATA is given
AMPLITUDE=0.05      # Å: displacement of their atoms (standard deviation of each coordinate)
STRAIN=0.0          # strain of their cells
TEST=40             # frames of the test set, from the dynamics of the first model; your own test.xyz takes precedence
FRAMES=20           # frames to label in a round
BY=committee        # selection method: committee, farthest or random
PARTS=train=0.9,valid=0.1     # parts of the labels of a round
CONTINUE=no         # yes: walkers continue from their last frames in the previous round, with velocities
RESET=              # with CONTINUE: forces:200 restarts walkers whose last frame has a larger error (meV/Å)
TEMPERATURE=        # K: 100:1000 rises from the first to the last round; empty: that of psiflow.toml
PLUMED=             # PLUMED input for the rounds and the test set; @ROUND@ in it is the number of the round
VARY=()             # (AT=1.0:3.0): values of @AT@ in it, from the first to the last round
FROM=nothing        # start of a round's training: nothing, or the committee of the previous round (previous)
TARGET=             # meV/Å: stop when the force RMSE on the test set is at most this; empty: no target
GAIN=2%             # stop when this RMSE has not fallen by this fraction...
PATIENCE=2          # ...in this many rounds
EOF_CONF
}

# enter START.xyz FOLDER: go there, and read its settings or write these.
enter() {
    start=$(path "$1")
    need_psiflow
    mkdir -p "$2"
    cd "$2" || exit
    say "working in $PWD"
    preset loop.conf < <(defaults)
    preset psiflow.toml <<'EOF_TOML'
# Settings of each command: any of its options, by long name (psiflow COMMAND --help).
# A table such as [sample.round-3] or [train.round-3] has the settings that differ in round 3.
[label]
reference = "xtb"               # in production, for example: reference = "cp2k", input = "cp2k.inp", site = "mycluster"
max-failed = 0.2                # fraction of a round's frames; more failures end the loop
[atomic-energies]
reference = "xtb"
[train]
arch = "mace"
members = 3
set = [                         # MACE's own names; small values, for testing
    "num_channels=16", "max_L=0", "correlation=2", "r_max=4.5", "batch_size=4",
    "lr=0.01", "energy_weight=100", "max_num_epochs=60", "default_dtype=float64",
]
[sample]
temperature = "300"
walkers = 4
steps = 1000
every = 10
max-spread = 3.0                # eV/Å: a walker stops if the members disagree more than this
EOF_TOML
    # shellcheck source=/dev/null
    . <(defaults)
    check_names
    # shellcheck source=/dev/null
    . ./loop.conf
    check_values
    [ -n "$DATA" ] || [ "$FIRST" != 0 ] || stop 78 "loop.conf: FIRST=0 without DATA" "there is nothing to train on"
    [ -z "$DATA" ] || [ -e "$DATA" ] || stop 66 "loop.conf: DATA=$DATA: no such file" "give a path relative to $PWD, or an absolute one"
}

# check_names: check that loop.conf contains only known settings.
check_names() {
    local name known
    bash -n loop.conf || stop 78 "loop.conf: bash cannot read it" "see the line above"
    known=$(defaults | sed -n 's/^\([A-Z]*\)=.*/\1/p')
    while read -r name; do
        grep -qx "$name" <<<"$known" || stop 78 "loop.conf: $name: no such setting" "known: ${known//$'\n'/, }"
    done < <(sed -n 's/^ *\([A-Za-z_][A-Za-z_0-9]*\)=.*/\1/p' loop.conf)
}

NUMBER='([0-9]+(\.[0-9]*)?|\.[0-9]+)'
SIGNED="[+-]?$NUMBER([eE][+-]?[0-9]+)?"

# want NAME PATTERN WHAT: check that the value of the setting NAME matches the pattern.
want() {
    [[ ${!1} =~ ^($2)$ ]] || stop 78 "loop.conf: $1=${!1} is not $3" "see the comment in loop.conf"
}

# check_values: check the value of each setting of loop.conf, and that settings that need another have it.
check_values() {
    local name each
    for name in ROUNDS TEST PATIENCE FRAMES; do
        want "$name" '[1-9][0-9]*' "a whole number of at least 1"
    done
    want FIRST '0|[1-9][0-9]*' "a whole number"
    want AMPLITUDE "$NUMBER" "a number"
    want STRAIN "$NUMBER" "a number"
    want TARGET "$NUMBER|" "a number"
    want GAIN "$NUMBER%?" "a fraction such as 2%"
    want BY 'committee|farthest|random' "committee, farthest or random"
    want FROM 'nothing|previous' "nothing or previous"
    want CONTINUE 'yes|no' "yes or no"
    want RESET "(forces|energy):$NUMBER|" "of the form forces:200"
    want TEMPERATURE "$NUMBER(:$NUMBER)?|" "of the form 300 or 100:1000"
    [ -z "$RESET" ] || [ "$CONTINUE" = yes ] || stop 78 "loop.conf: RESET=$RESET without CONTINUE=yes" \
        "without it, every round begins at the start"
    [ -z "$PLUMED" ] || [ -e "$PLUMED" ] || stop 66 "loop.conf: PLUMED=$PLUMED: no such file" "give a path relative to $PWD, or an absolute one"
    for each in "${VARY[@]}"; do
        [[ $each =~ ^[A-Z][A-Z0-9_]*=$SIGNED(:$SIGNED)?$ ]] || stop 78 "loop.conf: VARY: $each does not have the form AT=1.0:3.0" \
            "a name in capitals, and its values in the first and in the last round"
        [ -n "$PLUMED" ] || stop 78 "loop.conf: VARY without PLUMED" "give the input that contains @${each%%=*}@"
        grep -q "@${each%%=*}@" "$PLUMED" || stop 78 "loop.conf: VARY: $PLUMED does not contain @${each%%=*}@" \
            "write it where the value is to be"
    done
    while read -r each; do
        [ "$each" -le "$ROUNDS" ] || say "psiflow.toml: the settings of round $each are not used, because ROUNDS=$ROUNDS"
    done < <(sed -n 's/^ *\[.*\.round-\([0-9]*\)[].].*/\1/p' psiflow.toml | sort -un)
}

# at K FIRST[:LAST]: the value in round K, interpolated from the first to the last round.
at() {
    awk -v k="$1" -v n="$ROUNDS" -v ends="$2" \
        'BEGIN { m = split(ends, e, ":"); printf "%.10g", e[1] + (n > 1 ? (e[m] - e[1]) * (k - 1) / (n - 1) : 0) }'
}

# All steps, in order, each WHAT-ROUND.
steps() {
    local k
    printf '%s\n' label-0 train-0 sample-test label-test
    for ((k = 1; k <= ROUNDS; k++)); do printf '%s\n' "sample-$k" "label-$k" "train-$k"; done
}

# step WHAT-ROUND: run it, unless the rounds have already ended.
step() {
    local k=${1#*-}
    export PSIFLOW_ROUND="${k/test/0}"
    case $1 in
    label-0) begin ;;
    sample-test) draw_test ;;
    label-test) label_test ;;
    *)
        if [ "$k" != 0 ] && over "$k"; then return; fi
        case $1 in
        sample-*) choose "$k" ;;
        label-*)
            run psiflow label "round-$k/selected.xyz" -o "round-$k/labelled.xyz"
            [ -z "$RESET" ] || label_ends "$k"
            ;;
        train-*) teach "$k" ;;
        esac
        ;;
    esac
}

# begin: make the labels of round 0.
begin() {
    mkdir -p round-0
    run psiflow atomic-energies "$start" -o atoms.xyz
    [ "$FIRST" != 0 ] || return 0
    run psiflow rattle "$start" -n "$FIRST" --amplitude "$AMPLITUDE" --strain "$STRAIN" --seed 1 -o round-0/selected.xyz
    run psiflow label round-0/selected.xyz -o round-0/labelled.xyz
}

# own_test: whether the user gave the test set.
own_test() { [ -e test.xyz ] && [ ! -e test.xyz.run ]; }

draw_test() {
    if own_test; then
        say "the test set is your own test.xyz"
        return
    fi
    local more=()
    mkdir -p test
    # with the bias of the middle round: dynamics without it stays where it starts
    [ -z "$PLUMED" ] || biased test $(((ROUNDS + 1) / 2))
    run psiflow sample "$start" --model round-0/committee.model --seed 0 --max-failed 100% "${more[@]}" \
        -o test/samples.xyz
    [ -s test/samples.xyz ] || stop 1 "all walkers of the committee of round 0 stopped immediately: there are no frames for a test set" \
        "more of FIRST in loop.conf, more epochs, a lower temperature, a larger max-spread; or a test.xyz of your own"
    run psiflow select test/samples.xyz -n "$TEST" --by random --seed 0 \
        --exclude round-0/train.xyz --exclude round-0/valid.xyz -o test/selected.xyz
}

label_test() {
    own_test || run psiflow label test/selected.xyz -o test.xyz
    judge round-0 round-0/committee.model test.xyz
}

# teach K: train a committee on all labels up to round K, and compute its errors.
teach() {
    local now=round-$1 before=round-$(($1 - 1)) part all=() init=() labelled=()
    [ ! -e "$now/labelled.xyz" ] || labelled=("$now/labelled.xyz")
    [ "$1" != 0 ] || [ -z "$DATA" ] || labelled+=("$DATA")
    run psiflow split "${labelled[@]}" --parts "$PARTS" --seed "$1" -o "$now/labelled.xyz"
    for part in train valid; do
        all=("$now/labelled.$part.xyz")
        [ "$1" = 0 ] || all=("$before/$part.xyz" "${all[@]}")
        together "$now/$part.xyz" "${all[@]}"
    done
    # the training data of the previous committee are already in train.xyz
    [ "$1" = 0 ] || [ "$FROM" = nothing ] || init=(--init "$before/committee.model" --no-replay)
    run psiflow train "$now/train.xyz" atoms.xyz --valid "$now/valid.xyz" --seed "$1" "${init[@]}" \
        -o "$now/committee.model"
    [ "$1" = 0 ] || judge "$now" "$now/committee.model" test.xyz
}

# label_ends K: predictions, by the committee that moved the walkers of round K, for their labelled last frames.
label_ends() {
    local now=round-$1 before=round-$(($1 - 1))
    [ -s "$now/final.xyz" ] || return 0
    run psiflow label "$now/final.xyz" --max-failed 100% -o "$now/ends.xyz"
    run psiflow evaluate "$now/ends.xyz" --model "$before/committee.model" -o "$now/ends.evaluated.xyz"
}

# biased NAME K: the PLUMED input for round K, beside the user's, so that relative paths in it are still valid.
biased() {
    local each edits=(-e "s/@ROUND@/$2/g") input
    input=$(dirname "$PLUMED")/$1.$(basename "$PLUMED")
    for each in "${VARY[@]}"; do
        edits+=(-e "s/@${each%%=*}@/$(at "$2" "${each#*=}")/g")
    done
    sed "${edits[@]}" "$PLUMED" >"$input.part"
    mv "$input.part" "$input"
    more+=(--plumed "$input")
}

# one_bias HILLS: whether a file has the hills of a single bias, from which the next round can start: that of walkers that
# share it (share-bias = true), or of a single walker.
one_bias() {
    [ -s "$1" ] || return 1
    if ! head -n 1 "$1" | grep -qw clock && [ "$(grep -c '^#! SET walker' "$1")" != 1 ]; then
        say "$1: every walker has its own bias, which starts again; use share-bias = true in [sample] to keep a common one"
        return 1
    fi
}

# choose K: run dynamics with the previous committee, and select the frames with the largest disagreement.
choose() {
    local now=round-$1 before=round-$(($1 - 1)) candidates found last more=()
    mkdir -p "$now"
    [ -z "$TEMPERATURE" ] || more+=(--temperature "$(at "$1" "$TEMPERATURE")")
    [ -z "$PLUMED" ] || biased "round-$1" "$1"
    if [ "$CONTINUE" = yes ]; then
        more+=(--final "$now/final.xyz")
        last=$before/final.xyz
        [ -z "$RESET" ] || last=$before/ends.evaluated.xyz
        [ ! -s "$last" ] || more+=(--continue "$last" ${RESET:+--reset "$RESET"})
        ! one_bias "$before/samples.hills" || more+=(--hills "$before/samples.hills")
    fi
    # a walker that becomes unphysical is useful for the round; --stopped has its last valid frame
    run psiflow sample "$start" --model "$before/committee.model" --seed "$1" --max-failed 100% "${more[@]}" \
        --stopped "$now/stopped.xyz" -o "$now/samples.xyz"
    candidates=()
    for found in "$now/samples.xyz" "$now/stopped.xyz"; do
        [ ! -s "$found" ] || candidates+=("$found")
    done
    [ ${#candidates[@]} != 0 ] || stop 1 "all walkers of the committee of round $(($1 - 1)) stopped in their first step" \
        "more frames or epochs, a lower temperature, or a larger max-spread"
    run psiflow select "${candidates[@]}" -n "$FRAMES" --by "$BY" --model "$before/committee.model" --seed "$1" \
        --exclude test.xyz --exclude "$before/train.xyz" --exclude "$before/valid.xyz" -o "$now/selected.xyz"
}

# over K: whether the rounds end before or within round K, and `why`; `errors` are those of the previous rounds.
over() {
    local k
    errors=(round-0/errors.json)
    why="all $ROUNDS rounds have finished"
    for ((k = 1; k <= $1; k++)); do
        ! enough || return 0
        if [ -e "round-$k/selected.xyz" ] && [ ! -s "round-$k/selected.xyz" ]; then
            why="the members of the committee of round $((k - 1)) agree on every frame"
            return 0
        fi
        [ "$k" = "$1" ] || errors+=("round-$k/errors.json")
    done
    return 1
}

# enough: whether the rounds may end, and why.
enough() {
    if [ -n "$TARGET" ] && holds "${errors[@]}" --reached "forces=$TARGET"; then
        why="the target of $TARGET meV/Å is reached"
    elif ! holds "${errors[@]}" --improved "$GAIN" --last "$PATIENCE"; then
        why="the error has not fallen by $GAIN in $PATIENCE rounds"
    else
        return 1
    fi
}

# conclude: print the results of the rounds.
conclude() {
    over $((ROUNDS + 1)) || true
    say "$why"
    say "errors on the test set, which no round was trained on"
    psiflow compare "${errors[@]}"
    run psiflow report . -o report.html
    say "the last committee is $PWD/round-$((${#errors[@]} - 1))/committee.model"
}
