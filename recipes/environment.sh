# shellcheck shell=bash
# An environment for the scripts of this repository, from a bare machine: sourced by them, never run.
# Needs a Python >= 3.10 and a network; where it is root and there is apt, it installs what Debian splits off.

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { printf '== %s\n' "$*" >&2; }

apt_updated=""
# Install Debian packages if this machine lets us; failure is told, not fatal.
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

# Print a Python that is new enough and can make environments (Debian splits that off).
# A shim may be on PATH and yet start nothing, so each candidate is tried.
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

# use_environment FOLDER CHECKOUT EXTRAS: put FOLDER/bin first on PATH, with psiflow-cli[EXTRAS] in it.
# The environment is made if it is not there, and brought up to date if what defines it has changed since.
use_environment() {
    local folder=$1 checkout=$2 extras=$3 python stamp
    local record="$folder/psiflow-$extras.stamp"
    python=$(find_python) || { apt_install python3 python3-venv && python=$(find_python); } || {
        printf '%s\n' "no Python >= 3.10 that can make a virtual environment" \
            "  hint: install one (Debian: apt install python3-venv), or set PYTHON=/path/to/python3" >&2
        return 69
    }
    stamp=$({ "$python" -VV && cat "$checkout"/{pyproject.toml,constraints.txt,hatch_build.py} && echo "$checkout"; } | cksum)
    if ! { [ -f "$record" ] && [ "$(cat "$record")" = "$stamp" ] && "$folder/bin/python" -c "import psiflow_cli"; }; then
        say "installing psiflow-cli[$extras] into $folder, with $("$python" -V)"
        if [ "$("$folder/bin/python" -VV 2>&1)" != "$("$python" -VV)" ]; then
            "$python" -m venv --clear "$folder" || return
        fi
        # torch first: the constraint names the one release that all the rest must agree with.
        "$folder/bin/python" -m pip install -q -c "$checkout/constraints.txt" torch || return
        "$folder/bin/python" -m pip install -q -c "$checkout/constraints.txt" -e "${checkout}[$extras]" || return
        printf '%s\n' "$stamp" >"$record"
    fi
    PATH="$(cd "$folder" && pwd)/bin:$PATH"
    export PATH
}
