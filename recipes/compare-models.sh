#!/usr/bin/env bash
# Compare model families: each is trained on the same frames and evaluated on the same test set, in one table.
#     compare-models.sh DATA.xyz [FOLDER]          default: ./comparison
#     FAMILIES="mace allegro" compare-models.sh DATA.xyz     default: mace nequip allegro
# DATA.xyz: labelled frames, and the isolated atoms (psiflow atomic-energies; else e0s in [train] of FOLDER/psiflow.toml).
# FOLDER/FAMILY.toml has the settings of each family, one `name = value` per line with its trainer's own names; psiflow's
# defaults supply the rest. Missing files are written with the values below. A family without an environment is skipped
# (create it with psiflow env create FAMILY).
# If it stops for any reason, run it again: it continues where it stopped.
set -euo pipefail
# shellcheck source=recipes/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

[ $# = 1 ] || [ $# = 2 ] || stop 2 "$(basename "$0"): one or two arguments, not $#" "$0 DATA.xyz [FOLDER]"
data=$(path "$1")
need_psiflow
mkdir -p "${2:-comparison}"
cd "${2:-comparison}"
say "working in $PWD"
read -ra families <<<"${FAMILIES:-mace nequip allegro}"

# The same cut-off, precision and number of epochs, and a similar small size, for testing.
preset mace.toml <<'EOF_MACE'
r_max = 4.5
default_dtype = "float32"
max_num_epochs = 60
batch_size = 4
lr = 0.01
num_channels = 16
max_L = 1
correlation = 2
energy_weight = 100
EOF_MACE
preset nequip.toml <<'EOF_NEQUIP'
r_max = 4.5
model_dtype = "float32"
max_epochs = 60
batch_size = 4
num_layers = 2
num_features = 16
l_max = 1
EOF_NEQUIP
preset allegro.toml <<'EOF_ALLEGRO'
r_max = 4.5
model_dtype = "float32"
max_epochs = 60
batch_size = 4
num_layers = 2
num_tensor_features = 16
l_max = 1
EOF_ALLEGRO

run psiflow split "$data" --parts train=0.8,valid=0.1,test=0.1 --seed 1 -o data.xyz
errors=()
for family in "${families[@]}"; do
    training=(data.train.xyz --valid data.valid.xyz --arch "$family")
    # 78: this family cannot be trained here, and the reason was printed; without settings, whose errors also give 78
    code=0
    psiflow train "${training[@]}" --dry-run >/dev/null || code=$?
    case $code in
    0) ;;
    78)
        say "$family is skipped"
        continue
        ;;
    *) exit "$code" ;;
    esac
    settings=()
    while IFS= read -r line || [ -n "$line" ]; do
        line=${line%%#*}
        case $line in *=*) settings+=(--set "$line") ;; esac
    done <"$family.toml"
    mkdir -p "$family"
    run psiflow train "${training[@]}" ${settings[@]+"${settings[@]}"} --seed 1 -o "$family/trained.model"
    judge "$family" "$family/trained.model" data.test.xyz
    errors+=("$family/errors.json")
done
[ ${#errors[@]} -gt 0 ] || stop 78 "none of these families can be trained here: ${families[*]}" "psiflow env create ${families[0]}"

say "errors on $PWD/data.test.xyz, which no model was trained on"
psiflow compare "${errors[@]}"
