"""The model that a command uses: a bundle, or a bare model file that the user trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli import registry
from psiflow_cli.console import note
from psiflow_cli.errors import BadData

if TYPE_CHECKING:
    from pathlib import Path

    from psiflow_cli.bundle import Bundle


def load(name: str, trusted: bool, kind: str | None = None) -> Bundle:
    """A bundle whose files are those it was made with, or a model file if it is `trusted`; nothing of it is run.

    Raises NoInput, and BadData for a file that is not trusted or of no known family.
    """
    from pathlib import Path

    from psiflow_cli import bundle

    path = Path(name)
    if not path.is_file():
        loaded = bundle.load(name)
        if loaded.unfinished:
            note(f"{name}: its training was stopped before the end ({_epochs(loaded)})")
        return loaded
    kind = kind or family(path)
    if kind is None or not path.name.endswith(suffixes(kind)):
        known = ", ".join(sorted({suffix for each in registry.names("models") for suffix in suffixes(each)}))
        raise BadData(f"{name}: not a model bundle, nor a model file", f"known model files: {known}")
    if not trusted:
        raise BadData(
            f"{name}: a bare model file is a program, and no bundle says where it comes from",
            "--trust runs it; do so only if you trust who made it",
        )
    return bundle.foreign(path, kind)


def family(path: Path) -> str | None:
    """The family whose trainer's model files end as this one does."""
    return next((name for name in registry.names("models") if path.name.endswith(suffixes(name))), None)


def suffixes(family: str) -> tuple[str, ...]:
    """How the model files of a family end."""
    from psiflow_cli.protocols import ReadsFiles

    module = registry.load("models", family)
    return module.FILES if isinstance(module, ReadsFiles) else ()


def _epochs(loaded: Bundle) -> str:
    done = "/".join(map(str, dict.fromkeys(loaded.facts.get("epochs", []))))
    return f"after {done} epochs" if done else "by the clock"
