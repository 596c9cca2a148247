"""The terms of a sum of potentials: what an expression says, read and checked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import registry
from psiflow_cli.commands.shared import bundles, own_file
from psiflow_cli.errors import PsiflowError, UsageError, nearest

if TYPE_CHECKING:
    from psiflow_cli.stages.models.combine import Source
    from psiflow_cli.stages.models.expression import Piece


def sources(text: str, use: bundles.ModelUse) -> list[Source]:
    """What each term of an expression adds; `use` is that of bare model files.

    Raises what is wrong with a term, where it stands.
    """
    from psiflow_cli.stages.models import expression

    pieces = expression.parse(text, _is_model, registry.names("references"))
    return [source for piece in pieces for source in _sources(text, piece, use)]


def _is_model(name: str) -> bool:
    return os.path.isfile(name) or os.path.isfile(os.path.join(name, "model.toml"))


def _sources(text: str, piece: Piece, use: bundles.ModelUse) -> list[Source]:
    """What a term of the expression adds. Raises what is wrong with it, where it stands."""
    from psiflow_cli.stages.models import combine as stage
    from psiflow_cli.stages.models import expression as written

    def wrong(problem: str, hint: str) -> UsageError:
        return written.wrong(text, piece.at, problem, hint)

    try:
        if _is_model(piece.name):
            if not (piece.name.endswith(".py") and own_file.is_reference(Path(piece.name))):
                of_file = use.family if os.path.isfile(piece.name) and not piece.name.endswith(".py") else None
                model = bundles.load(piece.name, bundles.ModelUse(use.trust, piece.head, of_file))
                return stage.of_model(model, os.path.basename(os.path.normpath(piece.name)), piece.factor)
            if piece.head is not None:
                raise wrong(f"{piece.name} is a reference, which has no heads", f"leave out @{piece.head}")
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
            raise wrong(f"{name} is a reference, which has no heads", f"leave out @{piece.head}")
        stage.check_in_process(name)
        settings = registry.load("references", name).settings(None, pairs)
        return [stage.of_reference(name, settings, piece.name, piece.factor)]
    except PsiflowError as error:
        if error.message.startswith(repr(text)):
            raise
        message, hint = (
            each.replace("--head ", "@").replace("--set ", f"{piece.name.partition(':')[0]}:")
            for each in (error.message, error.hint)
        )
        raise PsiflowError(f"{text!r}, character {piece.at}: {message}", hint, error.exit_code) from None


def _unknown(text: str, name: str) -> tuple[str, str]:
    """What is wrong with a term that is neither a file nor a reference, and what to do."""
    from psiflow_cli.stages.models import combine as stage

    if os.path.isdir(text):
        return f"{text}: a folder without a model.toml", "a bundle is a directory with a model.toml in it"
    folder, own = os.path.split(text)
    names = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
    known = [
        *stage.in_process(),
        *(os.path.join(folder, each) for each in names if _is_model(os.path.join(folder, each))),
    ]
    if "." in own or folder:
        hint = nearest(text, known)
        return f"{text}: no such model", hint if hint.startswith("did") else "check its name and the working directory"
    hint = nearest(name, known)
    return f"{text!r} is neither a model in this folder nor a reference", hint if hint.startswith("did") else (
        f"references: {', '.join(stage.in_process())}; write a factor as in 2*a.model"
    )
