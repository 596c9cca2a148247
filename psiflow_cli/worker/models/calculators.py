"""A model's ASE calculator, loaded once for all the tasks of a worker process."""

from __future__ import annotations

import importlib.util
import sys
import threading
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from psiflow_cli.worker.models import committee, weights
from psiflow_cli.worker.pool.call import resolve

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

    from psiflow_cli.messages import Context, ModelWeights

_loaded: dict[tuple[str, ...], list[Calculator]] = {}
"""The last model of each thread: calculators hold the positions that they were asked about."""


def calculator(model: ModelWeights, context: Context) -> Calculator:
    """The calculator of a model; of a committee, their mean, with their `spread`. Raises Fatal for replaced weights.

    The last model is kept, and
    comes back without memory of earlier positions: a neighbour list that remembers them would change the last digits
    of forces.
    """
    weights.check(model.get("weights", {}))
    family = model["family"]
    thread = str(threading.get_ident())
    key = (thread, family, *model["members"], *(str(context.get(name)) for name in ("device", "dtype", "head")))
    if key not in _loaded:
        for other in [each for each in list(_loaded) if each[0] == thread]:
            del _loaded[other]  # two models may not fit on one GPU
        make = resolve(f"{module(family)}:calculator")
        _loaded[key] = [cast("Calculator", make(member, context)) for member in model["members"]]
        if context.get("device") != "cuda":
            same_digits()
    members = _loaded[key]
    for member in members:
        member.reset()
    if len(members) == 1:
        return members[0]
    return committee.mean(members)


@lru_cache
def module(family: str) -> str:
    """The module of a family, for `call.resolve`; a module or a file of the user's own stays what it is."""
    if "." in family:
        return family
    trained = f"psiflow_cli.models.{family}"
    return trained if importlib.util.find_spec(trained) else f"psiflow_cli.potentials.{family}"


def same_digits() -> None:
    """Keep TorchScript from rewriting a model after its first calls, where torch is loaded.

    It profiles two calls and fuses what it saw, which changes the last digits in float32: a walker that goes on in a
    new process would leave its path. On a CPU the fusion gains nothing (measured with MACE, 81 atoms).
    """
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch.jit, "set_fusion_strategy"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript as a whole is
            torch.jit.set_fusion_strategy([("DYNAMIC", 0)])
