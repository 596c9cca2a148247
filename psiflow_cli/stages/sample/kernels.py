"""How the model is computed, as workers have found by measuring: said once, and written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.console import detail, note

if TYPE_CHECKING:
    from psiflow_cli.messages import FastPathChoice
    from psiflow_cli.stages.core.workspace import Workspace


class Kernels:
    """The choices of a run so far."""

    def __init__(self, workspace: Workspace, fingerprint: str) -> None:
        self._journal, self._fingerprint = workspace.run.journal, fingerprint
        self._known: set[tuple[str, int]] = set()

    def learn(self, choice: FastPathChoice | None) -> None:
        """Note a choice that is new; what could be installed is told with the first one."""
        if not choice or (choice["path"], choice["atoms"]) in self._known:
            return
        if choice["install"] and not self._known:
            what = " or ".join(f"pip install {packages}" for packages in choice["install"])
            note(f"faster kernels for this model can be installed in the workers' environment: {what}")
        self._known.add((choice["path"], choice["atoms"]))
        detail(describe(choice))
        for name, reason in choice["refused"].items():
            detail(f"kernels {name} are not used: {reason}")
        self._journal.append({"kind": "kernels", "of": self._fingerprint, **choice})


def describe(choice: FastPathChoice) -> str:
    """The path, and what each takes."""
    times = ", ".join(f"{name} {ms:.3g} ms" for name, ms in sorted(choice["ms"].items(), key=lambda item: item[1]))
    overrule = "[resources] kernels in the site file overrides this"
    return f"the model is computed by {choice['path']}, the fastest for {choice['atoms']} atoms ({times}); {overrule}"
