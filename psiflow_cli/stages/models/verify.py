"""Whether the files of a model are those it was made with."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from psiflow_cli import bundle
from psiflow_cli.errors import BadData
from psiflow_cli.worker.models.kernels import compiled_cache


class Problem(TypedDict):
    """What is wrong with a file, and what to do."""

    message: str
    hint: str


class Verified(TypedDict):
    """What became of the check."""

    model: str
    checked: int  # files
    wrong: list[Problem]
    state: str  # in words


def verify(model: bundle.Bundle) -> Verified:
    """How many files were checked, and what is wrong with them."""
    wrong = [] if model.is_foreign else list(bundle.differences(model))
    checked = len(model.facts["weights"])
    try:
        checked += len(bundle.training_data(model))
    except BadData as error:
        wrong.append(error)
    try:
        checked += bundle.calibration(model) is not None
    except BadData as error:
        wrong.append(error)
    for path in sorted(model.path.glob(f"member-*/{compiled_cache.FOLDER}/*")):
        if path.suffix != ".json":
            checked += 1
            wrong += _compiled(path, model)
    problems: list[Problem] = [{"message": error.message, "hint": error.hint} for error in wrong]
    state = (
        "a file without recorded checksums, so nothing can be verified"
        if model.is_foreign
        else "unchanged since it was written"
    )
    return {"model": str(model.path), "checked": checked, "wrong": problems, "state": state}


def _compiled(path: Path, model: bundle.Bundle) -> list[BadData]:
    """What is wrong with a compiled model: the rest of the bundle is good without it."""
    ending = "".join(path.suffixes)
    member = path.parent.parent.name
    digests = {str(Path(name).parent): digest for name, digest in model.facts["weights"].items()}
    if member in digests and compiled_cache.valid(path, ending, digests[member]):
        return []
    return [
        BadData(
            f"{path}: not compiled from these weights, or changed afterwards", "replace it with psiflow model compile"
        )
    ]
