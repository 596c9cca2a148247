"""The submit script that a batch system would get, without submitting it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from psiflow_cli import registry
from psiflow_cli.errors import UsageError
from psiflow_cli.runtime import parsl_internals
from psiflow_cli.runtime.providers._parsl_internals import write_scripts
from psiflow_cli.site.executor import ResolvedExecutor

PORT = 50000  # stands where the run's own port would
_ANSWER = "Submitted batch job 1\nJob <1> is submitted\n1 job(s) submitted to cluster 1.\n"
"""What every batch system's submit command would say."""


def script(resolved: ResolvedExecutor) -> str:
    """The text of the script, with a stand-in for the port, the run's folder and the keys' folder.

    Raises UsageError for a provider that has no script.
    """
    with parsl_internals.known_parsl():
        return _script(resolved)


def _script(resolved: ResolvedExecutor) -> str:
    from parsl.providers.cluster_provider import ClusterProvider

    kind, runs = resolved.provider.type, resolved.table.type
    if runs == "threads":
        raise UsageError(f"the executor {resolved.label} has no submit script", "threads run inside psiflow itself")
    provider = registry.load("runtime.providers", kind).build(resolved.provider, resolved)
    if not isinstance(provider, ClusterProvider):
        raise UsageError(f"the provider {kind} has no submit script", "only batch systems have one")
    with TemporaryDirectory(prefix="psiflow-") as name:
        folder = Path(name)
        executor = registry.load("runtime.executors", runs).build(resolved, provider, folder)
        start = parsl_internals.block_command(executor, folder, PORT)
        ours = set(folder.iterdir())  # facts, and the password of Work Queue
        submission = write_scripts(provider, start, f"parsl.{resolved.label}.block-0", folder, _ANSWER)
        texts = [path.read_text() for path in sorted({*folder.iterdir()} - ours) if path.is_file()]
        # HTCondor has a description and a script; the description says which script, so it comes first
        texts.sort(key=lambda text: text.startswith("#!"))
        return "\n".join([*texts, f"# submitted with: {submission}"]).replace(name, "RUN.run/parsl")


def of_block(resolved: ResolvedExecutor, command: str) -> str:
    """The script of a block that only runs a command; Parsl's folder in it is one that is gone."""
    from parsl.providers.cluster_provider import ClusterProvider

    provider = registry.load("runtime.providers", resolved.provider.type).build(resolved.provider, resolved)
    assert isinstance(provider, ClusterProvider)
    with TemporaryDirectory(prefix="psiflow-") as name:
        write_scripts(provider, command, f"parsl.{resolved.label}.block-0", Path(name), _ANSWER)
        return next(path.read_text() for path in Path(name).iterdir() if path.is_file())
