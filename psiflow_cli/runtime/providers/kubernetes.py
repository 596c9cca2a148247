"""Pods of a Kubernetes cluster, one for each block. Untested for real.

It needs a file system that all pods and this process mount at the same path, with the run directory and the workers'
environment on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, field

from psiflow_cli.errors import BadConfig
from psiflow_cli.runtime.providers import _clouds
from psiflow_cli.runtime.providers._clouds import construct, place, required
from psiflow_cli.runtime.providers._parsl_internals import let_pods_end
from psiflow_cli.site import schema
from psiflow_cli.site.detect import Machine, megabytes
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider

_MODULES = ("kubernetes",)
Cpus = Annotated[float, Meta(gt=0)]
Memory = Annotated[str, Meta(pattern=r"^\d+(\.\d+)?[MGT]i$")]
"""In Kubernetes' own units, such as `16Gi`."""
Mount = Annotated[str, Meta(pattern=r"^/[^\n\r:]*$")]


class Provider(schema.Provider, frozen=True, kw_only=True):
    """In Kubernetes' own names; a pod has no time limit."""

    type: Literal["kubernetes"]
    image: schema.Word = ""
    """Container image of the pods, which has bash; the workers' Python comes from the shared file system."""
    namespace: schema.Word = "default"
    init_blocks: schema.Amount = 1
    min_blocks: schema.Amount = 0
    max_blocks: schema.Count = 1
    max_cpu: Cpus = 2  # limit of a pod, and the cores that tasks share
    max_mem: Memory = "4Gi"
    init_cpu: Cpus | None = None  # requested for a pod; None: as much as its limit
    init_mem: Annotated[str, Meta(pattern=r"^(\d+(\.\d+)?[MGT]i)?$")] = ""
    """Requested for a pod; empty: as much as its limit."""
    extra_requests: dict[str, str] = field(default_factory=dict)
    extra_limits: dict[str, str] = field(default_factory=dict)
    """Such as `{"nvidia.com/gpu" = "1"}`, which makes it a pod with a GPU."""
    pod_name: schema.Word = ""
    user_id: schema.Amount | None = None
    group_id: schema.Amount | None = None
    run_as_non_root: bool = False
    secret: schema.Word = ""  # name of the secret that pulls the image
    persistent_volumes: list[tuple[schema.Word, Mount]] = field(default_factory=list)
    """Pairs of a claim's name and the folder to mount it at."""
    service_account_name: schema.Word = ""
    annotations: dict[str, str] = field(default_factory=dict)

    def share(self, here: Machine) -> Machine:
        gpus = sum(int(count) for name, count in self.extra_limits.items() if name.endswith("/gpu") and count.isdigit())
        return Machine(max(1, int(self.max_cpu)), megabytes(self.max_mem), tuple(map(str, range(gpus))), 1, "")


def build(provider: Provider, resolved: ResolvedExecutor) -> ExecutionProvider:
    """Parsl's KubernetesProvider, whose pods end for good."""
    from parsl.providers import KubernetesProvider

    if (provider.user_id is None) != (provider.group_id is None):
        raise BadConfig(f"{place(resolved)} user_id: needs group_id", "Parsl ignores one without the other")
    image = required(resolved, "image", provider.image)

    def make() -> ExecutionProvider:
        return KubernetesProvider(
            image=image, namespace=provider.namespace, nodes_per_block=1, init_blocks=provider.init_blocks,
            min_blocks=provider.min_blocks, max_blocks=provider.max_blocks, max_cpu=provider.max_cpu,
            max_mem=provider.max_mem, init_cpu=provider.init_cpu or provider.max_cpu,
            init_mem=provider.init_mem or provider.max_mem, extra_requests=provider.extra_requests,
            extra_limits=provider.extra_limits, worker_init="\n".join(provider.worker_init),
            pod_name=provider.pod_name or None,
            user_id=None if provider.user_id is None else str(provider.user_id),
            group_id=None if provider.group_id is None else str(provider.group_id),
            run_as_non_root=provider.run_as_non_root, secret=provider.secret or None,
            persistent_volumes=list(provider.persistent_volumes),
            service_account_name=provider.service_account_name or None,
            annotations=provider.annotations or None,
        )  # fmt: skip

    pods = construct(resolved, _MODULES, "kubernetes", make)
    let_pods_end(pods)
    return pods


def problems(provider: Provider) -> list[str]:
    return _clouds.problems(_MODULES, "kubernetes")
