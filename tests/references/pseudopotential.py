"""A pseudopotential of hydrogen, made in half a second by the program that comes with Quantum ESPRESSO."""

from __future__ import annotations

import subprocess
from pathlib import Path

NAME = "H.UPF"
_INPUT = """\
 &input
   title='H', zed=1.0, rel=0, config='1s1 2p-1', iswitch=3, dft='PBE'
 /
 &inputp
   pseudotype=1, file_pseudopw='{name}', lloc=0, tm=.true.
 /
1
1S 1 0 1.00 0.00 {radius} {radius} 0.0
"""


def hydrogen(folder: Path, name: str = NAME, radius: float = 1.10) -> Path:
    """Make H.UPF (norm-conserving, PBE) in a folder; needs ld1.x. The radius is that of the core, in bohr."""
    text = _INPUT.format(name=name, radius=radius)
    subprocess.run(["ld1.x"], cwd=folder, input=text, text=True, stdout=subprocess.DEVNULL, check=True)
    return folder / name
