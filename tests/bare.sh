#!/usr/bin/env bash
# Run the commands of README.md in a bare Debian or Ubuntu, which has git, python3 and python3-venv and nothing else.
#     tests/bare.sh trixie build/trixie                       make a root in that folder, and run both commands in it
#     tests/bare.sh trixie build/trixie ./tests/run.sh -x     run this in it instead, in the copy of the checkout
# Needs root, debootstrap and a network. The root stays for the next run; rm -r removes it: nothing is mounted in it
# except for a run of this script, which also ends what the command has started.
# pip's settings come along, and folders of wheels that they name are shown there, read-only.
set -euo pipefail
release=$1
mkdir -p "$2"
root=$(cd "$2" && pwd)
shift 2
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tests/bare_root.sh
. "$checkout/tests/bare_root.sh"
make_root "$release" "$root" git python3 python3-venv

# A copy as a user would clone it, with what is not committed yet, and the environments of an earlier run.
mkdir -p "$root/psiflow"
(cd "$root/psiflow" && find . -mindepth 1 -maxdepth 1 ! -name '.venv*' ! -name build -exec rm -r {} +)
git clone -q --no-checkout "$checkout" "$root/clone"
mv "$root/clone/.git" "$root/psiflow/" && rmdir "$root/clone"
(cd "$checkout" && git ls-files -coz --exclude-standard | tar -c --null --files-from=- --ignore-failed-read) |
    tar -x -C "$root/psiflow"

# (An index `simple` names files beside it.)
wheels=$(python3 -m pip config list 2>/dev/null | grep -oE "/[^ ',\"]+" | sed 's|^/*|/|; s|/simple$||' | sort -u |
    while IFS= read -r folder; do [ ! -d "$folder" ] || printf '%s ' "$folder"; done)
settings=(HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb)
while IFS= read -r setting; do settings+=("$setting"); done < <(env | grep -E '^(PIP_|SSL_CERT_FILE=|PSIFLOW_TEST_)')
for file in /etc/pip.conf "$HOME/.config/pip/pip.conf" /etc/ssl/certs/ca-certificates.crt; do
    place=$root${file/#"$HOME"//root}
    [ ! -e "$file" ] || { mkdir -p "$(dirname "$place")" && cp -L "$file" "$place"; }
done

# Runs in the namespaces that end with it: ROOT FOLDERS SETTINGS... -- COMMAND...
# shellcheck disable=SC2016
steps='
root=$1
for folder in dev sys; do mount --rbind "/$folder" "$root/$folder"; done
mount -t proc proc "$root/proc"
for folder in $2; do
    mkdir -p "$root$folder"
    mount --bind -o ro "$folder" "$root$folder"
done
shift 2
exec chroot "$root" env -i "$@"'
run() {
    unshare --mount --pid --fork --kill-child sh -euc "$steps" bare "$root" "$wheels" "${settings[@]}" \
        sh -c 'cd /psiflow && exec "$@"' sh "$@" </dev/null &
    # what is first in its namespace does not hear SIGINT and SIGTERM
    # shellcheck disable=SC2064
    trap "kill -KILL $!" INT TERM
    wait $!
}
if [ $# = 0 ]; then
    run ./recipes/quickstart.sh
    run ./tests/run.sh
else
    run "$@"
fi
