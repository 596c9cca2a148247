"""psiflow relax: positions, and cells, of least energy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from psiflow_cli import formats, options
from psiflow_cli.commands.shared import bundles, constraints, references, runner
from psiflow_cli.errors import UsageError, counted

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from psiflow_cli.messages import RelaxOptions, RelaxSettings, Summary
    from psiflow_cli.stages.core.workspace import Workspace


@click.command("relax", cls=options.Command)
@options.frames
@options.model
@bundles.model_use
@options.number("--fmax", 0.01, "eV/Å", "Largest force on any atom at convergence, in eV/Å.", above=0)
@options.count("--steps", 500, "Largest number of steps per frame.", least=0)
@options.choice("--cell", ["fixed", "isotropic", "shape", "flexible"], "fixed",
    "Part of the cell that is optimised: volume, shape at constant volume, or both.")  # fmt: skip
@options.number("--pressure", 0.0, "bar", "Pressure on a cell whose volume is optimised, in bar.")
@options.number(
    "--smax", 100.0, "bar", "Largest deviation of the stress at convergence, for an optimised cell.", above=0
)
@options.flag("--keep-symmetry", "Symmetrise each crystal and keep its symmetry.")
@options.number("--symprec", 0.01, "Å", "Tolerance for finding the symmetry, in Å.", above=0)
@constraints.fixed
@options.choice(
    "--optimizer",
    ["lbfgs", "bfgs", "fire"],
    "lbfgs",
    "ASE optimiser; bfgs optimises one frame at a time, the others all at once.",
)
@options.failed
@options.max_failed
@options.common(formats.RELAXED)
def command(
    frames: tuple[str, ...],
    model: str | None,
    use: bundles.ModelUse,
    fixed: tuple[int, ...],
    failed: str | None,
    max_failed: options.Limit,
    common: options.Common,
    **values: Unpack[RelaxOptions],
) -> None:
    """Optimise the positions of FRAMES, and with --cell their cells, with the forces of a model.

    The output has the last geometry of every frame, with model_energy, model_forces, model_stress, max_force (the
    largest force on an atom that may move, in eV/Å), relax_steps and relax_converged. A frame that needs more steps is
    written with relax_converged=F and counts as failed; relax the output to continue. Frames that explode, or whose
    cell grows or shrinks tenfold in volume or width, go to the file of failed frames. OUTPUT of a single frame may also
    be a POSCAR or CONTCAR, with its selective dynamics.

    \b
    Examples:
      psiflow relax start.xyz --model water.model --fmax 0.001
      psiflow relax ice.xyz --model water.model --cell flexible --pressure 2000 --keep-symmetry
      psiflow relax slab.xyz --model copper.model --fixed 0-15
    """
    name = options.required(model, "--model")
    if values["pressure"] and values["cell"] not in ("isotropic", "flexible"):
        raise UsageError("--pressure has no effect: the volume is fixed", "use --cell isotropic or flexible")
    from psiflow_cli.stages.core.constraints import Constraints
    from psiflow_cli.stages.core.model_input import known_elements
    from psiflow_cli.stages.core.workspace import Job
    from psiflow_cli.stages.structures import relax

    loaded = bundles.load(name, use)
    output = common.output or formats.beside(frames, "relaxed")
    failed_output = failed or references.failed_beside(output, frames)
    settings: RelaxSettings = {**values, "elements": known_elements(loaded)}
    job = Job(
        "relax", frames, output,
        settings={**values, "model": loaded.fingerprint, "fixed": fixed, "failed": failed_output},
        other_outputs=(failed_output,),
        options_require={"spglib": "--keep-symmetry"} if values["keep_symmetry"] else {},
    )  # fmt: skip
    job = bundles.on_site(job, common, loaded)
    relaxation = relax.Relaxation(
        job=job,
        model=loaded,
        family=bundles.module(loaded),
        settings=settings,
        constraints=Constraints(fixed),
        failed=failed_output,
    )

    def plan(workspace: Workspace) -> dict[str, object]:
        seen, _, needed = relax.survey(relaxation, workspace)
        return {"total": len(seen), "todo": len(needed)}

    def as_text(summary: Summary) -> str:
        counts = f"{summary['converged']} of {summary['total']} converged ({summary['computed']} relaxed now"
        return f"{counts}, in up to {counted(summary['most_steps'], 'step')}) -> {runner.name(summary['output'])}"

    runner.perform(
        job, common, plan=plan, as_text=as_text, verdict=max_failed.verdict,
        run=lambda workspace: relax.run(relaxation, workspace),
    )  # fmt: skip
