"""psiflow model: what a model bundle is, and what it turns into."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from psiflow_cli import options, registry
from psiflow_cli.commands import _model, _stage
from psiflow_cli.console import note, problem
from psiflow_cli.errors import BAD_DATA

if TYPE_CHECKING:
    from psiflow_cli.bundle import Bundle

TARGETS = ("ase", "lammps", "mace", "nequip", "torchsim")
_bundle = click.argument("model", metavar="BUNDLE")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


@click.group("model", short_help="What a model bundle is, and what it turns into")
def command() -> None:
    """Show, verify, export and compile model bundles, as psiflow train makes them."""


@command.command("show")
@_bundle
@_JSON
@options.talk
def show(model: str, as_json: bool) -> None:
    """Show what a model is, how good it is, and on what data it was trained; nothing of it is run.

    The errors are those of the validation set at the epoch whose weights were kept. The weights are checked against
    their sha256 first.

    \b
    Examples:
      psiflow model show water.model
      psiflow model show water.model --json | jq .errors
    """
    from psiflow_cli import bundle
    from psiflow_cli.stages import model as stage

    known = stage.facts(bundle.load(model))
    click.echo(json.dumps(known) if as_json else stage.as_text(known))


@command.command("verify")
@_bundle
@_JSON
@options.talk
def verify(model: str, as_json: bool) -> None:
    """Check that the files of a model are those it was made with, by their sha256.

    Weights, the training data that are kept with them, and compiled models. The exit code is 65 if any differs.

    \b
    Example:
      psiflow model verify water.model
    """
    from psiflow_cli.stages import verify as stage

    found = stage.verify(model)
    if as_json:
        click.echo(json.dumps({"command": "model verify", **found}))
    for wrong in found["wrong"]:
        problem(wrong["message"], wrong["hint"])
    if found["wrong"]:
        sys.exit(BAD_DATA)
    note(f"{model} is as it was made ({found['checked']} checked)")


@command.command("export", cls=options.StageCommand)
@_bundle
@click.option("--to", "target", type=click.Choice(TARGETS), required=True, help="The program that is to read it.")
@click.option(
    "--format",
    "form",
    metavar="NAME",
    help="Where that program reads several [default: the first that is named below].",
)
@click.option("--member", type=click.IntRange(0), metavar="N", help="Of a committee, which one.")
@_model.trust
@options.common
def export(model: str, target: str, form: str | None, member: int | None, trust: bool, common: options.Common) -> None:
    """Write a model in the form that another program reads; energies and forces stay the same.

    \b
    ase       a folder with calculator.py, which gives an ASE calculator, and what it
              loads; of a committee, the mean of all members
    lammps    MACE: what mace_create_lammps_model makes, in --format libtorch
              (pair_style mace) or mliap (pair_style mliap unified; needs cuequivariance);
              NequIP and Allegro: compiled for pair_style nequip or allegro
    mace      the plain .model file, for MACE's own tools
    nequip    the packaged .nequip.zip, for NequIP's own tools
    torchsim  what torch-sim loads: a .model file, or a model compiled for batches

    What is compiled (NequIP and Allegro) runs on machines like the one it was made on: export it there.

    \b
    Examples:
      psiflow model export water.model --to lammps -o water-lammps.pt
      psiflow model export water.model --to ase --member 0 -o water-ase
    """
    from psiflow_cli.stages import export as stage

    loaded = _model.load(model, trust)
    module = registry.load("models", loaded.family)
    forms: stage.Forms = getattr(module, "EXPORTS", {})
    chosen, ending = stage.suffix(loaded.family, forms, target, form)
    members = stage.members(loaded, target, member, target in getattr(module, "WHOLE_COMMITTEES", ()))
    output = common.output or _beside(loaded, target, ending)
    stage.check_output(output, ending)
    job = _stage.job(
        "model-export", loaded.family, "evaluate", (), output, common,
        settings={"model": loaded.fingerprint, "target": target, "format": chosen, "member": member},
        other_inputs=(str(loaded.path),),
    )  # fmt: skip
    task = stage.Export(job, loaded, module.__name__, members, target, chosen)
    _stage.perform(
        job, common,
        plan=lambda _: {"output": output, "target": target, "format": chosen, "members": len(members)},
        run=lambda space: stage.run(task, space),
        say=lambda s: f"{model} for {target} ({s['format']}) -> {s['output']}",
    )  # fmt: skip


def _beside(loaded: Bundle, target: str, ending: str) -> str:
    """water.model -> water-mace.model, water-lammps.pt, water-ase"""
    stem = str(loaded.path).rstrip("/")
    for known in (*getattr(registry.load("models", loaded.family), "FILES", ()), ".model"):
        stem = stem.removesuffix(known)
    return f"{stem}{'' if ending.startswith('-') else f'-{target}'}{ending}"
