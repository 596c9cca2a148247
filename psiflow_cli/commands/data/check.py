"""psiflow check: what is wrong with a data set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from psiflow_cli import options
from psiflow_cli.commands.shared import bundles, runner
from psiflow_cli.console import paint
from psiflow_cli.errors import BAD_DATA, counted

if TYPE_CHECKING:
    from psiflow_cli.stages.check.stage import Summary

_COLOURS = {"error": "red", "warning": "yellow"}
_INDENT = " " * 9


@click.command("check", cls=options.Command)
@options.frames
@options.file("--model", "Model whose energy is differentiated numerically to check the stress.", "BUNDLE|FILE")
@bundles.model_use
@options.keys
@options.common_in_place
def command(
    frames: tuple[str, ...], model: str | None, use: bundles.ModelUse, keys: str | None, common: options.Common
) -> None:
    """Find what is wrong with FRAMES as training data.

    Errors are what must not be trained on: labels that are missing or not numbers, two different candidates for one
    label, forces that are all zero, energies, forces or stresses in other units or with the wrong sign, energies of
    isolated atoms that cannot belong to the frames, one structure with two labels, overlapping atoms, several
    references, frames without a head beside frames with one, and cells without volume. Warnings are what is unusual:
    copies, outliers, net forces, labels on some frames only, energies that fall into two groups, elements without an
    isolated atom, and several heads. The exit code is 65 if there is an error, else 0.

    Frames of different heads come from different methods on purpose; only frames of the same head are compared with
    each other.

    Units and signs can be checked where similar frames are close to each other in a file: the energy must change as the
    forces say, and as the stress says where the cell changes. With --model, the stress is also compared with the
    model's.

    \b
    Examples:
      psiflow check labelled.xyz atoms.xyz
      psiflow check labelled.xyz --model water.model && psiflow split labelled.xyz
      psiflow check data.xyz --json | jq '.findings[] | select(.severity == "error")'
    """
    from psiflow_cli import extxyz
    from psiflow_cli.stages.check import stage, stresses
    from psiflow_cli.stages.core.workspace import Job

    loaded = bundles.load(model, use) if model else None
    settings = {"model": loaded.fingerprint if loaded else None, "keys": keys, "checks": stage.VERSION}
    job, quiet = Job("check", frames, "-", settings), common._replace(json=False)
    # without a model: any environment that has ASE, which is what this reference needs
    job = bundles.on_site(job, quiet, loaded) if loaded else runner.on_site(job, quiet, "emt")
    strained = None
    if loaded:
        strained = stresses.work(loaded, bundles.module(loaded), job.dtype)
    elements = tuple(loaded.elements) if loaded else ()
    checking = stage.Checking(job, extxyz.parse_keys(keys) if keys else None, strained, elements)

    def plan(workspace: stage.Readable) -> dict[str, int]:
        return {"frames": sum(1 for _ in workspace.frames())}

    def run(workspace: stage.Readable) -> stage.Summary:
        return stage.run(checking, workspace)

    def as_text(summary: stage.Summary) -> str:
        errors, warnings = counted(summary["errors"], "error"), counted(summary["warnings"], "warning")
        return f"{counted(summary['total'], 'frame')} checked: {errors}, {warnings}"

    def show(summary: stage.Summary) -> str:
        import shutil

        return "\n".join(table(summary, shutil.get_terminal_size().columns))

    runner.perform(
        job, common, plan=plan, run=run, as_text=as_text, workspace=stage.Readable,
        show=show, verdict=lambda summary: BAD_DATA if summary["errors"] else 0,
    )  # fmt: skip


def table(summary: Summary, width: int) -> Iterator[str]:
    """What was found, for a person: a paragraph for each finding, and what kinds of frames there are."""
    import textwrap

    for finding in summary["findings"]:
        severity, frames = finding["severity"], finding["count"]
        count = f" ({counted(frames, 'frame')})" if frames else ""
        first, *more = _wrapped(f"{finding['check']}: {finding['what']}{count}", width)
        yield paint(f"{severity:8}", fg=_COLOURS[severity], bold=True) + first[len(_INDENT) - 1 :]
        yield from more
        if finding["places"]:
            places = [f"{place['file']}:{place['line']}: frame {place['frame']}" for place in finding["places"]]
            rest = ["…"] if frames > len(places) else []
            yield from _wrapped(", ".join([*places, *rest]), width)
        if finding["hint"]:
            yield from (paint(line, dim=True) for line in _wrapped(f"hint: {finding['hint']}", width))
    kinds = ", ".join(f"{name or '(none)'} {count}" for name, count in summary["config_types"].items())
    elements = f" of {', '.join(summary['elements'])}" if summary["elements"] else ""
    yield from textwrap.wrap(f"{counted(summary['total'], 'frame')}{elements}", width)
    if set(summary["config_types"]) - {""}:
        yield from textwrap.wrap(f"config_type: {kinds}", width, subsequent_indent="  ")
    for reference, frames in summary["subtracted"].items():
        yield from textwrap.wrap(f"labels minus {reference}: {counted(frames, 'frame')}", width, subsequent_indent="  ")


def _wrapped(text: str, width: int) -> list[str]:
    """The lines of a paragraph below a severity; file names are not broken."""
    import textwrap

    return textwrap.wrap(
        text, max(width, 40), initial_indent=_INDENT, subsequent_indent=_INDENT, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
