"""Why tests cannot run a program: it is not installed, or the package of this release is broken."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.references import pseudopotential

_ESPRESSO = f"""\
&CONTROL
  pseudo_dir = '.', outdir = '.'
/
&SYSTEM
  ibrav = 1, a = 4, nat = 1, ntyp = 1, ecutwfc = 4, occupations = 'smearing', degauss = 0.1
/
&ELECTRONS
  electron_maxstep = 1
/
ATOMIC_SPECIES
H 1.008 {pseudopotential.NAME}
ATOMIC_POSITIONS angstrom
H 0 0 0
K_POINTS gamma
"""


@functools.cache
def missing(program: str) -> str:
    """The reason for a skip; "" if the program can be used."""
    needed = ("pw.x", "ld1.x") if program == "pw.x" else (program,)
    if not all(map(shutil.which, needed)):
        return f"{program} is not installed"
    if program == "pw.x" and _aborts():
        return "every run of this pw.x aborts with a buffer overflow, as that of Ubuntu 24.04 does"
    return ""


def _aborts() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        pseudopotential.hydrogen(Path(folder))
        Path(folder, "h.in").write_text(_ESPRESSO)
        done = subprocess.run(["pw.x", "-in", "h.in"], cwd=folder, capture_output=True, text=True)
    return "buffer overflow detected" in done.stdout + done.stderr
