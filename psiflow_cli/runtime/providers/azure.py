"""Virtual machines of Microsoft Azure, one for each block. Untested for real.

It needs a file system that all of them and this process mount at the same path (an Azure Files share that `worker_init`
mounts), with the run directory and the workers' environment on it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from psiflow_cli.errors import BadConfig
from psiflow_cli.runtime.providers import _clouds
from psiflow_cli.runtime.providers._clouds import Instances, construct, file, place
from psiflow_cli.site import schema
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider

PASSWORD = "AZURE_VM_PASSWORD"
"""The variable with the machines' password: a run keeps a copy of its site, which is no place for secrets."""
_MODULES = (
    "azure.common.credentials", "azure.mgmt.compute", "azure.mgmt.network", "azure.mgmt.resource",
    "msrestazure",
)  # fmt: skip


class VmReference(schema.Table, frozen=True, kw_only=True):
    """Image and type of the machines, in Azure's own names."""

    publisher: schema.Word
    offer: schema.Word
    sku: schema.Word
    version: schema.Word = "latest"
    vm_size: schema.Word
    disk_size_gb: schema.Count = 30
    admin_username: schema.Word = "psiflow"


class Provider(Instances, frozen=True, kw_only=True):
    """In Parsl's own names."""

    type: Literal["azure"]
    vm_reference: VmReference
    location: schema.Word = "westus"
    group_name: schema.Word = "parsl.group"
    vnet_name: schema.Word = "parsl.group"
    """Parsl also takes this for a resource group, so it had better be the same as `group_name`."""
    key_name: schema.Word = ""
    key_file: str = ""
    """JSON with AZURE_CLIENT_ID, …_SECRET, …_TENANT_ID and …_SUBSCRIPTION_ID; empty: the variables of these names."""
    linger: bool = False  # leave the machines on at the end: they cost until you end them


def build(provider: Provider, resolved: ResolvedExecutor) -> ExecutionProvider:
    from parsl.launchers import SingleNodeLauncher
    from parsl.providers import AzureProvider

    key_file = file(resolved, "key_file", provider.key_file)
    password = os.environ.get(PASSWORD, "")
    if not password:
        raise BadConfig(
            f"{place(resolved)} type: azure needs ${PASSWORD}",
            f"set it to the password of the machines: export {PASSWORD}=...",
        )
    vm = {name: getattr(provider.vm_reference, name) for name in VmReference.__struct_fields__}

    def make() -> ExecutionProvider:
        return AzureProvider(  # type: ignore[no-untyped-call, unused-ignore]
            vm_reference={**vm, "password": password}, init_blocks=provider.init_blocks,
            min_blocks=provider.min_blocks, max_blocks=provider.max_blocks,
            worker_init="\n".join(provider.worker_init), location=provider.location,
            group_name=provider.group_name, key_name=provider.key_name or None, key_file=key_file,
            vnet_name=provider.vnet_name, linger=provider.linger, launcher=SingleNodeLauncher(),
        )  # fmt: skip

    return construct(resolved, _MODULES, "azure", make)


def problems(provider: Provider) -> list[str]:
    password = [] if os.environ.get(PASSWORD) else [f"${PASSWORD} is not set"]
    return [*_clouds.problems(_MODULES, "azure"), *password]
