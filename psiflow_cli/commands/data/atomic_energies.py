"""psiflow atomic-energies: energies of isolated atoms from the reference that labels."""

from __future__ import annotations

import click

from psiflow_cli import formats, options
from psiflow_cli.commands.shared import bundles, references, runner
from psiflow_cli.errors import UsageError, counted, nearest


@click.command("atomic-energies", cls=options.Command)
@click.argument("frames", nargs=-1, metavar="[FRAMES]...")
@click.option("--elements", metavar="H,O", default="", help="Elements in addition to those of FRAMES.")
@references.reference
@options.failed
@options.flag("--retry-failed", "Retry the states that failed.")
@bundles.model_use
@options.common(formats.FRAMES)
def command(
    frames: tuple[str, ...],
    elements: str,
    reference: str | None,
    input_file: str | None,
    settings: dict[str, str],
    failed: str | None,
    retry_failed: bool,
    use: bundles.ModelUse,
    common: options.Common,
) -> None:
    """Compute the energy of an isolated atom of each element with a reference method.

    Every multiplicity that could be the ground state is computed, spin-unrestricted and without dispersion, and the
    lowest energy is kept. The output has one-atom frames with config_type=IsolatedAtom, from which psiflow train takes
    the atomic energies.

    \b
    Examples:
      psiflow atomic-energies data.xyz --reference cp2k --input cp2k.inp -o atoms.xyz
      psiflow atomic-energies --elements H,O --reference xtb -o atoms.xyz
    """
    method = references.method(reference, input_file, settings, use)
    from dataclasses import replace

    from psiflow_cli.protocols import LabelsAtoms
    from psiflow_cli.stages.core.workspace import Job
    from psiflow_cli.stages.label import atomic_energies, stage

    if isinstance(method.module, LabelsAtoms):
        method = replace(method, settings=method.module.isolated(method.settings))
    output = common.output or (formats.beside(frames, "atoms") if frames else "atoms.xyz")
    failed_output = failed or references.failed_beside(output, frames)
    chosen = _elements(elements)
    job = Job(
        "atomic-energies", frames, output,
        settings={"reference": method.fingerprint, "settings": method.identity, "elements": chosen},
        other_outputs=(failed_output,),
        requires=method.requirements,
        force=retry_failed,
    )  # fmt: skip
    job = runner.on_site(job, common, *method.runs_as)
    labelling = stage.Labelling(job, method, failed_output, retry_failed)

    def as_text(summary: atomic_energies.AtomsSummary) -> str:
        states = summary["multiplicities"]
        rows = [f"{counted(len(states), 'element')} -> {runner.name(summary['output'])}"]
        below = {e: atomic_energies.ground_state(e) for e in states}
        below = {e: state for e, state in below.items() if state and states[e] < state}
        if below:
            real = ", ".join(f"{state} for {e}" for e, state in below.items())
            rows.append(f"  In the real atom, 2S+1 is {real}. This method, like xTB, does not favour parallel spins")
            rows.append("  enough to give that; the energies are the lowest that the method has.")
        return "\n".join(rows)

    def show(summary: atomic_energies.AtomsSummary) -> str:
        states, energies = summary["multiplicities"], summary["energies"]
        return "\n".join(f"{e:2} {energy:18.8f} eV, 2S+1 = {states[e]}" for e, energy in energies.items())

    runner.perform(
        job, common,
        plan=lambda workspace: stage.plan(labelling, workspace),
        run=lambda workspace: atomic_energies.run(labelling, workspace),
        verdict=options.Limit(0, False).verdict,
        as_text=as_text,
        show=show,
        workspace=atomic_energies.Atoms,
    )  # fmt: skip


def _elements(text: str) -> list[str]:
    """`H,O` as symbols."""
    from psiflow_cli.elements import SYMBOLS

    chosen = [word.capitalize() for word in text.replace(",", " ").split()]
    for symbol in chosen:
        if symbol not in SYMBOLS:
            raise UsageError(f"--elements {text}: {symbol!r} is not an element", nearest(symbol, list(SYMBOLS)))
    return sorted(set(chosen))
