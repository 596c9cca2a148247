"""Model bundles: a directory with `model.toml` and the weights of each member in the trainer's native format."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psiflow_cli import toml
from psiflow_cli.errors import BadData, NoInput


@dataclass(frozen=True)
class Bundle:
    """A model as `psiflow train` left it."""

    path: Path
    facts: dict[str, Any]
    """The contents of model.toml."""

    @property
    def family(self) -> str:
        return str(self.facts["family"])

    @property
    def elements(self) -> list[str]:
        return list(self.facts["elements"])

    @property
    def members(self) -> list[str]:
        """Absolute paths of the members' folders."""
        return [str((self.path / f"member-{i}").absolute()) for i in range(self.facts["members"])]

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the weights of every member."""
        weights = "\n".join(f"{name} {digest}" for name, digest in sorted(self.facts["weights"].items()))
        return hashlib.sha256(weights.encode()).hexdigest()[:16]


def load(name: str) -> Bundle:
    """Open a bundle and check every weight file against its sha256; nothing of it is run.

    Raises NoInput if there is none, BadData if it is broken or its weights are not those it was made with.
    """
    path = Path(name)
    if not path.exists():
        raise NoInput(f"{name}: no such model bundle", "psiflow train makes one")
    try:
        facts = toml.loads((path / "model.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise BadData(f"{name}: not a model bundle", "a bundle is a directory with a model.toml in it") from None
    _check_facts(name, facts)
    bundle = Bundle(path, facts)
    for file, digest in facts["weights"].items():
        if not (path / file).is_file():
            raise BadData(f"{name}/{file}: missing from the bundle", "copy the whole directory")
        if hashlib.sha256((path / file).read_bytes()).hexdigest() != digest:
            raise BadData(f"{name}/{file}: not the weights that model.toml names (sha256)", _DISTRUST)
    return bundle


_DISTRUST = "a model file is a program; do not run what you do not trust"
_FACTS: dict[str, type] = {"family": str, "elements": list, "members": int, "weights": dict}


def _check_facts(name: str, facts: dict[str, Any]) -> None:
    """Raise BadData for a model.toml that does not say what every model is, or leaves weights unnamed."""
    for key, kind in _FACTS.items():
        if not isinstance(facts.get(key), kind):
            raise BadData(f"{name}/model.toml: {key} is missing or wrong", "copy the bundle again, or train it again")
    named = [Path(file) for file in facts["weights"]]
    folders = {f"member-{i}" for i in range(facts["members"])}
    if not folders or {str(file.parent) for file in named} != folders:
        raise BadData(f"{name}/model.toml: [weights] does not fit its {facts['members']} member(s)", _DISTRUST)
    # A family finds its weights by their suffix: one that is not named would be run without having been checked.
    suffixes = {file.suffix for file in named}
    for found in sorted(file for folder in folders for file in Path(name, folder).glob("*")):
        if found.suffix in suffixes and found.relative_to(name) not in named:
            raise BadData(f"{found}: model.toml does not name these weights", _DISTRUST)
