#!/usr/bin/env bash
# Set up and pass the tests, from a fresh clone on a bare machine: needs a Python >= 3.10 and a network, nothing else.
#     tests/run.sh              lint, types, format, and the tests
#     tests/run.sh --full       the long tests too; other arguments go to pytest
#     tests/run.sh --durations  show the slowest tests and files, and store what each file took (tests/durations.json)
#     tests/run.sh --lint       only that; so --types, and --tests with arguments for pytest or none
# PSIFLOW_TEST_PROCESSES=8 runs as many tests side by side.
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
# Thousands of processes import psiflow, and pytest all tests in each of its own: each would compile them again.
unset PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED
# One thread: the test machine may be small, and with one thread results repeat to the last bit.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

. recipes/environment.sh
extras=mace,xtb,pyscf,dftd,phonons,soap,report,free-energy,dev
use_environment .venv "$PWD" "$extras"
# What needs neither NumPy nor minutes, and depends on the version of Python all the same.
light=(tests/test_{toml,inputs,defaults,bundle,registry}.py tests/extxyz/test_{read,labels}.py
    tests/site/test_{load,shipped}.py tests/references/test_cp2k_{template,preprocess}.py
    tests/worker/test_{failures,environment_faults}.py)
# These, or with --full all tests, with every other Python that is here.
other_pythons() {
    local version python folder stamp status=0
    while read -r version python; do
        folder=build/python$version
        [ "$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" != "$version" ] || continue
        say "Python $version: $python"
        if [ -n "$full" ]; then
            (PYTHON=$python use_environment "$folder-full" "$PWD" "$extras" && python -m pytest -q -rs) || status=1
            continue
        fi
        stamp=$(cat pyproject.toml constraints.txt | cksum)
        if [ "$(cat "$folder/stamp" 2>/dev/null)" != "$stamp" ]; then
            if ! { "$python" -m venv --clear "$folder" &&
                "$folder/bin/python" -m pip install -q -c constraints.txt -e . pytest pytest-timeout hypothesis; }; then
                status=1
                continue
            fi
            printf '%s\n' "$stamp" >"$folder/stamp"
        fi
        "$folder/bin/python" -m pytest -q -p no:cacheprovider "${light[@]}" || status=1
    done < <(all_pythons)
    return "$status"
}
install() {
    # NequIP cannot share an environment with MACE; its own is made while Debian's packages are installed.
    (use_environment .venv-nequip "$PWD" nequip,dev || say "no .venv-nequip: NequIP and Allegro are not tested") &
    command -v cp2k.psmp >/dev/null || apt_install cp2k cp2k-data || true # Ubuntu 24.04 has none
    command -v mpirun >/dev/null || apt_install openmpi-bin || true
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
        check shellcheck -x .ci/run tests/*.sh tests/*/*.sh recipes/*.sh release/*.sh
    else
        say "no shellcheck: the shell scripts are not checked"
    fi
}
types() { check mypy; }
tests() {
    local nequip="" others="" log=build/nequip.log
    install
    mkdir -p build
    if [ -n "$whole" ] && [ -z "$full" ]; then
        other_pythons >build/pythons.log 2>&1 &
        others=$!
    fi
    # Those that train NequIP and Allegro in their own environment run beside the others, which start workers in it.
    if [ -n "$whole" ] && [ -x .venv-nequip/bin/python ]; then
        .venv-nequip/bin/python -m pytest -q -rs --durations=15 ${full:+--full} \
            tests/models/test_{nequip,allegro}.py tests/contracts/test_models.py -k "nequip or allegro" >"$log" 2>&1 &
        nequip=$!
    fi
    # Four at a time also on two cores: many tests wait for a process to start, or to end.
    check python -m pytest -q -rs -n "${PSIFLOW_TEST_PROCESSES:-4}" --dist loadfile "--durations=$shown" "${arguments[@]}"
    if [ -n "$nequip" ]; then
        wait "$nequip" || status=1
        say "NequIP and Allegro, in .venv-nequip"
        cat "$log"
    fi
    if [ -n "$others" ]; then
        wait "$others" || status=1
        cat build/pythons.log
    fi
    if [ -n "$whole" ] && [ -n "$full" ]; then
        other_pythons || status=1
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
