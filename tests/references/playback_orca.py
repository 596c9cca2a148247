"""A stand-in for ORCA, which cannot be had here: reads its input, and writes what ORCA would for a harmonic molecule.

Every atom is on a spring to the origin: 0.1 Ha/bohr², less 0.5 Ha for each charge. It speaks in the layout of ORCA 5.
"""

from __future__ import annotations

import sys
from pathlib import Path

BOHR = 0.529177210903
SPRING = 0.1
HEADER = f"{' ' * 33}* O   R   C   A *\n\n{' ' * 25}Program Version 5.0.4 -  RELEASE  -\n"


def main() -> int:
    text = Path(sys.argv[1]).read_text()
    print(HEADER)
    lines = text.splitlines()
    if "nonsense" in text:
        print("UNRECOGNIZED OR DUPLICATED KEYWORD(S) IN SIMPLE INPUT LINE\n  nonsense")
        return 0  # as ORCA does
    if "maxiter 2" in text:
        print("               *        SERIOUS PROBLEM: SCF NOT CONVERGED AFTER   2 CYCLES *")
        return 0
    if "crash" in text:
        print(
            "[file orca_tools/qcmsg.cpp, line 465]:\n  .... aborting the run\nORCA finished by error termination in SCF"
        )
        return 0
    start = next(i for i, line in enumerate(lines) if line.startswith("*"))
    charge = int(lines[start].split()[2])
    rows = [[float(x) / BOHR for x in line.split()[1:]] for line in lines[start + 1 : -1]]
    energy = 0.5 * SPRING * sum(x * x for row in rows for x in row) - 0.5 * charge
    if "EnGrad" in text:
        gradient = "\n".join(f"{SPRING * x:22.12f}" for row in rows for x in row)
        Path(sys.argv[1]).with_suffix(".engrad").write_text(
            f"#\n# Number of atoms\n#\n {len(rows)}\n#\n# The current total energy in Eh\n#\n{energy:22.12f}\n#\n"
            f"# The current gradient in Eh/bohr\n#\n{gradient}\n#\n"
            "# The atomic numbers and current coordinates in Bohr\n#\n"
        )
    print(f"FINAL SINGLE POINT ENERGY {energy:22.12f}\n\n                             ****ORCA TERMINATED NORMALLY****")
    return 0


if __name__ == "__main__":
    sys.exit(main())
