#!/usr/bin/env bash
# The main workflow in a few minutes on two cores: from one molecule to a potential and its dynamics.
#     quickstart.sh [FOLDER]        default: ./quickstart; run it again to continue where it stopped
# The psiflow on PATH is used if it has MACE and xTB; otherwise psiflow is installed into $PSIFLOW_VENV
# (default: .venv in the checkout). This needs only Python >= 3.10 and a network.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(dirname "$here")
folder=${1:-quickstart}
# shellcheck source=recipes/steps.sh
. "$here/steps.sh"
unset PSIFLOW_SITE

# The Python of `psiflow`.
its_python() {
    local program
    program=$(readlink -f "$(command -v psiflow)") && printf '%s/python' "$(dirname "$program")"
}
# Does it have the packages for this recipe?
complete() {
    "$(its_python)" -c '
import importlib.util as util, sys
sys.exit(not all(map(util.find_spec, ("ase", "mace", "matplotlib", "psiflow_cli", "tblite"))))' 2>/dev/null
}
if complete; then
    say "using $(command -v psiflow)"
elif [ -f "$checkout/pyproject.toml" ]; then
    use_environment "${PSIFLOW_VENV:-$checkout/.venv}" "$checkout" mace,xtb
else
    printf '%s\n' "psiflow lacks MACE or xTB" "  hint: pip install 'psiflow-cli[mace,xtb]' into its environment" >&2
    exit 69
fi

mkdir -p "$folder"
cd "$folder"
say "working in $PWD"

# One ethanol molecule near its minimum, and isolated atoms of its three elements: a model is trained on energies
# relative to those of the atoms, so that it describes dissociation correctly.
cat >ethanol.xyz <<'EOF'
9
Properties=species:S:1:pos:R:3 pbc="F F F"
C   1.177746 -0.403882  0.000000
C  -0.003437  0.553850  0.000000
O  -1.193634 -0.206924  0.000000
H  -1.951169  0.386294  0.000000
H   0.038623  1.197553  0.891305
H   0.038623  1.197553 -0.891305
H   2.112583  0.149414  0.000000
H   1.135171 -1.037787  0.880757
H   1.135171 -1.037787 -0.880757
EOF
cat >atoms.xyz <<'EOF'
1
Properties=species:S:1:pos:R:3 config_type=IsolatedAtom multiplicity=2 pbc="F F F"
H 0.0 0.0 0.0
1
Properties=species:S:1:pos:R:3 config_type=IsolatedAtom multiplicity=3 pbc="F F F"
C 0.0 0.0 0.0
1
Properties=species:S:1:pos:R:3 config_type=IsolatedAtom multiplicity=3 pbc="F F F"
O 0.0 0.0 0.0
EOF

say "1. distorted copies of the molecule"
run psiflow rattle ethanol.xyz -n 120 --amplitude 0.06 --seed 1 -o rattled.xyz

say "2. energies and forces of these and of the atoms, from a quantum-chemical method (here xTB)"
run psiflow label rattled.xyz --reference xtb -o labelled.xyz
run psiflow label atoms.xyz --reference xtb -o atoms.labelled.xyz

say "3. training, validation and test sets"
run psiflow split labelled.xyz --parts train=0.8,valid=0.1,test=0.1 --seed 1

say "4. a model; the settings after --set have MACE's own names (small values for a demonstration)"
run psiflow train labelled.train.xyz atoms.labelled.xyz --valid labelled.valid.xyz --arch mace --seed 1 \
    --set num_channels=16 --set max_L=0 --set correlation=2 --set r_max=4.0 --set batch_size=4 \
    --set lr=0.01 --set energy_weight=100 --set max_num_epochs=60 --set default_dtype=float64 -o ethanol.model

say "5. its errors on the test set"
result_to errors.json psiflow evaluate labelled.test.xyz --model ethanol.model --plot parity.png -o evaluated.xyz --json

say "6. molecular dynamics with it: four walkers, 250 fs each"
run psiflow sample ethanol.xyz --model ethanol.model --ensemble nvt --temperature 300 --timestep 0.5 \
    --steps 500 --every 20 --walkers 4 --seed 1 -o trajectory.xyz

say "7. all runs"
run psiflow status

say "errors on the test set, from errors.json"
psiflow compare errors.json >&2

say "results in $PWD:"
cat >&2 <<'EOF'
  parity.png            predictions against labels
  evaluated.xyz         predictions and labels of each frame
  ethanol.model/        the model: model.toml, learning-curve.png, MACE's own weights in member-0/
  trajectory.xyz        the walkers' frames (ase gui trajectory.xyz)
  *.run/                one folder per command: its settings, journal and logs
If you run this script again, it is up to date. If you change a setting, only what depends on it is computed again.
EOF
