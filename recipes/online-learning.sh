#!/usr/bin/env bash
# Active learning with a committee. Each round runs molecular dynamics, selects the frames with the largest disagreement
# of the members, labels them, and trains a new committee, which is evaluated on a test set that is never trained on.
#     online-learning.sh START.xyz [FOLDER]        default: ./learning
# START.xyz: the start structures of the dynamics. FOLDER/loop.conf has the settings of the rounds, FOLDER/psiflow.toml
# those of each command (method, model, dynamics, site); the first run writes both with defaults, which you can change.
# The steps are in rounds.sh beside this script, the results of each round in FOLDER/round-K.
# If it stops for any reason, run it again: it continues where it stopped. Exit code 75 means that the time limit was
# reached.
set -euo pipefail
# shellcheck source=recipes/rounds.sh
. "$(dirname "${BASH_SOURCE[0]}")/rounds.sh"

[ $# = 1 ] || [ $# = 2 ] || stop 2 "$(basename "$0"): one or two arguments, not $#" "$0 START.xyz [FOLDER]"
enter "$1" "${2:-learning}"
for name in $(steps); do
    step "$name"
done
conclude
