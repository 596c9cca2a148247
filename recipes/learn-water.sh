#!/usr/bin/env bash
# Water that learns as it warms up: walkers continue from round to round, at 300 to 600 K, in a box of 8 molecules.
#     learn-water.sh [FOLDER]       default: ./learn-water; run it again to continue where it stopped
set -euo pipefail
# shellcheck source=recipes/examples.sh
. "$(dirname "${BASH_SOURCE[0]}")/examples.sh"
begin "${1:-learn-water}"
# molecules on a grid, every second one turned over, at the density of the liquid
preset start.xyz < <(awk 'BEGIN {
    a = 3.1; print 24
    printf "Lattice=\"%g 0 0 0 %g 0 0 0 %g\" Properties=species:S:1:pos:R:3 pbc=\"T T T\"\n", 2*a, 2*a, 2*a
    for (i = 0; i < 2; i++) for (j = 0; j < 2; j++) for (k = 0; k < 2; k++) {
        s = (i + j + k) % 2 ? -1 : 1; x = (i + .5)*a; y = (j + .5)*a; z = (k + .5)*a
        print "O", x, y, z; print "H", x + .76*s, y + .59*s, z; print "H", x - .76*s, y + .59*s, z
    } }')
preset loop.conf <<'EOF_CONF'
ROUNDS=3
FIRST=20
TEST=20
FRAMES=10
CONTINUE=yes
RESET=forces:300
TEMPERATURE=300:600
EOF_CONF
learn <<<'steps = 400'
