"""The options that name a reference, and what is read of it before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli import formats, options, registry
from psiflow_cli.commands.shared import bundles
from psiflow_cli.console import note
from psiflow_cli.errors import UsageError
from psiflow_cli.values import kinds

if TYPE_CHECKING:
    from psiflow_cli.stages.label.method import Method


reference = options.together(
    options.name(
        "--reference", "NAME|FILE.py|BUNDLE", kinds.Name("reference", registry.names("references")),
        "; a file of your own, or a model bundle.",
    ),
    options.file("--input input_file", "Input file of the reference code, without coordinates."),
    options.settings,
)  # fmt: skip
"""--reference, --input and --set."""


def method(name: str | None, input_file: str | None, settings: dict[str, str], use: bundles.ModelUse) -> Method:
    """The reference with its input read and checked; says what of the input does not count.

    Raises UsageError for --head and --family where the reference is no model.
    """
    name = options.required(name, "--reference")
    from pathlib import Path

    from psiflow_cli.protocols import LeavesOut, ReadsBundles
    from psiflow_cli.stages.label.method import Method

    if not input_file and bundles.is_model(name):  # which is the input of the reference `model`
        name, input_file = "model", name
    module = registry.load("references", name)
    if isinstance(module, ReadsBundles) and input_file:
        decided = module.of_bundle(bundles.load(input_file, use), settings)
    elif use.head is not None:
        raise UsageError(f"--head {use.head}: the reference {name} is not a model", "leave it out")
    elif use.family is not None:
        raise UsageError(f"--family {use.family}: the reference {name} is not a model", "leave it out")
    else:
        decided = module.settings(Path(input_file) if input_file else None, settings)
    replaced = module.replaced(Path(input_file)) if input_file and isinstance(module, LeavesOut) else []
    if replaced:
        note(f"{input_file}: ignored: {', '.join(replaced)} (psiflow or the frame sets them)")
    if name == "model" and len(decided["members"]) > 1:
        note(f"{input_file} is a committee: labels are the mean of its {len(decided['members'])} members")
    return Method(name, module, decided, input_file or "")


def failed_beside(output: str, frames: tuple[str, ...]) -> str:
    """`OUT` with `.failed` before its suffix; beside the first file, or in the working directory, for stdout."""
    if output == "-":
        return formats.beside(frames, "failed") if frames and frames[0] != "-" else "stdin.failed.xyz"
    return formats.beside((output,), "failed", keep_suffix=not formats.FRAMES.complaint(output))
