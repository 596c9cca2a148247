# shellcheck shell=bash
# Create an environment for the scripts of this repository, which source this file; it is not run by itself.
# Needs Python >= 3.10 and a network; as root with apt, it also installs missing Debian packages.

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu # PyTorch's own

say() { printf '== %s\n' "$*" >&2; }

apt_updated=""
# Install Debian packages if this is possible here; a failure is reported but not fatal.
apt_install() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "no root or no apt-get: not installing $*"
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    if [ -z "$apt_updated" ]; then
        apt-get update -qq >&2 || say "apt-get update failed"
        apt_updated=yes
    fi
    say "apt-get install $*"
    apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null || {
        say "apt-get could not install $*"
        return 1
    }
}

# Print a Python that is new enough and can create environments (a separate package in Debian).
# A shim on PATH may not start anything, so each candidate is tried.
find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3 python3.13 python3.12 python3.11 python3.10 /usr/bin/python3; do
        if "$candidate" -c "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))" >/dev/null 2>&1; then
            "$candidate" -c "import sys; print(sys.executable)"
            return
        fi
    done
    return 1
}

# Is there a GPU for torch?
has_gpu() {
    local device
    for device in /dev/nvidia[0-9]* /dev/nvidia-caps /dev/kfd; do
        [ ! -e "$device" ] || return 0
    done
    command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU
}

# Run pip and print the name and size of downloads of 20 MB or more.
pip_install() {
    local python=$1
    shift
    (
        set -o pipefail
        PYTHONUNBUFFERED=1 "$python" -m pip install --progress-bar off "$@" |
            sed -unE 's/^ *Downloading ([^ ]*\/)?([^ /]+) \((([2-9][0-9]|[0-9]{3,})(\.[0-9]+)? MB|[0-9.]+ GB)\).*/== downloading \2, \3/p' >&2
    )
}

# Install torch first, in the release of the constraints, which all other packages must match. Without a GPU, use the
# CPU-only build if pip can find one, which is a tenth of the download.
install_torch() {
    local python=$1 constraints=$2 release more=()
    release=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' "$constraints")
    if ! has_gpu && ! "$python" -m pip show -q torch 2>/dev/null; then
        local cpu=(--dry-run -q --no-deps "torch==$release+cpu")
        if ! "$python" -m pip install "${cpu[@]}" >/dev/null 2>&1; then
            more=(--extra-index-url "$TORCH_CPU_INDEX")
            if ! "$python" -m pip install --timeout 10 --retries 0 --index-url "$TORCH_CPU_INDEX" "${cpu[@]}" >/dev/null 2>&1; then
                more=()
                say "pip finds no CPU-only build of torch $release, so it may download the one for GPUs, with CUDA:" \
                    "about 2.5 GB, and 5 GB on the disk. Set PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS to the location of a smaller one."
            fi
        fi
    fi
    pip_install "$python" -c "$constraints" "${more[@]}" torch
}

# Test the installed packages. Install missing system libraries if this is allowed.
try_installed() {
    local python=$1 missing earlier=""
    while ! missing=$("$python" -m psiflow_cli.stages.setup.trial); do
        # one missing library may hide the next, so repeat as long as the list changes
        if [ -z "$missing" ] || [ "$missing" = "$earlier" ]; then
            say "the installed packages do not work"
            return 69
        fi
        # shellcheck disable=SC2086
        apt_install $missing || {
            printf '%s\n' "  hint: as root, apt-get install $missing; then run this again" >&2
            return 69
        }
        earlier=$missing
    done
}

# Print VERSION PATH of one Python for each installed minor version from 3.10 to 3.13, including those of pyenv.
all_pythons() {
    local minor candidate
    for minor in 10 11 12 13; do
        for candidate in "python3.$minor" "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/3.$minor".*/bin/python; do
            if "$candidate" -c "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, $minor))" >/dev/null 2>&1; then
                "$candidate" -c "import sys; print('3.$minor', sys.executable)"
                break
            fi
        done
    done
}

# use_environment FOLDER CHECKOUT EXTRAS: put FOLDER/bin first on PATH, with psiflow-cli[EXTRAS] in it.
# The environment is created if it does not exist, and updated if the files that define it have changed.
use_environment() {
    local folder=$1 checkout=$2 extras=$3 python stamp
    local record="$folder/psiflow-$extras.stamp"
    python=$(find_python) || { apt_install python3 python3-venv && python=$(find_python); } || {
        printf '%s\n' "no Python >= 3.10 that can create a virtual environment" \
            "  hint: install one (Debian: apt install python3-venv), or set PYTHON=/path/to/python3" >&2
        return 69
    }
    stamp=$({ "$python" -VV && cat "$checkout"/{pyproject.toml,constraints.txt,hatch_build.py} && echo "$checkout"; } | cksum)
    if ! { [ -f "$record" ] && [ "$(cat "$record")" = "$stamp" ] && "$folder/bin/python" -c "import psiflow_cli"; }; then
        say "installing psiflow-cli[$extras] into $folder, with $("$python" -V)"
        if [ "$("$folder/bin/python" -VV 2>&1)" != "$("$python" -VV)" ]; then
            "$python" -m venv --clear "$folder" || return
        fi
        install_torch "$folder/bin/python" "$checkout/constraints.txt" || return
        pip_install "$folder/bin/python" -c "$checkout/constraints.txt" -e "${checkout}[$extras]" || return
        try_installed "$folder/bin/python" || return
        printf '%s\n' "$stamp" >"$record"
    fi
    PATH="$(cd "$folder" && pwd)/bin:$PATH"
    export PATH
}
