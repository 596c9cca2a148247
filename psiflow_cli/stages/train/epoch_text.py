"""The numbers of a finished epoch that a user looks for, as short texts; the progress line and `status` show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psiflow_cli.messages import Epoch

_ERRORS = (("E", "e_meV_per_atom", "meV/atom"), ("F", "f_meV_per_A", "meV/Å"))
_STAGES = ("", "stage one", "stage two")


def parts(epoch: Epoch | Mapping[str, object]) -> list[str]:
    """The most important first: validation errors (RMSE where the trainer has it), stage, losses, learning rate."""
    return list(_parts(epoch))


def _parts(epoch: Epoch | Mapping[str, object]) -> Iterator[str]:
    for symbol, ending, unit in _ERRORS:
        for kind, name in (("rmse", symbol), ("mae", f"{symbol} MAE")):
            if isinstance(value := epoch.get(f"{kind}_{ending}"), (int, float)):
                yield f"{name} {_short(value)} {unit}"
                break
    if stage := epoch.get("stage"):
        yield _STAGES[stage] if isinstance(stage, int) and stage < len(_STAGES) else f"stage {stage}"
    for key, name in (("loss", "loss"), ("valid_loss", "validation loss"), ("lr", "lr")):
        if isinstance(value := epoch.get(key), (int, float)):
            yield f"{name} {_short(value)}"


def _short(value: float) -> str:
    """About three digits; no exponent for the sizes of usual errors."""
    return f"{value:.0f}" if 1000 <= value < 100_000 else f"{value:.3g}"
