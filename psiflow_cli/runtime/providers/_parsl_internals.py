"""What psiflow uses of Parsl's providers beyond their public interface; see `runtime/parsl_internals.py`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from psiflow_cli.runtime.parsl_internals import require

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider
    from parsl.providers.cluster_provider import ClusterProvider


def write_scripts(provider: ClusterProvider, command: str, name: str, folder: Path, answer: str) -> str:
    """Let a provider write its scripts into a folder and submit to nobody; returns the command that it would run.

    The class is changed for that time, since some providers call `execute_wait` past the instance.
    """
    from parsl.providers.cluster_provider import ClusterProvider

    submitted: list[str] = []

    def execute_wait(_self: object, command: str, timeout: float | None = None) -> tuple[int, str, str]:
        submitted.append(command)
        return 0, answer, ""

    require(ClusterProvider, "execute_wait")
    require(provider, "script_dir")
    provider.script_dir = str(folder)
    with _replaced(ClusterProvider, "execute_wait", execute_wait):
        provider.submit(command, 1, name)
    return submitted[-1]


@contextlib.contextmanager
def _replaced(owner: type, name: str, function: Callable[..., object]) -> Iterator[None]:
    old = getattr(owner, name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        setattr(owner, name, old)


def google_provider(api_version: str) -> Callable[..., ExecutionProvider]:
    """Parsl's class, which asks its client for a zone before it has one, and which Parsl's scaling finds incomplete."""
    from parsl.providers import GoogleCloudProvider
    from parsl.providers.googlecloud import googlecloud

    module: Any = googlecloud

    class Working(GoogleCloudProvider):  # type: ignore[misc, unused-ignore]
        nodes_per_block = 1

        def get_zone(self, region: str) -> object:
            self.client = module.googleapiclient.discovery.build("compute", api_version)
            zone: object = super().get_zone(region)  # type: ignore[no-untyped-call, unused-ignore]
            if zone is None:
                raise ValueError(f"no zone of region {region!r} is up")
            return zone

    return cast("Callable[..., ExecutionProvider]", Working)


def let_pods_end(provider: ExecutionProvider) -> None:
    """Let pods end, and be seen to be gone.

    By default Kubernetes starts an ended container again, for ever, and Parsl takes a pod that somebody deleted for one
    that runs: in both cases a block would never end.
    """
    require(provider, "kube_client")
    client: Any = cast("Any", provider).kube_client
    create, read = client.create_namespaced_pod, client.read_namespaced_pod

    def create_once(*, namespace: str, body: SimpleNamespace) -> object:
        body.spec.restart_policy = "Never"
        return create(namespace=namespace, body=body)

    def read_or_gone(*, name: str, namespace: str) -> object:
        try:
            return read(name=name, namespace=namespace)
        except Exception as error:
            if getattr(error, "status", None) != 404:
                raise
            return SimpleNamespace(status=SimpleNamespace(phase="Failed"))

    client.create_namespaced_pod, client.read_namespaced_pod = create_once, read_or_gone
