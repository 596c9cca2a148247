#!/usr/bin/env bash
# Online learning (see online-learning.sh) as a chain of SLURM jobs: each labels, trains or samples in its own allocation,
# and starts when the previous one has finished. Run it on a login node; it returns when all jobs are in the queue.
#     slurm-chain.sh START.xyz [FOLDER]           default: ./learning
#     slurm-chain.sh START.xyz FOLDER STEP        run one step here and now, as a job does
# FOLDER/chain.conf has the sbatch options of each kind of job, loop.conf and psiflow.toml the settings of the rounds. The
# first run writes them with defaults and submits nothing, so that you can look at them. FOLDER/chain.log has a line for
# each job that starts or ends, and FOLDER/logs/STEP.log its output.
# A job whose time is up is requeued under its own id, and later jobs wait for it. If a job fails, later jobs leave the
# queue. Run this again after any failure: it submits only what is neither finished nor in the queue. When all jobs are
# done, it prints the results.
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
# What the jobs ask SLURM for: options of sbatch. Read by bash. psiflow uses all that its job has, on all of its nodes.
ALL=()                  # every job: (--account=NAME --partition=NAME)
LABEL=(--nodes=1 --ntasks=1 --cpus-per-task=16 --mem-per-cpu=2G --time=04:00:00)
TRAIN=(--nodes=1 --ntasks=1 --cpus-per-task=8 --mem-per-cpu=4G --time=12:00:00)      # --gpus=1 where there are any
SAMPLE=(--nodes=1 --ntasks=1 --cpus-per-task=8 --mem-per-cpu=4G --time=08:00:00)     # likewise
REQUEUES=50             # so often at most is a job that was stopped put back into the queue
setup() {               # in every job, before psiflow: module load CP2K; source ~/envs/psiflow/bin/activate
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

# record LINE: into chain.log, and to whoever looks.
record() {
    printf '%(%F %T)T %s\n' -1 "$*" >>chain.log
    say "$*"
}

# attempt STEP [BEFORE]: its exit code is in $code. Any failure within ends it; after `if` or `||` bash would go on.
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

# only_look: from now on, commands run if they are up to date, and end the step if not.
only_look() {
    # shellcheck disable=SC2317
    result() {
        "$@" --dry-run --json | grep -q '"up_to_date": true' || exit 1
        "$@" -q
    }
}

# stuck STEP: whether three stops in a row found every run where it was.
stuck() {
    local stops
    psiflow status . --json | grep -Eo '"(run|done)": [^,]*' | cksum >>"logs/$1.stops"
    mapfile -t stops < <(tail -n 3 "logs/$1.stops")
    [ ${#stops[@]} = 3 ] && [ "${stops[0]}" = "${stops[1]}" ] && [ "${stops[1]}" = "${stops[2]}" ]
}

# work STEP: in its job, or by hand. 75 is psiflow's word for "stopped before the end: the same again".
work() {
    local name=$1 job=${SLURM_JOB_ID:-} restarts=${SLURM_RESTART_COUNT:-0}
    record "$name: begins on $(uname -n)${job:+ as job $job}"
    attempt "$name" setup
    if [ "$code" = 0 ]; then
        record "$name: done"
    elif [ "$code" = 75 ] && [ -n "$job" ] && stuck "$name"; then
        record "$name: stopped three times without getting further, see $PWD/logs/$name.log; the jobs after it are" \
            "cancelled; give it more time in chain.conf, or fix what the log says, and run $0 again"
    elif [ "$code" = 75 ] && [ -n "$job" ] && [ "$restarts" -lt "$REQUEUES" ]; then
        record "$name: stopped before its end; goes back into the queue as job $job"
        # Its id stays, so those that depend on it wait on; a new job would have another, and they would be cancelled.
        # SLURM ends this script now: if it ended by itself first, that might count as the end of the job.
        scontrol requeue "$job" && sleep 120
        record "$name: SLURM has not put job $job back into the queue; run $0 again"
    else
        record "$name: failed with exit code $code, see $PWD/logs/$name.log; the jobs after it are cancelled;" \
            "fix it and run $0 again"
    fi
    exit "$code"
}

# submit STEP [ID]: a job that begins when job ID is done; its own id is in $id.
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

# name_of STEP: what its job is called; with the folder it is in, this tells it from all others.
name_of() {
    local folder=${PWD##*/}
    printf '%s:%s' "${folder//[^[:alnum:].-]/_}" "$1"
}

# in_queue STEP: the id of its job in $id, if it waits or runs.
in_queue() {
    local name folder
    while read -r id _ name folder; do
        [ "$name $folder" != "$(name_of "$1") $PWD" ] || return 0
    done <<<"$queue"
    return 1
}

[ $# -lt 3 ] || work "$3"
if [ $is_first = yes ]; then
    say "nothing is submitted yet: look at chain.conf, loop.conf and psiflow.toml in $PWD, and run this again"
    exit 0
fi
exec 9>logs/lock
flock -n 9 || stop 75 "$PWD: another slurm-chain.sh submits jobs from here" "wait for it"
# what is just ending must end first: what of it is finished is seen only then
queue() { squeue --noheader --user="$(id -un)" --format='%i %T %j %Z'; }
while :; do
    queue=$(queue) || stop 69 "squeue does not say what is in the queue" "run this again when it does"
    grep -q "^[0-9]* COMPLETING .* $PWD\$" <<<"$queue" || break
    sleep 2
done
last=''   # the job that the next one has to wait for
fresh=no  # whether it was submitted just now: what is in the queue after it waits for another, in vain
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
    say "to look: squeue --me; tail -f $PWD/chain.log; psiflow status $PWD      to end it: scancel ${queued[*]}"
else
    conclude
fi
