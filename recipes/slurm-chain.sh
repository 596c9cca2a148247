#!/usr/bin/env bash
# Online learning (see online-learning.sh) as a chain of SLURM jobs: each labels, trains or samples in its own
# allocation, and starts when the previous one has finished. Run it on a login node; it returns when all are in the queue.
#     slurm-chain.sh START.xyz [FOLDER]           default: ./learning
#     slurm-chain.sh START.xyz FOLDER STEP        one step, here and now: what a job does
# FOLDER/chain.conf sets the resources of each type of job, loop.conf and psiflow.toml the rounds. The first run writes
# these files with defaults and submits nothing, so that you can check them. FOLDER/chain.log has a line for each job
# that starts or ends, FOLDER/logs/STEP.log the rest.
# A job that reaches its time limit is requeued under its own id, and those after it keep waiting. If a job fails, those
# after it are cancelled. You can run this again at any time: it submits only steps that are neither finished nor in the
# queue. When everything has finished, it prints the results.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=recipes/rounds.sh
. "$here/rounds.sh"

[[ $# -ge 1 && $# -le 3 ]] || stop 2 "$(basename "$0"): one to three arguments, not $#" "$0 START.xyz [FOLDER]"
enter "$1" "${2:-learning}"
cd "$(pwd -P)"
mkdir -p logs
asks() {
    cat <<'EOF_CONF'
# Resources of the jobs: options of sbatch. This file is read by bash. psiflow uses all nodes and cores of its job.
ALL=()                  # every job: (--account=NAME --partition=NAME)
LABEL=(--nodes=1 --ntasks=1 --cpus-per-task=16 --mem-per-cpu=2G --time=04:00:00)
TRAIN=(--nodes=1 --ntasks=1 --cpus-per-task=8 --mem-per-cpu=4G --time=12:00:00)      # --gpus=1 if there are GPUs
SAMPLE=(--nodes=1 --ntasks=1 --cpus-per-task=8 --mem-per-cpu=4G --time=08:00:00)     # likewise
REQUEUES=50             # largest number of times that a stopped job is requeued
setup() {               # runs in every job before psiflow: module load CP2K; source ~/envs/psiflow/bin/activate
    :
}
EOF_CONF
}
is_first=no
[ -e chain.conf ] || is_first=yes
preset chain.conf < <(asks)
# shellcheck source=/dev/null
. <(asks)
# shellcheck source=/dev/null
. ./chain.conf

# record LINE: write it to chain.log and to stderr.
record() {
    printf '%(%F %T)T %s\n' -1 "$*" >>chain.log
    say "$*"
}

# attempt STEP [BEFORE]: its exit code is in $code. Any failure within ends it; after `if` or `||` bash would continue.
attempt() {
    set +e
    (
        set -e
        "${@:2}"
        step "$1"
    )
    code=$?
    set -e
}

# only_look: from now on, commands run only if they are up to date, and otherwise end the step.
only_look() {
    # shellcheck disable=SC2317
    perform() {
        shift
        "$@" --dry-run --json | grep -q '"up_to_date": true' || exit 1
        "$@" -q
    }
}

# stuck STEP: whether the last three stops were without progress.
stuck() {
    local stops
    psiflow status . --json | grep -Eo '"(run|done)": [^,]*' | cksum >>"logs/$1.stops"
    mapfile -t stops < <(tail -n 3 "logs/$1.stops")
    [ ${#stops[@]} = 3 ] && [ "${stops[0]}" = "${stops[1]}" ] && [ "${stops[1]}" = "${stops[2]}" ]
}

# work STEP: run it in its job, or directly. 75 means that it stopped before its end and has to run again.
work() {
    local name=$1 job=${SLURM_JOB_ID:-} restarts=${SLURM_RESTART_COUNT:-0}
    record "$name: starts on $(uname -n)${job:+ as job $job}"
    attempt "$name" setup
    if [ "$code" = 0 ]; then
        record "$name: done"
    elif [ "$code" = 75 ] && [ -n "$job" ] && stuck "$name"; then
        record "$name: stopped three times without progress, see $PWD/logs/$name.log; the jobs after it are" \
            "cancelled; give it more time in chain.conf, or fix what the log says, and run $0 again"
    elif [ "$code" = 75 ] && [ -n "$job" ] && [ "$restarts" -lt "$REQUEUES" ]; then
        record "$name: stopped before its end; requeued as job $job"
        # It keeps its id, so jobs that depend on it keep waiting; with a new job, which has another id, they would be cancelled.
        # SLURM ends this script now: if it ended by itself first, SLURM might regard the job as finished.
        scontrol requeue "$job" && sleep 120
        record "$name: SLURM has not requeued job $job; run $0 again"
    else
        record "$name: failed with exit code $code, see $PWD/logs/$name.log; the jobs after it are cancelled;" \
            "fix it and run $0 again"
    fi
    exit "$code"
}

# submit STEP [ID]: submit a job that starts when job ID has finished; its own id is in $id.
submit() {
    local kind=${1%%-*} after=()
    [ -z "${2:-}" ] || after=(--dependency="afterok:$2" --kill-on-invalid-dep=yes)
    local -n wants=${kind^^}
    rm -f "logs/$1.stops"
    id=$(sbatch --parsable --job-name="$(name_of "$1")" --chdir="$PWD" --output="logs/$1.log" --open-mode=append \
        --requeue "${after[@]}" "${ALL[@]}" "${wants[@]}" <<EOF_JOB
#!/usr/bin/env bash
exec bash $(printf '%q ' "$here/slurm-chain.sh" "$start" "$PWD" "$1")
EOF_JOB
    )
    id=${id%%;*} # of several clusters, SLURM says which
}

# name_of STEP: the name of its job, which is unique because it contains the folder.
name_of() {
    local folder=${PWD##*/}
    printf '%s:%s' "${folder//[^[:alnum:].-]/_}" "$1"
}

# in_queue STEP: put the id of its job into $id, if it is waiting or running.
in_queue() {
    local name folder
    while read -r id _ name folder; do
        [ "$name $folder" != "$(name_of "$1") $PWD" ] || return 0
    done <<<"$queue"
    return 1
}

[ $# -lt 3 ] || work "$3"
if [ $is_first = yes ]; then
    say "nothing was submitted yet: check chain.conf, loop.conf and psiflow.toml in $PWD, and run this again"
    exit 0
fi
exec 9>logs/lock
flock -n 9 || stop 75 "$PWD: another slurm-chain.sh is submitting jobs from here" "wait for it"
# jobs that are just ending must end first, so that finished steps are recognised
queue() { squeue --noheader --user="$(id -un)" --format='%i %T %j %Z'; }
while :; do
    queue=$(queue) || stop 69 "squeue does not list the queue" "run this again when it works"
    grep -q "^[0-9]* COMPLETING .* $PWD\$" <<<"$queue" || break
    sleep 2
done
last=''   # the job that the next one depends on
fresh=no  # whether it was submitted just now: jobs that are already in the queue after it depend on another one
queued=()
for name in $(steps); do
    code=1
    if in_queue "$name" && [ $fresh = no ]; then
        say "$name: is in the queue, as job $id"
    else
        [ -n "$last" ] || attempt "$name" only_look >/dev/null 2>&1
        if [ "$code" = 0 ]; then
            say "$name: is done"
            continue
        fi
        ! in_queue "$name" || scancel "$id"
        submit "$name" "$last"
        fresh=yes
        record "$name: submitted as job $id${last:+, after $last}"
    fi
    last=$id
    queued+=("$id")
done
if [ -n "$last" ]; then
    say "to watch: squeue --me; tail -f $PWD/chain.log; psiflow status $PWD      to stop: scancel ${queued[*]}"
else
    conclude
fi
