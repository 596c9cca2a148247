#!/usr/bin/env bash
# Set up and pass the tests, from a fresh clone on a bare machine: needs a Python >= 3.10 and a network, nothing else.
#     tests/run.sh              lint, types, format, and the tests
#     tests/run.sh --full       the long tests too; other arguments go to pytest
#     tests/run.sh --durations  show the slowest tests and files, and store what each file took (tests/durations.json)
#     tests/run.sh --lint       only that; so --types, and --tests with arguments for pytest or none
# PSIFLOW_TEST_PROCESSES=4 runs as many tests side by side.
# With root and apt it also installs what it can: python3-venv, shellcheck, SLURM, sshd, and the codes that label. A test that misses something says so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null
parts="lint types tests"
case "${1:-}" in --lint | --types | --tests)
    parts=${1#--}
    shift
    ;;
esac
arguments=()
whole=yes # the tests of NequIP's own environment belong to a whole run
full=""
shown=15
for argument; do
    case $argument in
    --full)
        arguments+=(--full)
        full=yes
        ;;
    --durations)
        arguments+=(--store-durations)
        shown=60
        ;;
    *)
        arguments+=("$argument")
        whole=""
        ;;
    esac
done
unset PYTHONPATH PYTHONHOME PSIFLOW_SITE LINES COLUMNS
# One thread: the test machine may be small, and with one thread results repeat to the last bit.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

. recipes/environment.sh
use_environment .venv "$PWD" mace,xtb,pyscf,dftd,phonons,soap,report,dev
install() {
    # NequIP cannot share an environment with MACE; its own is made while Debian's packages are installed.
    (use_environment .venv-nequip "$PWD" nequip,dev || say "no .venv-nequip: NequIP and Allegro are not tested") &
    command -v cp2k.psmp >/dev/null || apt_install cp2k cp2k-data openmpi-bin || true
    command -v nwchem >/dev/null || apt_install nwchem || true
    command -v pw.x >/dev/null || apt_install quantum-espresso || true
    command -v psi4 >/dev/null || apt_install psi4 || true
    command -v gpaw >/dev/null || apt_install gpaw || true
    command -v slurmctld >/dev/null || [ -x /usr/sbin/slurmctld ] || apt_install slurm-wlm munge lmod || true
    command -v work_queue_worker >/dev/null || apt_install coop-computing-tools python3-workqueue || true
    command -v rsync >/dev/null && { command -v sshd >/dev/null || [ -x /usr/sbin/sshd ]; } || apt_install openssh-server rsync || true
    command -v mandoc >/dev/null || apt_install mandoc || true
    command -v zsh >/dev/null && command -v fish >/dev/null || apt_install zsh fish || true
    wait
}

status=0
check() {
    say "$*"
    "$@" || status=1
}
lint() {
    check ruff check .
    check ruff format --check .
    command -v shellcheck >/dev/null || apt_install shellcheck || true
    if command -v shellcheck >/dev/null; then
        check shellcheck -x .ci/run tests/*.sh tests/*/*.sh recipes/*.sh
    else
        say "no shellcheck: the shell scripts are not checked"
    fi
}
types() { check mypy; }
tests() {
    local nequip="" log=build/nequip.log
    install
    # Those that train NequIP and Allegro in their own environment run beside the others, which start workers in it.
    if [ -n "$whole" ] && [ -x .venv-nequip/bin/python ]; then
        mkdir -p build
        .venv-nequip/bin/python -m pytest -q -rs --durations=15 ${full:+--full} \
            tests/models/test_{nequip,allegro}.py tests/contracts/test_models.py -k "nequip or allegro" >"$log" 2>&1 &
        nequip=$!
    fi
    # Three at a time also on two cores: many tests wait for a process to start, or to end.
    check python -m pytest -q -rs -n "${PSIFLOW_TEST_PROCESSES:-3}" --dist loadfile "--durations=$shown" "${arguments[@]}"
    if [ -n "$nequip" ]; then
        wait "$nequip" || status=1
        say "NequIP and Allegro, in .venv-nequip"
        cat "$log"
    fi
}
for part in $parts; do
    case $part in
    lint) lint ;;
    types) types ;;
    tests) tests ;;
    esac
done
exit "$status"
