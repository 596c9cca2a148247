#!/usr/bin/env bash
# Keep a model up to date with new data, run by cron: label new frames, train again when there are enough of them,
# evaluate the model on a fixed test set, publish it if it is better than the previous one. One line in `crontab -e`:
#     */15 * * * * PATH="$HOME/envs/psiflow/bin:$PATH" /path/to/recipes/cron-retrain.sh "$HOME/water"
#     incoming/*.xyz     training frames: mv complete files there and do not change them
#     test.xyz           labelled test frames (psiflow label); frames in incoming/ that are among them are not trained on
#     published.model    the model to use: a link into releases/, which keeps every published model
#     retrain.log        one line per action;             logs/  the last output of each command
#     psiflow.toml, retrain.conf     settings; written with the values below if missing
# It prints only failures, because cron mails all output; the same failure is printed again only after a while.
set -Eeuo pipefail
# shellcheck source=recipes/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

[ $# = 1 ] || stop 2 "$(basename "$0"): one argument, not $#" "$0 FOLDER"
mkdir -p "$1"/{incoming,logs,releases}
cd "$1"
# One at a time: psiflow's locks do not protect the steps between its commands. The next run will find them done.
exec 9>logs/lock
flock -n 9 || exit 0

preset retrain.conf <<'EOF_CONF'
# This file is read by bash.
ENOUGH=20       # train again after this many new labelled frames
GAIN=0%         # publish if the force RMSE on the test set is smaller by more than this fraction
SETTLED=60      # s without a change, after which a file in incoming/ is complete
REMIND=24       # h, after which the same failure is printed again
EOF_CONF
preset psiflow.toml <<'EOF_TOML'
# Settings of each command: any of its options, by long name (psiflow COMMAND --help).
[label]
reference = "xtb"               # in production, for example: reference = "cp2k", input = "cp2k.inp", site = "mycluster"
max-failed = "5%"
[atomic-energies]
reference = "xtb"
[train]
arch = "mace"
set = [                         # MACE's own names; small values, for testing
    "num_channels=16", "max_L=0", "correlation=2", "r_max=4.5", "batch_size=4",
    "lr=0.01", "energy_weight=100", "max_num_epochs=60", "default_dtype=float64",
]
EOF_TOML
# shellcheck source=/dev/null
. ./retrain.conf
exec 2>logs/script.log

# Write a line to the log, unless it repeats the last one.
log() {
    [ "$(tail -n 1 retrain.log 2>/dev/null | cut -d' ' -f3-)" = "$*" ] || printf '%(%F %T)T %s\n' -1 "$*" >>retrain.log
}

# advice CODE: what to do about a command that ends with this code.
advice() {
    case $1 in
    1) echo "psiflow status $PWD --failures lists the frames; max-failed in psiflow.toml sets how many may fail" ;;
    65 | 66) echo "fix the file named above, or remove it from incoming/" ;;
    69) echo "nothing, if the cluster was busy: the next run tries again" ;;
    74) echo "free some disk space (psiflow clean): the next run continues" ;;
    2 | 78) echo "fix $PWD/psiflow.toml or retrain.conf, or the site file" ;;
    *) echo "read the log; the next run tries again" ;;
    esac
}

# failed WHAT CODE [COMMAND...]: print the failure for cron's mail, unless it was printed recently, and exit.
failed() {
    local what=$1 code=$2 told=logs/told said
    shift 2
    said="$what $code $(grep '^psiflow: ' "logs/$what.log" | tail -n 1)" || true
    log "$what: failed with exit code $code: $PWD/logs/$what.log" || true
    if [ "$said" = "$(cat $told 2>/dev/null)" ] && [ -n "$(find $told -mmin "-$((60 * REMIND))")" ]; then exit "$code"; fi
    cat <<EOF_MAIL
psiflow: $what failed in $PWD on $(uname -n), with exit code $code
  command: $*
  last output:
$(tail -n 10 "logs/$what.log" | sed 's/^/    /')
  what to do: $(advice "$code")
  logs: $PWD/logs/$what.log and retrain.log. The published model is unchanged.
EOF_MAIL
    printf '%s\n' "$said" >$told
    exit "$code"
}
# lacks CODE WHAT HINT: exit before anything was done.
lacks() {
    printf '%s\n' "psiflow: $2" "  hint: $3" >&2
    failed script "$1" "$0"
}
trap 'failed script $? "line $LINENO of $0"' ERR

# perform WHAT COMMAND...: run it quietly. 75 means that it stopped before its end, or is already running.
perform() {
    local what=$1 code=0
    shift
    "$@" >"logs/$what.json" 2>"logs/$what.log" || code=$?
    case $code in
    0) ;;
    75)
        log "$what: not finished; the next run continues"
        exit 0
        ;;
    *) failed "$what" "$code" "$@" ;;
    esac
}

# computed WHAT: whether it computed anything.
computed() { grep -q '"up_to_date": false' "logs/$1.json"; }

# labelled FILES...: their number of labelled frames.
labelled() { cat "$@" | grep -c 'psiflow_id=' || true; }

# A release is complete before the link points to it, and the link changes in one step.
publish() {
    local release
    release=releases/$(sha256sum candidate.model/model.toml | cut -c 1-12).model
    if [ ! -e "$release" ]; then
        rm -rf "$release.part"
        cp -a candidate.model "$release.part"
        perform verify psiflow model verify "$release.part"
        sync -f "$release.part"
        mv -T "$release.part" "$release"
    fi
    ln -sfn "$release" .published.new
    mv -T .published.new published.model
    log "publish: $release"
}

command -v psiflow >/dev/null || lacks 78 "psiflow is not on PATH=$PATH" "add its folder to PATH in the line of the crontab"
mapfile -d '' incoming < <(find incoming -name '*.xyz' -not -newermt "-$SETTLED seconds" -print0 | sort -z)
[ ${#incoming[@]} -gt 0 ] || exit 0
[ -e test.xyz ] || lacks 66 "$PWD/test.xyz: no such file" "make it with psiflow label, from frames that will not be in incoming/"

perform label psiflow label --json "${incoming[@]}" -o labelled.xyz
! computed label || log "label: $(labelled labelled.xyz) frames"
perform atomic-energies psiflow atomic-energies --json "${incoming[@]}" -o atoms.xyz
# all of them, each structure once, except those of the test set
perform select psiflow select --json labelled.xyz --by random -n 1000000000 --exclude test.xyz -o usable.xyz

touch training.xyz
new=$(($(labelled usable.xyz atoms.xyz) - $(labelled training.xyz)))
if [ "$new" -ge "$ENOUGH" ]; then
    together training.xyz usable.xyz atoms.xyz
    log "train: starts, with $new new frames"
fi
if [ -s training.xyz ]; then
    perform train psiflow train --json training.xyz -o candidate.model
    ! computed train || log "train: a new model from $(labelled training.xyz) frames"
    perform candidate psiflow evaluate --json test.xyz --model candidate.model -o candidate.xyz
    if [ ! -e published.model ]; then
        publish
    elif ! cmp -s candidate.model/model.toml published.model/model.toml; then
        perform published psiflow evaluate --json test.xyz --model published.model -o published.xyz
        code=0
        psiflow compare logs/{published,candidate}.json --improved "$GAIN" >logs/compare.txt 2>logs/compare.log || code=$?
        [ "$code" -le 1 ] || failed compare "$code" psiflow compare logs/{published,candidate}.json
        if computed candidate || computed published; then log "compare: $(sed 's/^psiflow: //' logs/compare.log)"; fi
        [ "$code" != 0 ] || publish
    fi
fi
if [ -e logs/told ]; then
    rm logs/told
    log "working again"
fi
