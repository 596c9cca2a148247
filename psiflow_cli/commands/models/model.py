"""psiflow model: what a model bundle is, and what it turns into."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

import click

from psiflow_cli import formats, options, registry
from psiflow_cli.commands.shared import bundles, runner
from psiflow_cli.console import columns, echo_json, in_width, note, problem
from psiflow_cli.errors import BAD_DATA

if TYPE_CHECKING:
    from psiflow_cli.bundle import Bundle

TARGETS = ("ase", "lammps", "mace", "nequip", "torchsim")
_bundle = click.argument("model", metavar="BUNDLE")
_JSON = options.flag("--json as_json", "Print JSON to stdout.")


@click.group("model", cls=options.Group)
def command() -> None:
    """Show, verify, export, compile and combine model bundles, as psiflow train makes them.

    \b
    Examples:
      psiflow model show water.model
      psiflow model export water.model --to lammps
    """


@command.command("show", short_help="Show what a model is, its errors and its data")
@_bundle
@_JSON
@options.talk
def show(model: str, as_json: bool) -> None:
    """Show what a model is, its errors, and the data it was trained on. Nothing of the model is run.

    For a sum, its terms are listed; for a Python file, its files and their hashes.

    The errors are those of the validation set at the epoch whose weights are used. The weights are first checked
    against their sha256.

    \b
    Examples:
      psiflow model show water.model
      psiflow model show water.model --json | jq .errors
    """
    from psiflow_cli.stages.models import show as stage

    facts = stage.facts(bundles.open_any(model))
    if as_json:
        echo_json(facts)
    else:
        click.echo(in_width(stage.as_text(facts), columns(sys.stdout)))


@command.command("verify", short_help="Check the files of a model against their hashes")
@_bundle
@_JSON
@options.talk
def verify(model: str, as_json: bool) -> None:
    """Check the files of a model against their recorded sha256.

    These are the weights, the training data that are stored with them, and compiled models. The exit code is 65 if any
    differs.

    \b
    Example:
      psiflow model verify water.model
    """
    from psiflow_cli.stages.models import verify as stage

    report = stage.verify(bundles.open_any(model, whole=False))
    if as_json:
        echo_json({"command": "model verify", **report})
    for wrong in report["wrong"]:
        problem(wrong["message"], wrong["hint"])
    if report["wrong"]:
        sys.exit(BAD_DATA)
    note(f"{model} is {report['state']} ({report['checked']} checked)")


@command.command("export", short_help="Export a model for another program")
@_bundle
@options.choice("--to target", TARGETS, None, "Program that will read the exported model.", required=True)
@options.text("--format form", None, "NAME",
    "Format, if the program reads several [default: the first listed below].")  # fmt: skip
@options.count("--member", None, "Number of the committee member to export.", least=0, form="N")
@bundles.model_use
@options.common(formats.EXPORT)
def export(
    model: str, target: str, form: str | None, member: int | None, use: bundles.ModelUse, common: options.Common
) -> None:
    """Write a model in the form that another program reads; energies and forces stay the same.

    \b
    ase       a folder with calculator.py, which gives an ASE calculator, and what it
              loads; the mean over all members of a committee
    lammps    MACE: what mace_create_lammps_model makes, in --format libtorch
              (pair_style mace) or mliap (pair_style mliap unified; needs cuequivariance);
              NequIP and Allegro: compiled for pair_style nequip or allegro;
              a sum of these and of D3: a folder with potential.in, which adds them by
              hybrid/overlay or, with factors, hybrid/scaled
    mace      the plain .model file, for MACE's own tools
    nequip    the packaged .nequip.zip, for NequIP's own tools
    torchsim  what torch-sim loads: a .model file, or a model compiled for batches

    Compiled models (NequIP and Allegro) run on machines like the one they were compiled on: export them there.

    \b
    Examples:
      psiflow model export water.model --to lammps -o water-lammps.pt
      psiflow model export water.model --to ase --member 0 -o water-ase
    """
    from psiflow_cli.protocols import Exports, ExportsCommittees
    from psiflow_cli.stages.core.workspace import Job
    from psiflow_cli.stages.models import export as stage

    loaded = bundles.load(model, use)
    module = registry.potential(loaded.family)
    forms = module.EXPORTS if isinstance(module, Exports) else {}
    chosen, ending = stage.suffix(loaded.family, forms, target, form)
    takes_all = isinstance(module, ExportsCommittees) and target in module.WHOLE_COMMITTEES
    members = stage.members(loaded, target, member, takes_all)
    output = common.output or _beside(loaded, target, ending)
    stage.check_output(output, ending)
    settings = {"model": loaded.fingerprint, "target": target, "format": chosen, "member": member}
    job = Job("model-export", (), output, settings, other_inputs=(str(loaded.path),))
    job = bundles.on_site(job, common, loaded)
    task = stage.Export(job, loaded, module.__name__, members, target, chosen)
    runner.perform(
        job, common,
        plan=lambda _: {"output": output, "target": target, "format": chosen, "members": len(members)},
        run=lambda workspace: stage.run(task, workspace),
        as_text=lambda s: f"{model} for {target} ({s['format']}) -> {s['output']}",
    )  # fmt: skip


@command.command("compile", short_help="Compile a model for machines like this one")
@_bundle
@options.choice("--device", ["cpu", "cuda"], None, "Device to compile for [default: as the site says].")
@options.choice("--target", ["ase", "lammps", "torchsim"], "ase", "Program that will load the compiled model.")
@options.common_in_place
def compile_(model: str, device: str | None, target: str, common: options.Common) -> None:
    """Compile a model, so that it runs faster on machines like the one where it is compiled.

    This is for NequIP and Allegro, needs a C++ compiler on the worker and takes about a minute. The compiled model is
    stored in the bundle beside the weights (member-0/compiled/cpu-ase.nequip.pt2), with a record of the weights and the
    machine. sample and evaluate use it if both still match, and the weights otherwise. A retrained model has to be
    compiled again; --overwrite compiles again for another machine.

    MACE's calculator cannot load compiled models; sample and evaluate run MACE models as they are.

    \b
    Examples:
      psiflow model compile water.model
      psiflow model compile water.model --device cuda --target torchsim --site cluster.toml
    """
    from dataclasses import replace

    from psiflow_cli import bundle
    from psiflow_cli.errors import UsageError
    from psiflow_cli.protocols import Compiles
    from psiflow_cli.stages.core.workspace import Job
    from psiflow_cli.stages.models import compile as stage

    loaded = bundle.load(model)
    module = registry.potential(loaded.family)
    endings = module.COMPILES if isinstance(module, Compiles) else {}
    if not endings:
        raise UsageError(
            f"{model}: models of the family {loaded.family} have no compiled form", "use the model as it is"
        )
    if target not in endings:
        raise UsageError(f"--target {target}: {loaded.family} compiles for {', '.join(sorted(endings))}")
    job = Job(
        "model-compile", (), str(loaded.path),
        settings={"model": loaded.fingerprint, "target": target, "device": device},
        other_inputs=tuple(loaded.weights),
        run_dir=f"{str(loaded.path).rstrip('/')}.compile.run",
        force=True,
    )  # fmt: skip
    job = runner.on_site(job, common, loaded.family)
    device = device or (job.executor and job.executor.context.get("device")) or "cpu"
    task = stage.Compilation(loaded, module.__name__, target, endings[target], device)
    missing = list(range(len(loaded.members))) if common.overwrite else task.missing()
    if not common.dry_run:
        if not missing:
            runner.tell_up_to_date(common, "model-compile", f"{model} compiled for {target} on {device}")
            return
        stage.make_folders(task)
    runner.perform(
        replace(job, overwrite=True) if common.dry_run else stage.placed(job, task), common,
        plan=lambda _: {"target": target, "device": device, "todo": len(missing)},
        run=lambda workspace: stage.run(task, workspace, missing),
        as_text=lambda s: f"{model} compiled for {target} on {device}: {', '.join(s['files'])}",
    )  # fmt: skip


class _WithExpression(options.Command):
    """A command whose argument may begin with the sign and the factor of a term."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [f" {each}" if re.match(r"-[\d.\s]", each) else each for each in args])


@command.command("combine", cls=_WithExpression, short_help="Combine models and references into one model")
@click.argument("expression", nargs=-1, required=True, metavar="EXPRESSION")
@options.output("-o --output", formats.BUNDLE, "Model bundle to write.", "BUNDLE")
@options.flag("--trust", "Allow a model file that is not a bundle; loading it can run any code in it.")
@bundles.family_of_file
@options.flag("--overwrite", "Replace an existing model.")
@_JSON
@options.talk
def combine(
    expression: tuple[str, ...], output: str | None, trust: bool, family: str | None, overwrite: bool, as_json: bool
) -> None:
    """Add models and references, each with a factor, to a model that every command takes as --model.

    Terms are joined with + or -, each with a factor unless it is 1: 0.5*a.model, 1/3*a.model. A term is a model
    bundle; a bare model file, with --trust; a Python file of your own (see psiflow-files(7)); or a reference that
    computes in the worker's process, with its options behind a colon: xtb:method=GFN1-xTB. If a model has several
    heads, @ selects one: a.model@pbe.

    An existing file is recognised by its name, even with spaces, + or - in it. Put quotes around what would be
    misread, such as an option with a space in it.

    Energies, forces and stresses are added. The sum has a stress if all terms have one. A committee makes the sum a
    committee, with the spread of its members times its factor. Committees of equal size are added member by member.

    The bundle has copies of all its terms, and can be copied like any other. Nothing can be trained from it, and terms
    of families that cannot share an environment, such as MACE and NequIP, cannot be added.

    \b
    Examples:
      psiflow model combine 'water.model + dftd:xc=pbe,version=d3' -o water-d3.model
      psiflow model combine '0.5*a.model + 0.5*b.model' -o mean.model
      psiflow model combine 'delta.model + xtb:method=GFN1-xTB' -o total.model
    """
    from psiflow_cli.commands.shared import sums
    from psiflow_cli.stages.models import combine as stage

    place = os.path.normpath(options.required(output, "--output"))
    terms = sums.sources(" ".join(expression), bundles.ModelUse(trust, None, family))
    combined = stage.make(terms, place, overwrite)
    written = " ".join(f"{source.term['factor']:+g}*{source.term['what']}" for source in terms)
    note(f"{written} -> {place}" if combined else f"{place} is up to date")
    if as_json:
        described = [source.term for source in terms]
        echo_json({"command": "model combine", "output": place, "up_to_date": combined is None, "terms": described})


def _beside(loaded: Bundle, target: str, ending: str) -> str:
    """water.model -> water-mace.model, water-lammps.pt, water-ase"""
    stem = str(loaded.path).rstrip("/")
    for suffix in (*bundles.suffixes(loaded.family), ".model"):
        stem = stem.removesuffix(suffix)
    return f"{stem}{'' if ending.startswith('-') else f'-{target}'}{ending}"
