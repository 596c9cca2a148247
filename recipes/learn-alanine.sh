#!/usr/bin/env bash
# Alanine dipeptide (22 atoms) with metadynamics of its two dihedral angles, which drives it from basin to basin.
#     learn-alanine.sh [FOLDER]       default: ./learn-alanine; run it again to continue where it stopped
set -euo pipefail
# shellcheck source=recipes/examples.sh
. "$(dirname "${BASH_SOURCE[0]}")/examples.sh"
need_plumed
begin "${1:-learn-alanine}"
preset start.xyz <<'EOF_XYZ'
22
Properties=species:S:1:pos:R:3 pbc="F F F"
C -3.644 0.592 -0.092
C -2.462 -0.241 0.324
O -2.576 -1.215 1.061
N -1.262 0.185 -0.181
C -0.000 -0.456 0.165
C 0.221 -1.715 -0.667
C 1.131 0.562 -0.075
O 0.940 1.623 -0.669
N 2.362 0.188 0.422
C 3.532 1.002 0.214
H -4.026 1.130 0.780
H -3.376 1.317 -0.865
H -4.421 -0.065 -0.491
H -1.196 1.064 -0.687
H -0.021 -0.707 1.232
H 0.273 -1.476 -1.735
H -0.595 -2.431 -0.527
H 1.156 -2.215 -0.394
H 2.482 -0.740 0.808
H 3.908 0.820 -0.797
H 4.290 0.716 0.947
H 3.285 2.061 0.326
EOF_XYZ
preset plumed.dat <<'EOF_PLUMED'
UNITS LENGTH=A ENERGY=kj/mol
phi: TORSION ATOMS=2,4,5,7
psi: TORSION ATOMS=4,5,7,9
METAD ARG=phi,psi SIGMA=0.35,0.35 HEIGHT=4.0 PACE=10 BIASFACTOR=10 TEMP=300 FILE=HILLS
PRINT ARG=phi,psi STRIDE=10 FILE=COLVAR
EOF_PLUMED
preset around.dat <<'EOF_PLUMED'
UNITS LENGTH=A ENERGY=kj/mol
phi: TORSION ATOMS=2,4,5,7
MOVINGRESTRAINT ARG=phi STEP0=0 AT0=-2.8 KAPPA0=300 STEP1=500 AT1=-1 STEP2=1000 AT2=1 STEP3=1500 AT3=2.8
EOF_PLUMED
test_path around.dat 1600
preset loop.conf <<'EOF_CONF'
ROUNDS=3
FIRST=30
FRAMES=15
CONTINUE=yes
RESET=forces:500
PLUMED=plumed.dat
EOF_CONF
learn <<'EOF_TOML'
share-bias = true
steps = 500
EOF_TOML
