"""The submit script that a batch system would get, without submitting it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from psiflow_cli.errors import UsageError
from psiflow_cli.site.executor import ResolvedExecutor

PORT = 50000
"""Stands where the run's own port would."""
_ANSWER = "Submitted batch job 1\nJob <1> is submitted\n1 job(s) submitted to cluster 1.\n"
"""What every batch system's submit command would say."""


def script(resolved: ResolvedExecutor) -> str:
    """The text of the script, with a stand-in for the port, the run's folder and the keys' folder.

    Raises UsageError for a provider that has no script.
    """
    from parsl.providers.cluster_provider import ClusterProvider

    kind = resolved.provider.type
    provider = import_module(f"psiflow_cli.runtime.providers.{kind}").build(resolved.provider, resolved)
    if not isinstance(provider, ClusterProvider):
        raise UsageError(f"the provider {kind} submits no script", "only batch systems have one")
    with TemporaryDirectory(prefix="psiflow-") as name:
        folder = Path(name)
        command = _launch_command(resolved, provider, folder)
        submitted: list[str] = []

        def answer(_self: Any, given: str, timeout: float | None = None) -> tuple[int, str, str]:
            submitted.append(given)
            return 0, _ANSWER, ""

        provider.script_dir = str(folder)
        with _replaced(ClusterProvider, "execute_wait", answer):  # some providers call it past the instance
            provider.submit(command, 1, f"parsl.{resolved.label}.block-0")
        texts = [path.read_text() for path in sorted(folder.iterdir()) if path.is_file() and path.suffix != ".json"]
        # HTCondor has a description and a script; the description says which script, so it comes first
        texts.sort(key=lambda text: text.startswith("#!"))
        return "\n".join([*texts, f"# submitted with: {submitted[-1]}"]).replace(name, "RUN.run/parsl")


@contextlib.contextmanager
def _replaced(owner: type, name: str, value: Any) -> Iterator[None]:
    old = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, old)


def _launch_command(resolved: ResolvedExecutor, provider: Any, folder: Path) -> str:
    """What a block starts; the parts that Parsl fills in when it starts are filled in here."""
    executor = import_module(f"psiflow_cli.runtime.executors.{resolved.table.type}").build(resolved, provider, folder)
    executor.run_dir = str(folder)
    executor.worker_port = PORT
    executor.cert_dir = str(folder / "certificates")
    executor.logconf_path = None
    executor.initialize_scaling()
    command: str = executor._get_launch_command("0")
    return command
