"""Training data with the labels under the keys that MACE is safe with.

MACE 0.3.16 takes a missing `stress` or `forces` for zeros with full weight, and the energy of an isolated atom for
zero, when the keys are ASE's own names; with `REF_*` keys it leaves a missing label out of the loss.
"""

from __future__ import annotations

from pathlib import Path

from psiflow_cli import atomic_file
from psiflow_cli.worker.structures.training_frames import training_frames

_LABELS = ("energy", "stress")


def relabel(source: Path, target: Path, head: str | None = None) -> int:
    """Copy extended XYZ, less isolated atoms, with labels renamed to `REF_*`; returns the number of frames.

    `head`: those of this head only.
    """
    count = 0
    with source.open(encoding="utf-8") as lines, atomic_file.writing(target) as output:
        for words, atoms in training_frames(lines, head):
            output.write(f"{len(atoms)}\n{' '.join(map(_renamed, words))}\n{''.join(atoms)}".encode())
            count += 1
    return count


def _renamed(token: str) -> str:
    key, sign, value = token.partition("=")
    name = key.strip("\"'")
    if name == "Properties":
        fields = value.strip("\"'").split(":")
        fields[::3] = [_label(field, ("forces",)) for field in fields[::3]]
        return f"Properties={':'.join(fields)}"
    return _label(name, _LABELS) + sign + value if name in _LABELS or name.startswith("REF_") else token


def _label(name: str, labels: tuple[str, ...]) -> str:
    """`REF_` before the labels; what already begins so is another's and must not be taken for them."""
    if name in labels:
        return f"REF_{name}"
    return f"input_{name}" if name.startswith("REF_") else name
