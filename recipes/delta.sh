#!/usr/bin/env bash
# A model of the difference between your labels and a cheap method, which is easier to learn than the whole, and the two
# added to one model; beside it, a model of the whole from the same frames, to see what that gains.
#     delta.sh DATA.xyz BASELINE [FOLDER]          default: ./delta
# DATA.xyz: frames with your labels, and your method's isolated atoms (psiflow atomic-energies). BASELINE: what psiflow
# model combine takes: xtb:method=GFN1-xTB, dftd:xc=pbe,version=d3, a model bundle, or a sum of them.
# FOLDER/psiflow.toml has the settings of the trainings.
#     PARTS=train=0.1,valid=0.02,test=0.88 delta.sh ...     how the frames are divided (default: 0.8, 0.1, 0.1)
# If it stops for any reason, run it again: it continues where it stopped.
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

say "errors on $PWD/data.test.xyz: of the difference and the baseline together (delta), and of the whole learnt directly"
psiflow compare delta/errors.json direct/errors.json
say "the model is $PWD/total.model"
