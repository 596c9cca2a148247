#!/usr/bin/env bash
# Delta-learning: train a model on the difference between your labels and a cheap method (the baseline), and add the two.
# For comparison, a model of the entire energy is trained on the same frames.
#     delta.sh DATA.xyz BASELINE [FOLDER]          default: ./delta
# DATA.xyz: frames with your labels, and the isolated atoms of your method (psiflow atomic-energies). BASELINE: a method that
# psiflow model combine accepts, such as xtb:method=GFN1-xTB or dftd:xc=pbe,version=d3, a model bundle, or a sum of these.
# FOLDER/psiflow.toml has the settings of both trainings.
#     PARTS=train=0.1,valid=0.02,test=0.88 delta.sh ...     sizes of the parts (default: 0.8, 0.1, 0.1)
# The test set costs a calculation with the baseline for each of its frames: a further part (rest=0.7) takes what is too many.
# Run it again if it was interrupted: it continues where it stopped.
set -euo pipefail
# shellcheck source=recipes/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

[ $# = 2 ] || [ $# = 3 ] || stop 2 "$(basename "$0"): two or three arguments, not $#" "$0 DATA.xyz BASELINE [FOLDER]"
data=$(path "$1")
baseline=$2
[ ! -e "$baseline" ] || baseline=$(path "$baseline")
need_psiflow
mkdir -p "${3:-delta}/direct" "${3:-delta}/delta"
cd "${3:-delta}"
say "working in $PWD"
preset psiflow.toml <<'EOF_TOML'
# Options of psiflow train, by their long names.
[train]
arch = "mace"
EOF_TOML

[ -d baseline.model ] || run psiflow model combine "$baseline" -o baseline.model
run psiflow split "$data" --parts "${PARTS:-train=0.8,valid=0.1,test=0.1}" --seed 1 -o data.xyz
for part in train valid; do
    run psiflow label "data.$part.xyz" --reference baseline.model --subtract-from energy -o "delta.$part.xyz"
done
run psiflow train delta.train.xyz --valid delta.valid.xyz --seed 1 -o difference.model
run psiflow model combine "baseline.model + difference.model" -o total.model
judge delta total.model data.test.xyz

run psiflow train data.train.xyz --valid data.valid.xyz --seed 1 -o direct.model
judge direct direct.model data.test.xyz

say "errors on $PWD/data.test.xyz: baseline plus difference (delta), and a model of the entire energy (direct)"
psiflow compare delta/errors.json direct/errors.json
say "the model is $PWD/total.model"
