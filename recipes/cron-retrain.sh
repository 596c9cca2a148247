#!/usr/bin/env bash
# A model that keeps up with its data, for cron: label what is new, train again when there is enough of it, judge the
# model by a fixed test set, publish it if it is better than the one before. In `crontab -e`, one line:
#     */15 * * * * PATH="$HOME/envs/psiflow/bin:$PATH" /path/to/recipes/cron-retrain.sh "$HOME/water"
#     incoming/*.xyz     frames to learn from: mv files there, whole, and leave them
#     test.xyz           labelled frames to judge by (psiflow label); what of incoming/ is among them is not trained on
#     published.model    what others use: a link into releases/, which keeps every model that was ever published
#     retrain.log        a line for each thing done;      logs/  what each command said last
#     psiflow.toml, retrain.conf     how it is done; written with the values below if not there
# It prints nothing unless something fails, since cron mails what is printed; the same failure once in a while only.
set -Eeuo pipefail
# shellcheck source=recipes/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

[ $# = 1 ] || stop 2 "$(basename "$0"): one argument, not $#" "$0 FOLDER"
mkdir -p "$1"/{incoming,logs,releases}
cd "$1"
# One at a time: what is done between psiflow's commands has no lock of theirs. The next firing will find it done.
exec 9>logs/lock
flock -n 9 || exit 0

preset retrain.conf <<'EOF_CONF'
# Read by bash.
ENOUGH=20       # new labelled frames: train again
GAIN=0%         # publish if the test set's force RMSE is smaller by more than this share
SETTLED=60      # s without a change: a file in incoming/ is whole
REMIND=24       # h: the same failure is printed again
EOF_CONF
preset psiflow.toml <<'EOF_TOML'
# How each command works: any of its options, by its long name (psiflow COMMAND --help).
[label]
reference = "xtb"               # a production method: reference = "cp2k", input = "cp2k.inp", site = "mycluster"
max-failed = "5%"
[atomic-energies]
reference = "xtb"
[train]
arch = "mace"
set = [                         # MACE's own names; small values, to try it with
    "num_channels=16", "max_L=0", "correlation=2", "r_max=4.5", "batch_size=4",
    "lr=0.01", "energy_weight=100", "max_num_epochs=60", "default_dtype=float64",
]
EOF_TOML
# shellcheck source=/dev/null
. ./retrain.conf
exec 2>logs/script.log

# A line of the log, unless it says just what the last one said.
log() {
    [ "$(tail -n 1 retrain.log 2>/dev/null | cut -d' ' -f3-)" = "$*" ] || printf '%(%F %T)T %s\n' -1 "$*" >>retrain.log
}

# advice CODE: what to do about a command that ends so.
advice() {
    case $1 in
    1) echo "psiflow status $PWD --failures lists the frames; max-failed in psiflow.toml says how many may fail" ;;
    65 | 66) echo "fix the file that is named above, or take it out of incoming/" ;;
    69) echo "nothing, if the cluster was busy: the next firing tries again" ;;
    74) echo "free some space (psiflow clean): the next firing goes on" ;;
    2 | 78) echo "fix $PWD/psiflow.toml or retrain.conf, or the site file" ;;
    *) echo "read the log; the next firing tries again" ;;
    esac
}

# failed WHAT CODE [COMMAND...]: tell who reads cron's mail, unless told of the same not long ago; the end.
failed() {
    local what=$1 code=$2 told=logs/told said
    shift 2
    said="$what $code $(grep '^psiflow: ' "logs/$what.log" | tail -n 1)" || true
    log "$what: failed with exit code $code: $PWD/logs/$what.log" || true
    if [ "$said" = "$(cat $told 2>/dev/null)" ] && [ -n "$(find $told -mmin "-$((60 * REMIND))")" ]; then exit "$code"; fi
    cat <<EOF_MAIL
psiflow: $what failed in $PWD on $(uname -n), with exit code $code
  command: $*
  it ended with:
$(tail -n 10 "logs/$what.log" | sed 's/^/    /')
  what to do: $(advice "$code")
  logs: $PWD/logs/$what.log and retrain.log. What is published stays as it is.
EOF_MAIL
    printf '%s\n' "$said" >$told
    exit "$code"
}
# lacks CODE WHAT HINT: the end, before anything was done.
lacks() {
    printf '%s\n' "psiflow: $2" "  hint: $3" >&2
    failed script "$1" "$0"
}
trap 'failed script $? "line $LINENO of $0"' ERR

# perform WHAT COMMAND...: run it, quietly. One that stops before its end, or is already run by somebody, has 75.
perform() {
    local what=$1 code=0
    shift
    "$@" >"logs/$what.json" 2>"logs/$what.log" || code=$?
    case $code in
    0) ;;
    75)
        log "$what: not finished; the next firing goes on"
        exit 0
        ;;
    *) failed "$what" "$code" "$@" ;;
    esac
}

# computed WHAT: whether it had anything to do.
computed() { grep -q '"up_to_date": false' "logs/$1.json"; }

# labelled FILES...: how many labelled frames they have.
labelled() { cat "$@" | grep -c 'psiflow_id=' || true; }

# What is released is there whole before the link points to it, and the link changes in one step.
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

command -v psiflow >/dev/null || lacks 78 "psiflow is not on PATH=$PATH" "name its folder in the crontab's line"
mapfile -d '' incoming < <(find incoming -name '*.xyz' -not -newermt "-$SETTLED seconds" -print0 | sort -z)
[ ${#incoming[@]} -gt 0 ] || exit 0
[ -e test.xyz ] || lacks 66 "$PWD/test.xyz: no such file" "psiflow label makes it, of frames that never come in"

perform label psiflow label --json "${incoming[@]}" -o labelled.xyz
! computed label || log "label: $(labelled labelled.xyz) frames"
perform atomic-energies psiflow atomic-energies --json "${incoming[@]}" -o atoms.xyz
# all of them, each structure once, but for those of the test set
perform select psiflow select --json labelled.xyz --by random -n 1000000000 --exclude test.xyz -o usable.xyz

touch training.xyz
new=$(($(labelled usable.xyz atoms.xyz) - $(labelled training.xyz)))
if [ "$new" -ge "$ENOUGH" ]; then
    together training.xyz usable.xyz atoms.xyz
    log "train: begins, with $new new frames"
fi
if [ -s training.xyz ]; then
    perform train psiflow train --json training.xyz -o candidate.model
    ! computed train || log "train: a candidate from $(labelled training.xyz) frames"
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
    log "all is well again"
fi
