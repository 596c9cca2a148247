"""The model that a command uses: a bundle, or a bare model file that the user trusts, and which of its heads."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, NamedTuple

from psiflow_cli import options, registry
from psiflow_cli.commands.shared import runner
from psiflow_cli.console import note
from psiflow_cli.errors import BadData, PsiflowError, UsageError, nearest
from psiflow_cli.values import kinds

if TYPE_CHECKING:
    from pathlib import Path

    from psiflow_cli.bundle import Bundle
    from psiflow_cli.stages.core.workspace import Job


class ModelUse(NamedTuple):
    """How a model is to be used."""

    trust: bool
    """Whether a model file that is no bundle may be run."""
    head: str | None
    """Which of its heads predicts."""
    family: str | None = None
    """Whose model a file is whose name does not tell."""


family_of_file = options.name(
    "--family", "NAME", kinds.Name("model family", registry.families(), or_file=False),
    ": family of a model file, if its name does not show it.",
)  # fmt: skip
"""--family"""
_model_use = options.together(
    options.flag("--trust", "Allow a model file that is not a bundle; loading it can run any code in it."),
    options.text("--head", None, "NAME", "Head to use, for a model with several heads."),
    family_of_file,
)


def model_use(function: Callable[..., object]) -> Callable[..., object]:
    """--trust, --head and --family, handed to the command as one `use`."""

    @wraps(function)
    def command(**given: object) -> object:
        use = ModelUse._make(given.pop(name) for name in ModelUse._fields)
        return function(use=use, **given)

    return _model_use(command)


def load(name: str, use: ModelUse, kind: str | None = None) -> Bundle:
    """A bundle whose files are those it was made with, or a model file that is trusted; nothing of it is run.

    Raises NoInput, BadData for a file that is not trusted or of no known family, and UsageError for a head that it does
    not have, or where it has several and none is chosen.
    """
    from dataclasses import replace

    loaded = _open(name, use.trust, kind or use.family)
    if use.family not in (None, loaded.family):
        raise UsageError(f"--family {use.family}: {name} is a model of {loaded.family}", "leave out --family")
    heads = _heads(loaded)
    if use.head is None:
        if heads and len(heads) > 1:
            problem = f"{name}: the model has {len(heads)} heads, but none was chosen: {', '.join(heads)}"
            raise UsageError(problem, f"choose one, as in --head {heads[0]}")
        return loaded
    if heads is None:
        raise UsageError(f"--head {use.head}: {name} is a model of {loaded.family}, which has no heads", "leave it out")
    if heads and use.head not in heads:
        raise UsageError(f"--head {use.head}: {name} has no such head", nearest(use.head, heads))
    # the only one is chosen anyway: what is done with it must not look like something else
    return loaded if len(heads) == 1 else replace(loaded, head=use.head)


def open_any(name: str, whole: bool = True) -> Bundle:
    """A bundle or a Python file, of which nothing is to be run; with `whole`, its files are those it was made with.

    Raises BadData for a bare model file: nothing is known of it before it runs.
    """
    from pathlib import Path

    from psiflow_cli import bundle

    if Path(name).is_file() and family(Path(name)) == "python":
        return _own_file(Path(name))
    return bundle.load(name) if whole else bundle.read(name)


def _heads(loaded: Bundle) -> list[str] | None:
    """The names of a model's heads, as far as it tells without being run; None for a family whose models have none."""
    from pathlib import Path

    from psiflow_cli.protocols import HasHeads

    try:
        family = registry.potential(loaded.family)
    except PsiflowError:  # of another psiflow: who runs it says what is wrong
        return None
    if not isinstance(family, HasHeads):
        return None
    recorded: list[str] = loaded.facts.get("heads", [])
    return recorded or family.heads(Path(next(iter(loaded.weights))))


def _open(name: str, trusted: bool, kind: str | None) -> Bundle:
    from pathlib import Path

    from psiflow_cli import bundle
    from psiflow_cli.protocols import HasParts, ReadsFrames

    path = Path(name)
    if not path.is_file():
        loaded = bundle.load(name)
        if loaded.unfinished:
            note(f"{name}: its training was stopped before the end ({_epochs(loaded)})")
        return loaded
    kind = kind or _family_by_name(path)
    if kind == "python":
        return _own_file(path)
    if kind and not path.name.endswith(suffixes(kind)):
        ends = " or ".join(suffixes(kind))
        raise BadData(f"{name}: not a model file of {kind}", f"its model files end in {ends}; choose another --family")
    if kind is None:
        known = ", ".join(sorted({suffix for each in _names() for suffix in suffixes(each)}))
        raise BadData(f"{name}: neither a model bundle nor a model file", f"known model files: {known}")
    if not trusted:
        raise BadData(
            f"{name}: a model file outside a bundle is a program of unknown origin",
            "run it with --trust, but only if you trust its author",
        )
    module = registry.potential(kind)
    loaded = bundle.foreign(path, kind, module.parts(path) if isinstance(module, HasParts) else ())
    if isinstance(module, ReadsFrames):
        loaded.facts["frame_inputs"] = list(module.FRAME_INPUTS)
    return loaded


def _family_by_name(path: Path) -> str | None:
    """The family that the name of a model file tells; one that psiflow trains comes before others.

    Raises UsageError where several are left.
    """
    possible = _families(path)
    others = [name for name in possible if name not in registry.names("models")]
    if len(possible) == len(others) > 1:
        problem = f"the family of {path} is not known: {', '.join(others[:-1])} or {others[-1]}"
        raise UsageError(problem, f"give it, as in --family {others[0]}")
    if possible and others and possible != others:
        note(f"{path} is read as a model of {possible[0]}; if this is wrong, give --family {' or '.join(others)}")
    return next(iter(possible), None)


def _own_file(path: Path) -> Bundle:
    """A Python file of the user's own, which is trusted since it was named. Raises BadData for one that is no model."""
    from dataclasses import replace

    from psiflow_cli import bundle
    from psiflow_cli.commands.shared import own_file
    from psiflow_cli.potentials import python

    if not own_file.functions(path) & set(python.FUNCTIONS):
        problem = f"{path}:1: it defines neither calculator(device, dtype) nor torchsim(device, dtype)"
        raise BadData(problem, "the first returns an ASE calculator, the second a ModelInterface of torch-sim")
    loaded = bundle.foreign(path, "python", own_file.parts(path))
    reads = ["charge", "multiplicity"]  # of a frame, as its atoms.info
    return replace(loaded, facts={**loaded.facts, "runs_as": path.stem, "frame_inputs": reads})


def module(loaded: Bundle) -> str:
    """The module of its family, for workers."""
    return registry.potential(loaded.family).__name__


def on_site(job: Job, common: options.Common, loaded: Bundle) -> Job:
    """The job with the executor on which the model runs, and what it needs there; see `runner.on_site`."""
    from dataclasses import replace

    needs = dict.fromkeys(loaded.facts.get("requires", registry.potential(loaded.family).REQUIRES), str(loaded.path))
    operation = "label" if loaded.runs_as in registry.names("references") else "evaluate"
    job = replace(job, requires=needs) if loaded.runs_as != loaded.family else job
    return runner.on_site(job, common, loaded.runs_as, operation, head=loaded.head)


def is_model(name: str) -> bool:
    """Whether this is the name of a bundle, a trainer's model file, or a Python file that is no reference."""
    from pathlib import Path

    from psiflow_cli.commands.shared import own_file
    from psiflow_cli.potentials import python

    path = Path(name)
    if not path.is_file() or not family(path):
        return (path / "model.toml").is_file()
    if not name.endswith(python.FILES):
        return True
    try:
        functions = own_file.functions(path)
    except BadData:  # who loads it as a reference says what is wrong
        return False
    return bool(functions & set(python.FUNCTIONS)) and "label" not in functions


def start(name: str, use: ModelUse, family: str | None) -> Bundle:
    """The model to start a training from, of this family or (None) of its own. Raises UsageError; see `load`, too."""
    from pathlib import Path

    family = family or use.family
    possible = _families(Path(name)) if Path(name).is_file() else []
    if family is None and len(possible) > 1:
        raise UsageError(f"the family of {name} is not known: {' or '.join(possible)}", "choose one with --arch")
    loaded = load(name, use, family)
    if loaded.family in registry.names("potentials"):
        hint = "start from a model of this family, or leave out --init"
        if loaded.family in registry.families():
            hint = f"psiflow runs models of {loaded.family} but does not train them: use its own trainer"
        what = {"sum": "a sum of models", "python": "a Python file"}.get(loaded.family, f"a model of {loaded.family}")
        raise UsageError(f"{name} is {what}: a training cannot start from it", hint)
    if family not in (None, loaded.family):
        raise UsageError(f"{name} is a model of {loaded.family}, not of {family}", f"--arch {loaded.family}")
    return loaded


def family(path: Path) -> str | None:
    """The family whose trainer's model files end as this one does."""
    return next(iter(_families(path)), None)


def _families(path: Path) -> list[str]:
    return [name for name in _names() if path.name.endswith(suffixes(name))]


def _names() -> list[str]:
    return [*registry.names("models"), *registry.names("potentials")]


def suffixes(family: str) -> tuple[str, ...]:
    """How the model files of a family end."""
    from psiflow_cli.protocols import ReadsFiles

    module = registry.potential(family)
    return module.FILES if isinstance(module, ReadsFiles) else ()


def _epochs(loaded: Bundle) -> str:
    done = "/".join(map(str, dict.fromkeys(loaded.facts.get("epochs", []))))
    return f"after {done} epochs" if done else "by the clock"
