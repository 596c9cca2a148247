#!/usr/bin/env bash
# A proton that goes from one molecule of water to another (H5O2+): a restraint of PLUMED moves it, a step each round.
#     learn-proton.sh [FOLDER]       default: ./learn-proton; run it again to continue where it stopped
set -euo pipefail
# shellcheck source=recipes/examples.sh
. "$(dirname "${BASH_SOURCE[0]}")/examples.sh"
need_plumed
begin "${1:-learn-proton}"
preset start.xyz <<'EOF_XYZ'
7
Properties=species:S:1:pos:R:3 charge=1 pbc="F F F"
O -1.30  0.00  0.00
O  1.30  0.00  0.00
H -0.25  0.00  0.00
H -1.65  0.80  0.40
H -1.65 -0.80  0.40
H  1.65  0.40  0.80
H  1.65  0.40 -0.80
EOF_XYZ
preset plumed.dat <<'EOF_PLUMED'
UNITS LENGTH=A ENERGY=eV
near: DISTANCE ATOMS=1,3
far: DISTANCE ATOMS=2,3
oxygens: DISTANCE ATOMS=1,2
transfer: COMBINE ARG=near,far COEFFICIENTS=1,-1 PERIODIC=NO
RESTRAINT ARG=transfer,oxygens AT=@AT@,2.6 KAPPA=10,10
EOF_PLUMED
moved='MOVINGRESTRAINT ARG=transfer,oxygens AT0=-0.6,2.6 STEP0=0 KAPPA0=10,10 AT1=0.6,2.6 STEP1=800'
preset across.dat < <(sed "s/^RESTRAINT.*/$moved/" plumed.dat)
test_path across.dat 800
preset loop.conf <<'EOF_CONF'
ROUNDS=3
FIRST=20
FRAMES=10
CONTINUE=yes
RESET=forces:500
PLUMED=plumed.dat
VARY=(AT=-0.5:0.5)
EOF_CONF
learn <<<'steps = 400'
