"""A reference's labels, checked before they leave the worker: a user's own file may return anything."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.errors import counted
from psiflow_cli.worker import failures
from psiflow_cli.worker.pool import call
from psiflow_cli.worker.structures import labels

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, Failure, Frame, Label, LabelResult, Settings


def label(
    frames: list[Frame], reference: str, settings: Settings, context: Context, decided: Settings | None = None
) -> list[LabelResult]:
    """A label or a failure for each frame, in builtins; `reference` is a module or the path of a file.

    `decided` are further settings, which the frames of the run decide together.
    """
    results = call.resolve(f"{reference}:label")(frames, {**settings, **(decided or {})}, context)
    if not isinstance(results, (list, tuple)) or len(results) != len(frames):
        what = f"{len(results)} results" if isinstance(results, (list, tuple)) else f"a {type(results).__name__}"
        raise TypeError(f"label() of {Path(reference).name} returned {what} for {counted(len(frames), 'frame')}")
    return [checked(frame, result, Path(reference).stem) for frame, result in zip(frames, results, strict=True)]


def checked(frame: Frame, result: object, code: str) -> LabelResult:
    """A result as it may cross the wire; one that is no label is a failure `inconsistent`."""
    try:
        plain = json.loads(json.dumps(result, default=_builtin))
        if "failure" in plain:
            return _failure(plain)
        stress = plain.get("stress")
        if stress is not None and len(stress) != 6:
            raise ValueError(f"a stress of {len(stress)} numbers, not xx, yy, zz, yz, xz, xy")
        numbers = labels.label(frame, plain["energy"], plain["forces"], stress, str(plain.get("code", code)))
        _check_more(plain, len(frame["symbols"]))
    except KeyError as error:
        return failures.failure("inconsistent", f"the reference returned no {error.args[0]}")
    except (TypeError, ValueError, AttributeError) as error:
        return failures.failure("inconsistent", f"the reference returned no label: {error}")
    return cast("LabelResult", {**plain, **numbers})


def _check_more(label: Label, atoms: int) -> None:
    """Raise ValueError if what a label has besides energy, forces and stress is not made of finite numbers."""
    for name, value in label.get("info", {}).items():
        if not all(math.isfinite(x) for x in (value if isinstance(value, list) else [value])):
            raise ValueError(f"{name} is not finite")
    for name, values in label.get("arrays", {}).items():
        if len(values) != atoms or not all(map(math.isfinite, values)):
            raise ValueError(f"{name} is not a finite number for each of {atoms} atoms")


def _failure(failure: Mapping[str, object]) -> Failure:
    kind, message = failure["failure"], str(failure.get("message", ""))
    if kind not in failures.FAILURES:
        return failures.failure("crashed", f"{kind}: {message}")
    return failures.failure(kind, message, str(failure.get("log", "")))


def _builtin(value: object) -> object:
    """NumPy's arrays and numbers as Python's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be sent back; return numbers, texts, lists or arrays")
