"""psiflow phonons: Hessian, frequencies and harmonic free energy of relaxed frames."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from psiflow_cli import formats, options
from psiflow_cli.commands.shared import bundles, constraints, references, runner
from psiflow_cli.errors import UsageError, counted
from psiflow_cli.values import quantities

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from psiflow_cli.messages import HarmonicOptions, HarmonicSettings, Summary
    from psiflow_cli.stages.core.workspace import Workspace


def _temperatures(value: str) -> tuple[float, ...]:
    """`300` or `300,400`."""
    temperatures = []
    for word in value.split(","):
        try:
            kelvin = quantities.number(word, "K")
        except ValueError:
            kelvin = 0.0
        if not 0 < kelvin < math.inf:
            raise ValueError(f"{word.strip()!r} is not a temperature above 0 K, such as 300")
        temperatures.append(kelvin)
    return tuple(temperatures)


def _triple(value: str) -> list[int]:
    """`2,2,2`."""
    words = [word.strip() for word in value.split(",")]
    if len(words) != 3 or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise ValueError(f"{value!r} is not three numbers from 1, such as 2,2,2")
    return [int(word) for word in words]


@click.command("phonons", cls=options.Command)
@options.frames
@options.model
@bundles.model_use
@options.text("--temperature", "300", "K[,K...]", "Temperature of the free energies, in K.", _temperatures)
@options.text("--supercell", None, "N,N,N",
    "Supercell for the displacements, for crystals [default: the frame itself, at Γ only].", _triple)  # fmt: skip
@options.text("--mesh", None, "N,N,N",
    "Wave vectors along each reciprocal vector, with --supercell [default: 50 Å divided by the plane spacing].",
    _triple)  # fmt: skip
@options.number("--displacement", 0.01, "Å", "Displacement of an atom in both directions, in Å.", above=0)
@options.number("--fmax", 0.02, "eV/Å", "Largest force allowed on any atom of a relaxed frame, in eV/Å.", above=0)
@options.number(
    "--threshold",
    1.0,
    "cm^-1",
    "Leave modes up to this frequency, and imaginary modes, out of the free energies.",
    least=0,
)
@options.output("--hessian", formats.ARRAYS, "Write the Hessians, in eV/Å², as a NumPy file.", "FILE.npz")
@options.output("--table", formats.CSV, "Also write the full table as CSV.", "FILE.csv")
@constraints.fixed
@options.failed
@options.max_failed
@options.common(formats.FRAMES)
def command(
    frames: tuple[str, ...],
    model: str | None,
    use: bundles.ModelUse,
    temperature: tuple[float, ...],
    threshold: float,
    hessian: str | None,
    table: str | None,
    fixed: tuple[int, ...],
    failed: str | None,
    max_failed: options.Limit,
    common: options.Common,
    **values: Unpack[HarmonicOptions],
) -> None:
    """Compute the vibrations of relaxed FRAMES and their classical and quantum free energies.

    The output has frequencies in cm^-1, with imaginary ones as negative numbers, and imaginary_modes, their number (on
    a mesh: at all its points). Rigid motions are left out: translations and rotations of a molecule, translations of a
    crystal. Atoms whose move_mask is F, or that --fixed names, are held: only the others vibrate, and no modes are left
    out. A masses column replaces the usual masses.

    The table has the zero-point energy, the free energies (quantum F, classical kT ln(ħω/kT)), and the quantum entropy
    and heat capacity; with --supercell they are means over the mesh, per cell of the frame (phonopy).

    FILE.npz of --hessian has hessian_0, positions_0, cell_0 and moving_0 (the atoms of its rows, three rows each) of
    the first frame, hessian_1 and so on of the second; with --supercell these are of the supercell.

    \b
    Examples:
      psiflow relax water.xyz --model water.model --fmax 0.001 -o relaxed.xyz
      psiflow phonons relaxed.xyz --model water.model --temperature 300,400 --hessian water.npz
      psiflow phonons copper.xyz --model copper.model --supercell 3,3,3 --json
    """
    name = options.required(model, "--model")
    if values["mesh"] and not values["supercell"]:
        raise UsageError("--mesh without --supercell", "give --supercell 2,2,2, for example, for phonons beyond Γ")
    from psiflow_cli.stages.core.constraints import Constraints
    from psiflow_cli.stages.core.model_input import known_elements
    from psiflow_cli.stages.core.workspace import Job
    from psiflow_cli.stages.structures import phonons

    loaded = bundles.load(name, use)
    output = common.output or formats.beside(frames, "phonons")
    failed_output = failed or references.failed_beside(output, frames)
    settings: HarmonicSettings = {**values, "elements": known_elements(loaded)}
    job = Job(
        "phonons", frames, output,
        settings={**values, "model": loaded.fingerprint, "fixed": fixed, "failed": failed_output},
        other_outputs=(failed_output, *filter(None, (hessian, table))),
        more_settings={
            "temperature": temperature, "threshold": threshold, "hessian": hessian,
            **({"table": table} if table else {}),
        },
        options_require={"phonopy": "--supercell"} if values["supercell"] else {},
    )  # fmt: skip
    job = bundles.on_site(job, common, loaded)
    analysis = phonons.Analysis(
        job=job,
        model=loaded,
        family=bundles.module(loaded),
        settings=settings,
        constraints=Constraints(fixed, with_masses=True),
        temperatures=temperature,
        threshold=threshold,
        failed=failed_output,
        hessians=hessian,
        table=table,
    )

    def plan(workspace: Workspace) -> dict[str, object]:
        seen, _, needed = phonons.survey(analysis, workspace)
        return {"total": len(seen), "todo": len(needed)}

    def as_text(summary: Summary) -> str:
        files = [runner.name(summary["output"]), *filter(None, (summary["hessian"], table))]
        counts = f"{summary['total'] - summary['failed']} of {summary['total']} frames analysed"
        return f"{counts} ({counted(summary['computed'], 'Hessian')} computed now) -> {', '.join(files)}"

    def show(summary: Summary) -> str:
        return phonons.as_text(summary["harmonic"]) if summary["harmonic"] else ""

    runner.perform(
        job, common, plan=plan, as_text=as_text, show=show, verdict=max_failed.verdict,
        run=lambda workspace: phonons.run(analysis, workspace),
    )  # fmt: skip
