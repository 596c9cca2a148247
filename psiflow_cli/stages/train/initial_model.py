"""The model that a training starts from, and what it was trained on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from psiflow_cli import bundle, extxyz
from psiflow_cli.bundle import Bundle
from psiflow_cli.errors import BadData
from psiflow_cli.extxyz import Frame
from psiflow_cli.stages.train.dataset import Reader
from psiflow_cli.stages.train.e0s import E0S

_KEPT = "init"  # the folder in the run's where models to start from are kept while one is trained


@dataclass(frozen=True)
class Start:
    """A model to start from; its files stay where they are while the output is replaced."""

    model: Bundle
    name: str  # as the user calls it

    @property
    def e0s(self) -> E0S | None:
        """Energies of isolated atoms (eV) that its weights were fitted with, if they are known."""
        if self.model.head is not None:
            return self.model.facts.get("head_energies", {}).get(self.model.head)
        return self.model.facts.get("atomic_energies")

    def check(self, elements: Set[str]) -> None:
        """Raise BadData where it lacks an element of the data."""
        if self.model.elements and elements - set(self.model.elements):
            unknown = ", ".join(sorted(elements - set(self.model.elements)))
            raise BadData(
                f"{self.name}: training cannot start from this model, which does not know {unknown}",
                "train without --init",
            )

    def member(self, index: int) -> str:
        """The weights that a member of the new model starts from."""
        return self.model.members[index % len(self.model.members)]

    def data(self) -> dict[str, Reader]:
        """What it was trained on and validated with, as far as it is kept."""
        return {part: partial(self._read, path) for part, path in bundle.training_data(self.model).items()}

    def _read(self, path: Path) -> Iterator[Frame]:
        return extxyz.read(path, name=f"{self.name}/data/{path.name}")


def find(model: Bundle | None, output: str, folder: Path, pin_copy: bool) -> Start | None:
    """The model to start from; with `pin_copy`, a copy in the run's folder.

    Where a model is trained further in its own place and the clock stopped that, it goes on from where it began.
    """
    if model is None:
        return None
    copies = folder / _KEPT
    name = str(model.path)
    begun = model.facts.get("init")
    if model.unfinished and begun and is_output(model, output) and (copies / begun).is_dir():
        return Start(replace(bundle.load(str(copies / begun)), head=model.facts.get("init_head")), name)
    return Start(bundle.pinned(model, copies) if pin_copy else model, name)


def forget(folder: Path) -> None:
    """Remove the copies of models to start from: no training needs them any more."""
    shutil.rmtree(folder / _KEPT, ignore_errors=True)


def is_output(model: Bundle, output: str) -> bool:
    """Whether the model to start from is the one that the new one replaces."""
    return os.path.realpath(model.path) == os.path.realpath(output)
