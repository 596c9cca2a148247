"""A reference with its settings, and what its complaints are about."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import BAD_DATA, BadData, PsiflowError
from psiflow_cli.protocols import HasIdentity, Locates, Reference, RunsAs
from psiflow_cli.runtime.request import fingerprint, sha256

if TYPE_CHECKING:
    from psiflow_cli.messages import Settings


@dataclass(frozen=True)
class Method:
    """A reference with its settings: what decides a label besides the frame."""

    name: str  # of a shipped reference, or the path of the user's own file
    module: Reference
    settings: Settings
    input_file: str = ""

    @property
    def stem(self) -> str:
        return Path(self.name).stem

    @property
    def worker(self) -> str:
        """How a worker finds it: a module's name or a file's path."""
        return str(Path(self.name).absolute()) if self._own else self.module.__name__

    @property
    def _own(self) -> bool:
        return self.name.endswith(".py")

    @property
    def identity(self) -> Settings:
        """The settings as far as they decide a label: where a model lies on the disk does not."""
        return self.module.identity(self.settings) if isinstance(self.module, HasIdentity) else self.settings

    @property
    def runs_as(self) -> tuple[str, str]:
        """The family and the operation by which a site names the executor."""
        return self.module.runs_as(self.settings) if isinstance(self.module, RunsAs) else (self.stem, "label")

    @cached_property
    def fingerprint(self) -> str:
        """What goes into the frames as `psiflow_reference`; a file of the user's own is part of what it is."""
        source = [sha256(Path(self.name))] if self._own else []
        return f"{self.stem}-{fingerprint([self.stem, self.identity, *source])[:12]}"


@contextlib.contextmanager
def naming(method: Method) -> Iterator[None]:
    """Put the input's name, and the line where it can be told, before what the code says: a worker knows neither."""
    try:
        yield
    except PsiflowError as error:
        if error.exit_code != BAD_DATA or not method.input_file:
            raise
        module = method.module
        place = (isinstance(module, Locates) and module.locate(method.settings, error.message)) or method.input_file
        raise BadData(f"{place}: {error.message}", error.hint) from None
