# shellcheck shell=bash
# Functions shared by the examples of learning (learn-*.sh), which source this file; it is not run by itself.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=recipes/steps.sh
. "$here/steps.sh"

# begin FOLDER: go there, with a psiflow that has MACE and xTB: the one on PATH, or a new installation.
begin() {
    local checkout program
    checkout=$(dirname "$here")
    program=$(readlink -f "$(command -v psiflow)" || true)
    if ! "$(dirname "${program:-/nowhere/psiflow}")/python" -c 'import mace, psiflow_cli, tblite' 2>/dev/null; then
        [ -f "$checkout/pyproject.toml" ] || stop 69 "psiflow lacks MACE or xTB" "pip install 'psiflow-cli[mace,xtb]'"
        use_environment "${PSIFLOW_VENV:-$checkout/.venv}" "$checkout" mace,xtb
    fi
    mkdir -p "$1"
    cd "$1" || exit
}

# need_plumed: check for its library, which pip cannot install.
need_plumed() {
    [ -e "${PLUMED_KERNEL:-}" ] || stop 69 "this example needs PLUMED, but PLUMED_KERNEL is not the path of a libplumedKernel.so" \
        "conda install -c conda-forge plumed py-plumed, then export PLUMED_KERNEL=\$CONDA_PREFIX/lib/libplumedKernel.so"
}

# test_path PLUMED STEPS: write test.xyz, with frames of xTB dynamics that the PLUMED input drives along the path.
test_path() {
    local input
    input=$(path "$1")
    [ ! -e test.xyz ] || return 0
    mkdir -p test
    ( # a folder without the psiflow.toml of the rounds
        cd test || exit
        [ -d xtb.model ] || run psiflow model combine xtb -o xtb.model
        run psiflow sample ../start.xyz --model xtb.model --plumed "$input" --steps "$2" --every $(($2 / 40)) -o samples.xyz
        run psiflow label samples.xyz --reference xtb -o labelled.xyz
    )
    together test.xyz test/labelled.xyz
}

# learn: write psiflow.toml with stdin as part of [sample], a small MACE model and xTB as the method; then run the loop.
learn() {
    local sample
    sample=$(cat)
    preset psiflow.toml <<EOF_TOML
[sample]
walkers = 4
every = 10
max-spread = 3.0
$sample
[label]
reference = "xtb"
max-failed = 0.2
[atomic-energies]
reference = "xtb"
[train]
arch = "mace"
members = 3
set = [
    "num_channels=16", "max_L=0", "correlation=2", "r_max=4.0", "batch_size=4",
    "lr=0.01", "energy_weight=100", "max_num_epochs=40", "default_dtype=float64",
]
EOF_TOML
    exec bash "$here/online-learning.sh" start.xyz .
}
