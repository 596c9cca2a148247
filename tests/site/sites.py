"""A whole site file to change, and machines to resolve it on."""

from __future__ import annotations

from psiflow_cli.site.detect import Machine

SITE = """description = "for tests"

[providers.here]
type = "local"

[environments.own]
prefix = ""

[resources.task]
cores = 1

[resources.big]
cores = 2
ranks = 2
threads = 1
memory = "2 GB"
walltime = "2h"

[executors.default]
provider = "here"
resources = "task"

[executors.reference]
type = "htex"
provider = "here"
environment = "own"
resources = "big"

[use]
default = "default"
cp2k.label = "reference"

[defaults.label]
reference = "emt"
"""


def machine(cores=8, memory_mb=16000, gpus=(), nodes=1):
    return Machine(cores=cores, memory_mb=memory_mb, gpus=tuple(gpus), nodes=nodes, slurm_job="")
