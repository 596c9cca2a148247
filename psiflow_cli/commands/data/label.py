"""psiflow label: energies, forces and stress of every frame from a reference method."""

from __future__ import annotations

import click

from psiflow_cli import formats, options
from psiflow_cli.commands.shared import bundles, references, runner


@click.command("label", cls=options.Command)
@options.frames
@references.reference
@options.failed
@options.max_failed
@options.texts("--recover", "KEY=VALUE",
    "Change of the input to try when a frame does not converge; repeat for further attempts "
    "[default: read from INPUT.recover.toml].")  # fmt: skip
@options.texts("--from taken_from", "FILE",
    "Reuse labels from this file where structure and reference are the same. May be repeated.")  # fmt: skip
@options.text("--subtract-from subtract_from", None, "KEY",
    "Subtract the reference from the existing labels of FRAMES, whose energy has this key.")  # fmt: skip
@options.flag("--retry-failed", "Also retry frames that failed for reasons of their own, such as SCF convergence.")
@options.flag("--strict-version", "Recompute labels made by another version of the code.")
@bundles.model_use
@options.common(formats.FRAMES)
def command(
    frames: tuple[str, ...],
    reference: str | None,
    input_file: str | None,
    settings: dict[str, str],
    failed: str | None,
    max_failed: options.Limit,
    recover: tuple[str, ...],
    taken_from: tuple[str, ...],
    subtract_from: str | None,
    retry_failed: bool,
    strict_version: bool,
    use: bundles.ModelUse,
    common: options.Common,
) -> None:
    """Compute energies, forces and stress of FRAMES with a reference method.

    Failed frames go to a separate file, with the class and reason of each failure. Run the same command again to
    continue where it stopped; only frames that are new in FRAMES are computed. Of several frames with the same
    structure (see psiflow-files(7)), one is computed.

    With --subtract-from, the output has the existing labels of FRAMES minus the energies and forces of the reference:
    labels for a model that is later added to the reference (psiflow model combine). What was subtracted is stored in
    the frames as subtracted_energy, subtracted_forces and subtracted_stress. Treat isolated atoms the same way.

    \b
    Examples:
      psiflow label data.xyz --reference xtb
      psiflow label data.xyz --reference xtb --subtract-from energy -o delta.xyz
      psiflow label data.xyz --reference cp2k --input cp2k.inp --site hortense.toml -o labelled.xyz
    """
    method = references.method(reference, input_file, settings, use)
    from psiflow_cli.stages.core.workspace import Job
    from psiflow_cli.stages.label import recovery, stage
    from psiflow_cli.stages.label.subtraction import Subtraction

    output = common.output or formats.beside(frames, "labelled")
    failed_output = failed or references.failed_beside(output, frames)
    job = Job(
        "label", frames, output,
        settings={
            "reference": method.fingerprint, "settings": method.identity, "failed": failed_output,
            **({"subtract_from": subtract_from} if subtract_from else {}),
        },
        other_outputs=(failed_output,),
        requires=method.requirements,
        force=retry_failed or strict_version,
    )  # fmt: skip
    job = runner.on_site(job, common, *method.runs_as)
    labelling = stage.Labelling(
        job=job,
        method=method,
        failed=failed_output,
        retry_failed=retry_failed,
        strict_version=strict_version,
        recovery=recovery.steps(method, recover),
        allowed=max_failed.of,
        taken_from=taken_from,
        subtraction=Subtraction(subtract_from) if subtract_from else None,
    )

    def as_text(summary: stage.LabelSummary) -> str:
        counts = f"{summary['labelled']} of {summary['total']} labelled ({summary['computed']} computed now)"
        return f"{counts} -> {runner.name(summary['output'])}"

    runner.perform(
        job, common,
        plan=lambda workspace: stage.plan(labelling, workspace),
        run=lambda workspace: stage.run(labelling, workspace),
        verdict=max_failed.verdict,
        as_text=as_text,
    )  # fmt: skip
