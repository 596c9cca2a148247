"""Virtual machines of Amazon EC2, one for each block. Untested for real.

It needs a file system that all of them and this process mount at the same path (an EFS volume that `worker_init`
mounts), with the run directory and the workers' environment on it. A machine ends itself when its workers end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from psiflow_cli.runtime.providers import _clouds
from psiflow_cli.runtime.providers._clouds import Instances, construct, file
from psiflow_cli.site import schema
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider

_MODULES = ("boto3",)


class Provider(Instances, frozen=True, kw_only=True):
    """In Parsl's own names; Parsl heeds no walltime here, so there is none."""

    type: Literal["aws"]
    image_id: schema.Word  # an AMI of a Debian or Ubuntu: Parsl's start-up script calls apt-get
    key_name: schema.Word
    instance_type: schema.Word = "t2.small"
    region: schema.Word = "us-east-2"
    spot_max_bid: Annotated[float, Meta(ge=0)] = 0
    key_file: str = ""
    """JSON with `aws_access_key_id` and `aws_secret_access_key`; empty: profile, or the variables of these names."""
    profile: schema.Word = ""
    iam_instance_profile_arn: schema.Word = ""
    state_file: str = ""
    """Where Parsl keeps the ids of the network it makes; empty: awsproviderstate.json in the working directory."""
    linger: bool = False  # leave the machines on at the end: they cost until you end them


def build(provider: Provider, resolved: ResolvedExecutor) -> ExecutionProvider:
    """Parsl's AWSProvider, which makes a network of its own the first time."""
    from parsl.launchers import SingleNodeLauncher
    from parsl.providers import AWSProvider

    key_file = file(resolved, "key_file", provider.key_file)

    def make() -> ExecutionProvider:
        return AWSProvider(  # type: ignore[no-untyped-call, unused-ignore]
            image_id=provider.image_id, key_name=provider.key_name, init_blocks=provider.init_blocks,
            min_blocks=provider.min_blocks, max_blocks=provider.max_blocks, nodes_per_block=1,
            worker_init="\n".join(provider.worker_init), instance_type=provider.instance_type,
            region=provider.region, spot_max_bid=provider.spot_max_bid, key_file=key_file,
            profile=provider.profile or None, iam_instance_profile_arn=provider.iam_instance_profile_arn,
            state_file=provider.state_file or None, linger=provider.linger, launcher=SingleNodeLauncher(),
        )  # fmt: skip

    return construct(resolved, _MODULES, "aws", make)


def problems(provider: Provider) -> list[str]:
    return _clouds.problems(_MODULES, "aws")
