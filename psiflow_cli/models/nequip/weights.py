"""A packaged NequIP or Allegro model: where it lies, and what it says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psiflow_cli.worker.failures import Fatal

Wire = dict[str, Any]

PACKAGE = ".nequip.zip"
SCALE_SHIFT = "PerTypeScaleShift"


def weights_file(member: str) -> Path:
    """The one packaged model in a member's folder, or the file that was named in place of one."""
    if Path(member).is_file():
        return Path(member)
    found = sorted(Path(member).glob(f"*{PACKAGE}"))
    if len(found) != 1:
        said = f"{member}: {len(found)} files named *{PACKAGE} in it, not one"
        raise Fatal(said, "is this a model bundle of NequIP or Allegro?", 66)
    return found[0]


def native_dtype(model: Any) -> str:
    return str(model.metadata["model_dtype"])


def describe(path: str) -> Wire:
    """*worker*: what a model file says of itself: elements, cutoff (Å), dtype, energies of isolated atoms (eV)."""
    from nequip.model.saved_models.load_utils import load_saved_model
    from nequip.utils.global_state import set_global_state

    set_global_state()
    model = load_saved_model(path)
    elements = list(model.type_names)
    shifts: list[float] = next(
        (m.shifts.reshape(-1).tolist() for m in model.modules() if type(m).__name__ == SCALE_SHIFT), []
    )
    if len(shifts) == 1:
        shifts *= len(elements)
    return {
        "elements": elements,
        "cutoff": float(model.metadata["r_max"]),
        "dtype": native_dtype(model),
        "atomic_energies": dict(zip(elements, shifts or [0.0] * len(elements), strict=True)),
    }
