"""Virtual machines of Google Compute Engine, one for each block. Untested for real.

It needs a file system that all of them and this process mount at the same path (a Filestore share that `worker_init`
mounts), with the run directory and the workers' environment on it. Parsl numbers its machines from 0 in every run, so
one project and zone serve one run at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from psiflow_cli.runtime.providers import _clouds
from psiflow_cli.runtime.providers._clouds import Instances, construct, file, required
from psiflow_cli.runtime.providers._parsl_internals import google_provider
from psiflow_cli.site import schema
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from parsl.launchers import SingleNodeLauncher
    from parsl.providers.base import ExecutionProvider

_MODULES = ("googleapiclient.discovery",)


class Provider(Instances, frozen=True, kw_only=True):
    """In Parsl's own names."""

    type: Literal["googlecloud"]
    project_id: schema.Word = ""
    key_file: str = ""  # JSON of a service account's key
    region: schema.Word = "europe-west1"
    os_project: schema.Word = "debian-cloud"
    os_family: schema.Word = "debian-12"
    google_version: Literal["v1", "beta"] = "v1"
    instance_type: schema.Word = "n1-standard-1"


def build(provider: Provider, resolved: ResolvedExecutor) -> ExecutionProvider:
    """Parsl's GoogleCloudProvider, made to work."""
    project_id = required(resolved, "project_id", provider.project_id)
    key_file = file(resolved, "key_file", required(resolved, "key_file", provider.key_file))

    def make() -> ExecutionProvider:
        return google_provider(provider.google_version)(
            project_id=project_id, key_file=key_file, region=provider.region, os_project=provider.os_project,
            os_family=provider.os_family, google_version=provider.google_version,
            instance_type=provider.instance_type, init_blocks=provider.init_blocks,
            min_blocks=provider.min_blocks, max_blocks=provider.max_blocks, launcher=_launcher(provider),
        )  # fmt: skip

    return construct(resolved, _MODULES, "google_cloud", make)


def _launcher(provider: Provider) -> SingleNodeLauncher:
    """A start-up script with `worker_init`, of which this provider of Parsl's knows nothing."""
    from parsl.launchers import SingleNodeLauncher

    class Startup(SingleNodeLauncher):  # type: ignore[misc, unused-ignore]
        def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
            wrapped = super().__call__(command, tasks_per_node, nodes_per_block)
            # whatever ends the script ends the machine, which costs as long as it is on
            return "\n".join(["#!/bin/bash", "trap 'shutdown -h now' EXIT", *provider.worker_init, wrapped])

    return Startup()


def problems(provider: Provider) -> list[str]:
    needed = {"project_id": provider.project_id, "key_file": provider.key_file}
    empty = [f"{key}: required, but missing" for key, value in needed.items() if not value]
    return [*_clouds.problems(_MODULES, "google_cloud"), *empty]
