"""psiflow select: frames worth labelling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from psiflow_cli import formats, options
from psiflow_cli.commands.shared import bundles, runner
from psiflow_cli.console import note
from psiflow_cli.errors import FAILED_FRAMES, UsageError
from psiflow_cli.values import quantities

if TYPE_CHECKING:
    from typing import TypedDict

    from typing_extensions import Unpack

    from psiflow_cli.bundle import Bundle
    from psiflow_cli.stages.select.stage import Summary

    class How(TypedDict):
        """Options that decide the choice."""

        number: int | None
        threshold: tuple[float, float] | None
        score: str
        closest: float
        stratify: str | None
        seed: int


def _threshold(value: str) -> tuple[float, float]:
    """`0.1`, or `0.1:0.5`."""
    low, _, high = str(value).partition(":")
    try:
        limits = quantities.number(low, "eV/Å"), quantities.number(high or "inf", "eV/Å")
    except ValueError:
        limits = 1.0, 0.0
    if not 0 <= limits[0] <= limits[1]:
        raise ValueError(f"{value!r} is neither a score such as 0.1 nor a range such as 0.1:0.5")
    return limits


@click.command("select", cls=options.Command)
@options.frames
@options.count("-n --number", None, "Largest number of frames to select.")
@options.choice("--by", ["random", "farthest", "committee", "error"], None,
    "Selection method: random; farthest-point; largest committee disagreement; largest model error.")  # fmt: skip
@options.model
@bundles.model_use
@options.texts("--exclude", "FILE", "Frames that are already in the data set. May be repeated.")
@options.text("--threshold", None, "LOW[:HIGH]",
    "For committee and error: skip frames with a score below LOW or above HIGH, in eV/Å.", _threshold)  # fmt: skip
@options.choice(
    "--score",
    ["max", "mean"],
    "max",
    "For committee and error: how the values of the atoms become the score of a frame.",
)
@options.choice("--descriptor", ["model", "soap"], None,
    "Descriptor for farthest and --min-distance [default: the features of --model (for a sum: of its first term "
    "that has some), else SOAP].",
)  # fmt: skip
@options.number("--min-distance closest", 0.0, "NUMBER",
    "Smallest descriptor distance between selected frames, and to those of --exclude.", least=0)  # fmt: skip
@options.choice("--stratify", ["composition"], None, "Keep the proportions of the compositions.")
@options.output("--rest", formats.STRUCTURES_IN_FILE, "File for the frames that were not selected.")
@options.keys
@options.seed
@options.common(formats.STRUCTURES)
def command(
    frames: tuple[str, ...],
    by: str | None,
    model: str | None,
    use: bundles.ModelUse,
    exclude: tuple[str, ...],
    descriptor: str | None,
    keys: str | None,
    rest: str | None,
    common: options.Common,
    **values: Unpack[How],
) -> None:
    """Select some of FRAMES: each structure once, none of those in --exclude, in the order of the input.

    committee and error score a frame by the forces that `psiflow evaluate` has written into it, or that --model
    predicts: for each atom, the standard deviation over the members of the committee, or the deviation from the label,
    as a norm in eV/Å. For a calibrated committee (evaluate --calibrate), the expected error replaces the standard
    deviation.

    farthest starts from a typical frame, or from those of --exclude, and repeatedly adds the frame that is farthest
    from all earlier ones. The descriptor of a frame is the mean over its atoms. Isolated atoms are not selected.

    \b
    Examples:
      psiflow select traj.xyz -n 50 --by farthest --exclude labelled.xyz -o next.xyz
      psiflow select traj.xyz -n 50 --by committee --model water.model --threshold 0.1:1 --min-distance 0.05
      psiflow select labelled.xyz -n 500 --by random --stratify composition --seed 7 --rest others.xyz
    """
    by = options.required(by, "--by")
    _check(by, model, descriptor, values)
    from psiflow_cli import bundle, extxyz
    from psiflow_cli.stages.core.workspace import Job
    from psiflow_cli.stages.select import request, stage

    loaded = bundles.load(model, use) if model else None
    if by == "committee" and loaded and len(loaded.members) < 2:
        raise UsageError(f"--by committee: {model} has one member", "train several with psiflow train --members 4")
    scales = bundle.error_scales(loaded) if loaded and by == "committee" else None
    if scales and values["threshold"] and values["threshold"][1] < (floor := scales["forces"]["floor"]):
        problem = f"--threshold: this committee's error is expected to be {floor:.3g} eV/Å or more everywhere"
        raise UsageError(problem, "no frame would be left; see the calibration with psiflow model show")
    needs_features = by == "farthest" or values["closest"] > 0
    features = _chosen_descriptor(descriptor, loaded) if needs_features else None
    output = common.output or formats.beside(frames, "selected")
    needs_worker = needs_features or (loaded and by != "random")
    job = Job(
        "select", (*frames, *exclude), output,
        settings={
            **values, "by": by, "model": loaded.fingerprint if loaded else None, "descriptor": features, "keys": keys,
            "competing": len(frames),
        },
        other_outputs=(rest,) if rest else (),
        more_settings={"rest": rest, **({"calibration": scales} if scales else {})},
        options_require={"dscribe": "--descriptor soap"} if features == "soap" else {},
    )  # fmt: skip
    if loaded and needs_worker:
        job = bundles.on_site(job, common, loaded)
    else:
        job = runner.on_site(job, common, "select" if needs_worker else None)
    selection = request.Selection(
        job=job,
        competing=len(frames),
        by=by,
        keys=extxyz.parse_keys(keys) if keys else None,
        model=loaded,
        descriptor=features,
        rest=rest,
        number=values["number"],
        score=values["score"],
        threshold=values["threshold"],
        closest=values["closest"],
        stratify=bool(values["stratify"]),
        seed=values["seed"],
        scales=scales,
    )
    runner.perform(
        job, common,
        plan=lambda opened: {"frames": sum(1 for _ in opened.frames()), "number": values["number"]},
        run=lambda opened: stage.run(selection, opened),
        as_text=_summarised,
        verdict=lambda summary: FAILED_FRAMES if summary["failed"] and not summary["chosen"] else 0,
    )  # fmt: skip


def _check(by: str, model: str | None, descriptor: str | None, values: How) -> None:
    """Raise UsageError for options that contradict each other."""
    if values["threshold"] and by not in ("committee", "error"):
        raise UsageError(
            f"--threshold has no effect with --by {by}", "for distances between frames, use --min-distance"
        )
    if values["number"] is None and not values["threshold"] and not values["closest"]:
        raise UsageError("the number of frames to choose is not given", "give --number, --threshold or --min-distance")
    if descriptor == "model" and not model:
        raise UsageError("--descriptor model needs a model", "give --model BUNDLE, or --descriptor soap")


def _chosen_descriptor(descriptor: str | None, loaded: Bundle | None) -> str:
    """The descriptor that is asked for, or the model's own where it has one; says what is not plain."""
    from psiflow_cli.stages.select import request

    term = request.describer(loaded) if loaded else None
    if descriptor is None and loaded and term is None:
        note(f"distances use SOAP, because {loaded.path} has no features")
    if descriptor != "soap" and term:
        note(f"distances use the features of {term}, the first term of {loaded and loaded.path} that has some")
    return descriptor or ("soap" if term is None else "model")


def _summarised(summary: Summary) -> str:
    out = ", ".join(f"{count} {why}" for why, count in sorted(summary["left_out"].items()))
    score = ""
    if "score" in summary:
        score = f"; {summary['score_of']} of the forces {{least:.3g}} to {{largest:.3g}} eV/Å".format(
            **summary["score"]
        )
    where = ", ".join(filter(None, (runner.name(summary["output"]), summary["rest"])))
    return f"{summary['chosen']} of {summary['total']} frames chosen -> {where}{score}; left out: {out or 'none'}"
