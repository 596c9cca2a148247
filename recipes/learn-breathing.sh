#!/usr/bin/env bash
# A framework that breathes: cristobalite (24 atoms), whose rings fold under pressure and open under tension.
#     learn-breathing.sh [FOLDER]       default: ./learn-breathing; run it again to continue where it stopped
set -euo pipefail
# shellcheck source=recipes/examples.sh
. "$(dirname "${BASH_SOURCE[0]}")/examples.sh"
begin "${1:-learn-breathing}"
# silicon on the places of diamond, oxygen half way between neighbours
preset start.xyz < <(awk 'BEGIN {
    a = 7.16; print 24
    printf "Lattice=\"%g 0 0 0 %g 0 0 0 %g\" Properties=species:S:1:pos:R:3 pbc=\"T T T\"\n", a, a, a
    n = split("0 0 0  0 .5 .5  .5 0 .5  .5 .5 0", f); m = split("1 1 1  1 -1 -1  -1 1 -1  -1 -1 1", d)
    for (i = 1; i < n; i += 3) {
        print "Si", a*f[i], a*f[i+1], a*f[i+2]; print "Si", a*(f[i] + .25), a*(f[i+1] + .25), a*(f[i+2] + .25)
        for (j = 1; j < m; j += 3) print "O", a*(f[i] + d[j]/8), a*(f[i+1] + d[j+1]/8), a*(f[i+2] + d[j+2]/8)
    } }')
preset loop.conf <<'EOF_CONF'
ROUNDS=3
FIRST=20
STRAIN=0.03
TEST=20
FRAMES=10
CONTINUE=yes
RESET=forces:500
EOF_CONF
learn <<'EOF_TOML'
ensemble = "npt"
cell = "flexible"
pressure = "0 bar"
steps = 400
[sample.round-2]
pressure = "2 GPa"
[sample.round-3]
pressure = "-2 GPa"
EOF_TOML
