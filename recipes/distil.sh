#!/usr/bin/env bash
# Train a fast model on an accurate one: a teacher samples frames and labels them, and a student is trained on them. The
# student is evaluated on other frames of the teacher's dynamics, and on frames of its own dynamics.
#     distil.sh TEACHER START.xyz [FOLDER]          default: ./distilled
# TEACHER: a model bundle, or a trainer's model file that you trust (it is a program). START.xyz: the start structures of
# the dynamics. FOLDER/psiflow.toml has the settings of the dynamics and of the student.
#     FRAMES=500 distil.sh ...     number of frames that the teacher labels (default: 200)
# If it stops for any reason, run it again with the same FRAMES: it continues where it stopped.
set -euo pipefail
# shellcheck source=recipes/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

[ $# = 2 ] || [ $# = 3 ] || stop 2 "$(basename "$0"): two or three arguments, not $#" "$0 TEACHER START.xyz [FOLDER]"
teacher=$(path "$1")
start=$(path "$2")
need_psiflow
mkdir -p "${3:-distilled}/test" "${3:-distilled}/visited"
cd "${3:-distilled}"
say "working in $PWD"
preset psiflow.toml <<'EOF_TOML'
# Options of psiflow's commands, by their long names.
[sample]
temperature = "300,450,600"     # a wider range than the student will be used for
steps = 2000
every = 10
[train]
arch = "mace"
set = [                         # MACE's own names: a small and fast student
    "num_channels=16", "max_L=0", "correlation=2", "r_max=4.5", "batch_size=4",
    "lr=0.01", "energy_weight=100", "max_num_epochs=100",
]
EOF_TOML
trust=()
[ -d "$teacher" ] || trust=(--trust)

run psiflow sample "$start" --model "$teacher" "${trust[@]}" --seed 1 -o samples.xyz
run psiflow select samples.xyz -n "${FRAMES:-200}" --by farthest --model "$teacher" "${trust[@]}" -o selected.xyz
run psiflow label selected.xyz --reference "$teacher" "${trust[@]}" -o labelled.xyz
run psiflow atomic-energies "$start" --reference "$teacher" "${trust[@]}" -o atoms.xyz
run psiflow split labelled.xyz --parts train=0.8,valid=0.1,test=0.1 --seed 1
run psiflow train labelled.train.xyz atoms.xyz --valid labelled.valid.xyz --seed 1 -o student.model
judge test student.model labelled.test.xyz

# structures of the student's own dynamics; if it becomes unphysical, it is stopped, and the errors show this
run psiflow sample "$start" --model student.model --seed 2 --max-failed 100% -o visited/samples.xyz
run psiflow select visited/samples.xyz -n 50 --by random --seed 1 -o visited/selected.xyz
run psiflow label visited/selected.xyz --reference "$teacher" "${trust[@]}" -o visited/labelled.xyz
judge visited student.model visited/labelled.xyz

say "errors of the student relative to its teacher: on frames of the teacher's dynamics (test) and of its own (visited)"
psiflow compare test/errors.json visited/errors.json
say "the student is $PWD/student.model"
