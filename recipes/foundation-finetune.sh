#!/usr/bin/env bash
# Fine-tune a foundation model on your own labels, with its errors before and after.
#     foundation-finetune.sh MODEL DATA.xyz [FOLDER]          default: ./finetuned
# MODEL: a model file that you trust (loading it can run any code in it), such as mace-mp-0b3-medium.model, or a bundle.
# DATA.xyz: frames with your labels, and the isolated atoms of your method (psiflow atomic-energies), because the energies
# of the model belong to the method that it was trained on. FOLDER/psiflow.toml has the settings of the fine-tuning.
#     SIZES="20 50" foundation-finetune.sh ...     also fine-tunes on 20 and on 50 of the training frames, and trains a model
#         from scratch on the same frames, with the settings of FOLDER/scratch/psiflow.toml: which of the two is better with
#         how many frames?
#     PARTS=train=0.1,valid=0.02,test=0.88 foundation-finetune.sh ...     sizes of the parts (default: 0.8, 0.1, 0.1)
#     HEAD=NAME foundation-finetune.sh ...     head of MODEL to use, if it has several; the fine-tuned model has only this one
# Run it again if it was interrupted: it continues where it stopped.
set -euo pipefail
# shellcheck source=recipes/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

[ $# = 2 ] || [ $# = 3 ] || stop 2 "$(basename "$0"): two or three arguments, not $#" "$0 MODEL DATA.xyz [FOLDER]"
model=$(path "$1")
data=$(path "$2")
read -ra sizes <<<"${SIZES:-}"
for size in ${sizes[@]+"${sizes[@]}"}; do
    [[ $size =~ ^[1-9][0-9]*$ ]] || stop 2 "SIZES: $size is not a number of frames" "SIZES=\"20 50\" $0 MODEL DATA.xyz"
done
need_psiflow
mkdir -p "${3:-finetuned}/before" "${3:-finetuned}/after"
cd "${3:-finetuned}"
say "working in $PWD"
preset psiflow.toml <<'EOF_TOML'
# Options of psiflow train, by their long names. The architecture is that of the foundation model; the other defaults are
# those of MACE's guide to fine-tuning, and training ends when the validation loss stops falling.
[train]
# set = ["lr=0.001", "max_num_epochs=100", "batch_size=4"]
# set = ["lora=true", "lora_rank=8"]
EOF_TOML
use=()
[ -d "$model" ] || use=(--trust)
[ -z "${HEAD:-}" ] || use+=(--head "$HEAD")

# tune FRAMES OUT.model: the isolated atoms are those of the data, not of the model. --no-replay leaves out the training
# data of a bundle, because their labels may be from another method; if they are not, remove it, and less is forgotten.
tune() {
    run psiflow train "$1" --valid data.valid.xyz --init "$model" "${use[@]}" --no-replay --e0s data.train.xyz --seed 1 -o "$2"
}

# from_scratch FRAMES OUT.model, both named as seen from the folder scratch/, whose psiflow.toml holds for it.
from_scratch() {
    (cd scratch && run psiflow train "$1" --valid ../data.valid.xyz --e0s ../data.train.xyz --seed 1 -o "$2")
}

run psiflow split "$data" --parts "${PARTS:-train=0.8,valid=0.1,test=0.1}" --seed 1 -o data.xyz
judge before "$model" data.test.xyz "${use[@]}"
tune data.train.xyz tuned.model
judge after tuned.model data.test.xyz

say "errors on $PWD/data.test.xyz, which neither was trained on (before: energies may have another zero)"
psiflow compare before/errors.json after/errors.json

if [ ${#sizes[@]} -gt 0 ]; then
    mkdir -p scratch
    preset scratch/psiflow.toml <<'EOF_TOML'
# Options of psiflow train for the models from scratch.
[train]
arch = "mace"
EOF_TOML
    errors=()
    for size in "${sizes[@]}"; do
        mkdir -p "tuned/$size" "scratch/$size"
        run psiflow select data.train.xyz -n "$size" --by random --seed 1 -o "tuned/$size/frames.xyz"
        tune "tuned/$size/frames.xyz" "tuned/$size/tuned.model"
        judge "tuned/$size" "tuned/$size/tuned.model" data.test.xyz
        from_scratch "../tuned/$size/frames.xyz" "$size/scratch.model"
        judge "scratch/$size" "scratch/$size/scratch.model" data.test.xyz
        errors+=("tuned/$size/errors.json" "scratch/$size/errors.json")
    done
    say "the same by number of training frames: fine-tuned (tuned), and trained from scratch (scratch)"
    psiflow compare "${errors[@]}"
    for size in "${sizes[@]}"; do
        better="fine-tuning"
        ! holds "tuned/$size/errors.json" "scratch/$size/errors.json" --improved 0 || better="training from scratch"
        say "forces with $size frames: $better is better"
    done
fi
say "the model is $PWD/tuned.model"
