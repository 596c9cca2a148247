#!/usr/bin/env bash
# A general model made good at one thing: a foundation model is judged, trained further on your own labels, judged again.
#     foundation-finetune.sh MODEL DATA.xyz [FOLDER]          default: ./finetuned
# MODEL: a file that you have and trust (it is a program), such as mace-mp-0b3-medium.model, or a bundle of psiflow's.
# DATA.xyz: frames with your labels, and your method's isolated atoms (psiflow atomic-energies): the model's own energies
# belong to the method that it was made with. FOLDER/psiflow.toml has the settings of the training.
# HEAD in the environment: which head of a model that has several; the tuned model has this one alone.
# If it stops for any reason, run it again: it continues where it stopped.
set -euo pipefail
# shellcheck source=recipes/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

[ $# = 2 ] || [ $# = 3 ] || stop 2 "$(basename "$0"): two or three arguments, not $#" "$0 MODEL DATA.xyz [FOLDER]"
model=$(path "$1")
data=$(path "$2")
need_psiflow
mkdir -p "${3:-finetuned}/before" "${3:-finetuned}/after"
cd "${3:-finetuned}"
say "working in $PWD"
preset psiflow.toml <<'EOF_TOML'
# Options of psiflow train, by their long names. The architecture stays that of the model; the rest is what MACE's guide
# to fine-tuning advises, and the training ends when the validation loss no longer falls.
[train]
# set = ["lr=0.001", "max_num_epochs=100", "batch_size=4"]
# set = ["lora=true", "lora_rank=8"]
EOF_TOML
use=()
[ -d "$model" ] || use=(--trust)
[ -z "${HEAD:-}" ] || use+=(--head "$HEAD")

run psiflow split "$data" --parts train=0.8,valid=0.1,test=0.1 --seed 1 -o data.xyz
judge before "$model" data.test.xyz "${use[@]}"
# The isolated atoms in the training data count, not the model's. What a bundle was trained on is not trained on again,
# since its labels may come from another method; if they do not, leave out --no-replay, so that less is forgotten.
run psiflow train data.train.xyz --valid data.valid.xyz --init "$model" "${use[@]}" --no-replay \
    --e0s data.train.xyz --seed 1 -o tuned.model
judge after tuned.model data.test.xyz

say "errors on $PWD/data.test.xyz, which neither was trained on (before: the energies may have another zero)"
psiflow compare before/errors.json after/errors.json
say "the model is $PWD/tuned.model"
