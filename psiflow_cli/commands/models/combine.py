"""psiflow model combine: a weighted sum of models and references as one model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from psiflow_cli import formats, options, registry
from psiflow_cli.commands.shared import bundles, own_file
from psiflow_cli.console import echo_json, note
from psiflow_cli.errors import PsiflowError, UsageError, nearest

if TYPE_CHECKING:
    from psiflow_cli.stages.models.combine import Source
    from psiflow_cli.stages.models.expression import Piece


@click.command("combine", cls=options.Command, short_help="Add models and references to one model")
@click.argument("expression", nargs=-1, required=True, metavar="EXPRESSION")
@options.output("-o --output", formats.BUNDLE, "The model bundle to make.", "BUNDLE")
@options.flag("--trust", "Take a model file that is no bundle; such a file is a program.")
@options.flag("--overwrite", "Replace another model.")
@options.flag("--json as_json", "One JSON object on stdout.")
@options.talk
def command(expression: tuple[str, ...], output: str | None, trust: bool, overwrite: bool, as_json: bool) -> None:
    """Add models and references, each with a factor, to a model that every command takes as --model.

    Terms stand with + or - between them, each with a factor before it if it is not 1: 0.5*a.model, 1/3*a.model. A term
    is a model bundle; a bare model file, with --trust; a Python file of your own (see psiflow-files(7)); or a reference
    that computes in the worker's process, with its options behind a colon: xtb:method=GFN1-xTB. Of a model with several
    heads, @ names one: a.model@pbe.

    What is the name of a file is taken as one, with all its spaces, + and -; quotes enclose what would be misread, such
    as an option with a space in it.

    Energies, forces and stresses are added. A stress is known where all terms have one. A committee makes the sum a
    committee, with the spread of its members times its factor. Committees of equal size are added member by member.

    The bundle has copies of all its terms, and can be copied like any other. Nothing can be trained from it, and terms
    of MACE and of NequIP or Allegro, which cannot share an environment, cannot be added.

    \b
    Examples:
      psiflow model combine 'water.model + dftd:xc=pbe,version=d3' -o water-d3.model
      psiflow model combine '0.5*a.model + 0.5*b.model' -o mean.model
      psiflow model combine 'delta.model + xtb:method=GFN1-xTB' -o total.model
    """
    from psiflow_cli.stages.models import combine as stage
    from psiflow_cli.stages.models import expression as written

    place = os.path.normpath(options.required(output, "--output"))
    text = " ".join(expression)
    pieces = written.parse(text, _is_model, registry.names("references"))
    sources = [source for piece in pieces for source in _sources(text, piece, trust)]
    made = stage.make(sources, place, overwrite)
    terms = " ".join(f"{source.term['factor']:+g}*{source.term['what']}" for source in sources)
    note(f"{terms} -> {place}" if made else f"{place} is up to date")
    if as_json:
        described = [source.term for source in sources]
        echo_json({"command": "model combine", "output": place, "up_to_date": made is None, "terms": described})


def _is_model(name: str) -> bool:
    return os.path.isfile(name) or os.path.isfile(os.path.join(name, "model.toml"))


def _sources(text: str, piece: Piece, trust: bool) -> list[Source]:
    """What a term of the expression adds. Raises what is wrong with it, where it stands."""
    from psiflow_cli.stages.models import combine as stage
    from psiflow_cli.stages.models import expression as written

    def wrong(problem: str, hint: str) -> UsageError:
        return written.wrong(text, piece.at, problem, hint)

    try:
        if _is_model(piece.name):
            if bundles.is_model(piece.name) or not piece.name.endswith(".py"):
                model = bundles.load(piece.name, bundles.ModelUse(trust, piece.head))
                return stage.of_model(model, os.path.basename(os.path.normpath(piece.name)), piece.factor)
            if piece.head is not None:
                raise wrong(f"{piece.name} is a reference, which has no heads", f"leave @{piece.head} out")
            settings = registry.load("references", piece.name).settings(None, {})
            parts = own_file.parts(Path(piece.name))
            return [stage.of_reference(piece.name, settings, os.path.basename(piece.name), piece.factor, parts)]
        try:
            name, pairs = written.options(piece.name)
        except ValueError as error:
            raise wrong(str(error), "as in dftd:xc=pbe,version=d3") from None
        if name not in registry.names("references"):
            raise wrong(*_unknown(piece.name, name))
        if piece.head is not None:
            raise wrong(f"{name} is a reference, which has no heads", f"leave @{piece.head} out")
        stage.check_in_process(name)
        settings = registry.load("references", name).settings(None, pairs)
        return [stage.of_reference(name, settings, piece.name, piece.factor)]
    except PsiflowError as error:
        if error.message.startswith(repr(text)):
            raise
        hint = error.hint.replace("--head ", "@").replace("--set ", f"{piece.name.partition(':')[0]}:")
        raise PsiflowError(f"{text!r}, character {piece.at}: {error.message}", hint, error.exit_code) from None


def _unknown(text: str, name: str) -> tuple[str, str]:
    """What is wrong with a term that is neither a file nor a reference, and what to do."""
    from psiflow_cli.stages.models import combine as stage

    if os.path.isdir(text):
        return f"{text}: a folder without a model.toml", "a bundle is a directory with a model.toml in it"
    folder, own = os.path.split(text)
    there = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
    known = [
        *stage.in_process(),
        *(os.path.join(folder, each) for each in there if _is_model(os.path.join(folder, each))),
    ]
    if "." in own or folder:
        hint = nearest(text, known)
        return f"{text}: no such model", hint if hint.startswith("did") else "check its name and the working directory"
    hint = nearest(name, known)
    return f"{text!r} is neither a model here nor a reference", hint if hint.startswith("did") else (
        f"references: {', '.join(stage.in_process())}; a factor is written as in 2*a.model"
    )
