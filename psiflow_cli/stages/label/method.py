"""A reference with its settings, and what its complaints are about."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import registry
from psiflow_cli.errors import BAD_DATA, BadData, PsiflowError
from psiflow_cli.protocols import Depends, HasIdentity, Locates, Reference, RunsAs
from psiflow_cli.runtime.request import fingerprint, sha256

if TYPE_CHECKING:
    from psiflow_cli.messages import Settings


_WORD = r"[a-z][\w-]{2,}"


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
        return str(Path(self.name).absolute()) if self._is_file else self.module.__name__

    @property
    def requirements(self) -> dict[str, str]:
        """The modules that workers need for it, each with its name."""
        more = self.module.depends(self.settings)[0] if isinstance(self.module, Depends) else ()
        return dict.fromkeys((*self.module.REQUIRES, *more), f"the reference {self.name}")

    @property
    def frame_inputs(self) -> tuple[str, ...]:
        """What it reads of a frame besides its structure; see `Reference.FRAME_INPUTS`."""
        more = self.module.depends(self.settings)[1] if isinstance(self.module, Depends) else ()
        return (*self.module.FRAME_INPUTS, *more)

    @property
    def _is_file(self) -> bool:
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
        """What goes into the frames as `psiflow_reference`; a file of the user's own is part of what it is.

        So is what it imports that lies beside it.
        """
        source = [sha256(Path(file)) for file in (self.name, *registry.beside(self.name))] if self._is_file else []
        return f"{self.stem}-{fingerprint([self.stem, self.identity, *source])[:12]}"


@contextlib.contextmanager
def naming(method: Method) -> Iterator[None]:
    """Put the input's name, and the line where it can be told, before what the code says: a worker knows neither."""
    try:
        yield
    except PsiflowError as error:
        own = str(Path(method.input_file)) if method.input_file else ""
        if error.exit_code != BAD_DATA or not own or error.message.startswith((own, method.input_file)):
            raise
        if isinstance(method.module, Locates):
            place = method.module.locate(method.settings, error.message) or method.input_file
        else:
            place = _place(method.input_file, error.message)
        raise BadData(f"{place}: {error.message}", error.hint) from None


def _place(input_file: str, message: str) -> str:
    """`file:line` of the one line that has the longest word of a message, one in quotes first, or `file`."""
    try:
        lines = Path(input_file).read_text(encoding="utf-8").lower().splitlines()
    except (OSError, UnicodeDecodeError):
        return input_file  # a model
    words = [set(re.findall(_WORD, line)) for line in lines]
    quoted = " ".join(re.findall(r"['\"]([^'\"]+)['\"]", message))
    for text in (quoted, message):
        for word in sorted(set(re.findall(_WORD, text.lower())), key=lambda word: (-len(word), word)):
            holding = [number for number, of_line in enumerate(words, 1) if word in of_line]
            if len(holding) == 1:
                return f"{input_file}:{holding[0]}"
    return input_file
