"""A model bundle as a reference, for distillation and for tests: `--reference water.model`.

Its family predicts, where the site lets the family evaluate. A committee labels with the mean of its members.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from psiflow_cli import bundle, inputs
from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.worker.models import calculators, committee
from psiflow_cli.worker.structures import labels

if TYPE_CHECKING:
    from typing_extensions import NotRequired

    from psiflow_cli.messages import Context, Failure, Frame, LabelResult, PredictionResult

SUMMARY = "a trained model: --reference water.model; a committee labels with its mean"
REQUIRES: tuple[str, ...] = ()
FRAME_INPUTS: tuple[str, ...] = ()
DEFAULT_TASK_SECONDS = 2.0
DTYPES = ("float32", "float64")


class Settings(TypedDict):
    model: str  # its fingerprint
    family: str
    elements: list[str]
    dtype: str  # "": the model's own
    members: list[str]  # the folders of their weights
    head: NotRequired[str]  # the one that predicts, of a model that has several
    runs_as: NotRequired[str]  # the family by which a site names where it runs, if not its own
    requires: NotRequired[list[str]]  # modules that the terms of a sum need
    frame_inputs: NotRequired[list[str]]  # see `protocols.Reference.FRAME_INPUTS`


_DECIDED = ("runs_as", "requires", "frame_inputs")
"""What follows from which model it is."""


def settings(input_file: Path | None, options: dict[str, str]) -> Settings:
    """What tells this model from others, and where it is; `dtype` computes in another precision than its own."""
    if input_file is None:
        raise UsageError(
            "the reference model needs a model bundle", "give --reference water.model, or --input water.model"
        )
    return of_bundle(bundle.load(str(input_file)), options)


def of_bundle(loaded: bundle.Bundle, options: dict[str, str]) -> Settings:
    """The settings of a bundle, or of a bare model file that the user trusts."""
    inputs.check_options("model", options, ("dtype",))
    dtype = options.get("dtype", "")
    if dtype not in ("", *DTYPES):
        raise UsageError(f"dtype={dtype} of the reference model is unknown", f"known: {', '.join(DTYPES)}")
    decided: Settings = {
        "model": loaded.fingerprint, "family": loaded.family, "elements": sorted(loaded.elements),
        "dtype": dtype, "members": loaded.members,
    }  # fmt: skip
    more = {key: loaded.facts[key] for key in _DECIDED if key in loaded.facts}  # type: ignore[literal-required]
    return cast("Settings", {**decided, **more, **({} if loaded.head is None else {"head": loaded.head})})


def identity(settings: Settings) -> dict[str, object]:
    """The settings without the bundle's place: a copy gives the same labels."""
    decisive = {key: value for key, value in settings.items() if key not in _DECIDED}
    return {**decisive, "members": len(settings["members"])}


def runs_as(settings: Settings) -> tuple[str, str]:
    """A site says where this family evaluates, and that holds for its labels too."""
    return settings.get("runs_as", settings["family"]), "evaluate"


def depends(settings: Settings) -> tuple[list[str], list[str]]:
    """The modules that a sum or a Python file needs, and what it reads of frames."""
    return settings.get("requires", []), settings.get("frame_inputs", [])


def check(settings: Settings, elements: set[str]) -> None:
    """Raise BadData for an element that the model was not trained on; of a bare model file that is not known."""
    for element in sorted(elements - set(settings["elements"])) if settings["elements"] else ():
        raise BadData(
            f"the model does not know the element {element}", "its elements are " + " ".join(settings["elements"])
        )


def label(frames: list[Frame], settings: Settings, context: Context) -> list[LabelResult]:
    """*worker*: a label or a failure for each frame, in order.

    The precision is the settings', never the site's: it is part of what a label is.
    """
    family = settings["family"]
    own: Context = {**context, "dtype": settings["dtype"] or None}
    if "head" in settings:
        own["head"] = settings["head"]
    results = committee.evaluate(
        frames=frames, family=calculators.module(family), members=settings["members"], context=own
    )
    return [_label(frame, result, context) for frame, result in zip(frames, results, strict=True)]


def changed(settings: Settings, changes: dict[str, str]) -> Settings:
    raise UsageError(f"a model cannot be changed to {', '.join(changes)}", "its frames cannot fail in this way")


def code(context: Context) -> str:
    """*worker*: what labels carry; which model it was, their fingerprint tells."""
    return "psiflow model"


def _label(frame: Frame, result: PredictionResult, context: Context) -> LabelResult:
    if "failure" in result:
        return cast("Failure", result)
    return labels.label(frame, result["energy"], result["forces"], result["stress"], code(context))
