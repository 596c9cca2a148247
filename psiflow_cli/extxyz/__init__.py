"""Extended XYZ as text, in constant memory and without numpy: read, check, hash, label, change, write.

The units are Å, eV, eV/Å and eV/Å³. The format: https://github.com/libAtoms/extxyz; where it leaves room, what
`ase.io` reads and writes decides.
"""

from psiflow_cli.extxyz.frame import Frame
from psiflow_cli.extxyz.identity import frame_id, message
from psiflow_cli.extxyz.labelling.reading import (
    CANDIDATES,
    FAILURE,
    LABELS,
    MORE,
    PREDICTIONS,
    PROVENANCE,
    label,
    label_names,
    labels,
    parse_keys,
    unused_stress,
    unused_stress_note,
)
from psiflow_cli.extxyz.reader import read
from psiflow_cli.extxyz.stream import open_bytes, write
from psiflow_cli.extxyz.writer import new_frame, render

__all__ = [
    "CANDIDATES", "FAILURE", "LABELS", "MORE", "PREDICTIONS", "PROVENANCE", "Frame", "frame_id", "label", "label_names",
    "labels", "message", "new_frame", "open_bytes", "parse_keys", "read", "render", "unused_stress",
    "unused_stress_note", "write",
]  # fmt: skip
