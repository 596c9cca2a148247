#!/usr/bin/env bash
# A potential that learns where it is unsure. Each round: molecular dynamics with a committee of models, the frames that
# its members disagree about most, their labels, a new committee; all judged by a test set that no round trains on.
#     online-learning.sh START.xyz [FOLDER]        default: ./learning
# START.xyz: the structures that the dynamics begins from. FOLDER/loop.conf says how the rounds go, FOLDER/psiflow.toml how
# each command works (method, model, dynamics, site); the first run writes both with defaults, for you to change.
# rounds.sh, beside this, has the steps; FOLDER/round-K what came of each round.
# Run it again after whatever ended it: it goes on where it was. Exit code 75 means that the time was up.
set -euo pipefail
# shellcheck source=recipes/rounds.sh
. "$(dirname "${BASH_SOURCE[0]}")/rounds.sh"

[ $# = 1 ] || [ $# = 2 ] || stop 2 "$(basename "$0"): one or two arguments, not $#" "$0 START.xyz [FOLDER]"
enter "$1" "${2:-learning}"
for name in $(steps); do
    step "$name"
done
conclude
