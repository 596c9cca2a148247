"""Variables of the user's shell, or of a job around the command, that its own jobs and programs must not inherit.

`SBATCH_*` overrules the lines of a script, `SQUEUE_FORMAT` changes what is read of a queue, `SLURM_MEM_PER_CPU` of an
outer job stops `srun` in an inner one, and `mpirun` refuses to start below another. What finds the queue stays
(`SLURM_CONF`, `PBS_DEFAULT`, `LSF_ENVDIR`, `SGE_ROOT`), and so does what an installation needs (`SLURM_MPI_TYPE`).
Sources: sbatch(1), srun(1), squeue(1); qsub(1B) of OpenPBS and TORQUE; bsub(1); qsub(1) of Grid Engine; mpirun(1).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

_PBS = (
    r"(?:PBS|QSUB|QSTAT|QDEL)_(?!CONF_FILE|DEFAULT$|SERVER$|PRIMARY$|SECONDARY$|EXEC$|HOME$|LEAF_|AUTH_|ENCRYPT_"
    r"|[A-Z_]+_SERVICE_PORT$)\w+"
)
BATCH_SYSTEMS = {
    "slurm": r"(?:SBATCH|SALLOC|SRUN|SQUEUE|SACCT|SACCTMGR|SCANCEL|SCONTROL|SINFO|SLURMD)_\w+"
    r"|SLURM_(?!CONF$|CONF_SERVER$|JWT$|MPI_TYPE$|ROOT$|HOME$|PREFIX$|DIR$)\w+",
    "pbspro": _PBS,
    "torque": _PBS,
    "lsf": r"(?:LSB|BSUB|BJOBS)_(?!CONFDIR$|SHAREDIR$|QUERY_|MBD_|SBD_)\w+|LS_(?:JOBPID|SUBCWD|EXECCWD|EXEC_T)",
    "grid_engine": r"SGE_(?!ROOT$|CELL$|CLUSTER_NAME$|QMASTER_PORT$|EXECD_PORT$|ARCH$)\w+|QRSH_\w+|PE|PE_HOSTFILE"
    r"|NSLOTS|NHOSTS|NQUEUES|JOB_ID|JOB_NAME|JOB_SCRIPT|ARC|REQUEST|RESTARTED",
    # the others beginning so are configuration, which finds the queue
    "condor": r"_CONDOR_(?:JOB|SLOT|MACHINE_AD|SCRATCH_DIR|CHIRP|WRAPPER|CREDS|BIN)\w*",
}
"""What options of a batch system's commands, or a job around this process, leave in the environment."""
ALLOCATION = (
    r"PBS_(?:NODEFILE|ENVIRONMENT|GPUFILE)|LSB_(?:JOBID|HOSTS|MCPU_HOSTS|DJOB_\w+|AFFINITY_HOSTFILE)|PE_HOSTFILE"
)
"""By which an mpirun finds the nodes and the slots of a job of PBS, LSF or Grid Engine."""
MPI = (
    r"(?:PMI2?|PALS|HYDI)_\w+|PMIX_(?!MCA_)\w+|PRTE_(?!MCA_|ALLOW_)\w+|MPI_LOCAL(?:RANKID|NRANKS)|MV2_COMM_WORLD_\w+"
    r"|(?:I_MPI_)?HYDRA_HOST_FILE"
    r"|OMPI_(?:COMM_WORLD|APP_CTX|NUM_APP_CTX|UNIVERSE_SIZE|FIRST_RANKS|COMMAND|ARGV|FILE_LOCATION|PARENT)\w*"
    r"|OMPI_MCA_(?:ess|pmix)\w*|OMPI_MCA_(?:initial_wdir|shmem_RUNTIME_QUERY_hint|mpi_oversubscribe)"
    r"|OMPI_MCA_orte_(?:app_num|bound_at|ess|hnp|jobfam|launch|local_daemon|num_|precondition|top_)\w*"
)
"""What mpirun and srun tell the ranks that they start; a user's own settings, such as OMPI_MCA_btl, are not in it."""
WORKFLOWS = (
    r"(?:LOCAL_|GROUP_|ROLE_)?RANK|(?:LOCAL_|ROLE_)?WORLD_SIZE|MASTER_(?:ADDR|PORT)|TORCHELASTIC_\w+"
    r"|PARSL_(?:CORES|MEMORY_GB|WORKER_\w+)"
)
"""What torchrun and Parsl tell the processes that they start, and a trainer or a worker would take for its own."""
BINDING = (
    r"OMP_(?:PLACES|PROC_BIND|THREAD_LIMIT|DYNAMIC)|GOMP_CPU_AFFINITY|KMP_(?:AFFINITY|HW_SUBSET)"
    r"|MKL_DOMAIN_NUM_THREADS|(?:BLIS|GOTO)_NUM_THREADS|(?:OMPI|PRTE)_MCA_hwloc_(?:base|default)_\w+"
    r"|OMPI_MCA_rmaps_base_(?:mapping|ranking)_policy|OMPI_MCA_(?:orte_)?rankfile|I_MPI_PIN\w*"
    r"|MV2_(?:CPU_MAPPING|CPU_BINDING_\w+|ENABLE_AFFINITY)"
)
"""What binds threads and ranks, or says how many there are, against what `[resources]` gives each task."""
DEVICES = "(?:CUDA|ROCR|HIP)_VISIBLE_DEVICES|GPU_DEVICE_ORDINAL|ZE_AFFINITY_MASK"
"""What this host's GPUs are, or those of the job around this process; a job is told its own."""
SRUN_IN_STEP = (
    r"SRUN_\w+|SLURM_(?:CPU_BIND|MEM_BIND|NTASKS|GPU_BIND)\w*|SLURM_(?:DISTRIBUTION|DIST_PLANESIZE|NPROCS|CPUS_PER_TASK"
    r"|TRES_PER_TASK|EXPORT_ENV|LABELIO|UNBUFFEREDIO|OVERCOMMIT|KILL_BAD_EXIT|STDINMODE|STDOUTMODE|STDERRMODE"
    r"|(?:TASK_)?(?:PROLOG|EPILOG)|HOSTFILE|ARBITRARY_NODELIST|EXACT|EXCLUSIVE|IMMEDIATE|TIMELIMIT|WAIT|THREADS"
    r"|REMOTE_CWD|WORKING_DIR|STEP_GRES|CONTAINER|DISABLE_STATUS)"
)
"""What `srun` reads as its own options, and would take from the step or the script around it."""
_MEMORY = ("SLURM_MEM_PER_CPU", "SLURM_MEM_PER_GPU", "SLURM_MEM_PER_NODE")
"""Of which srun takes one at most."""


def without(environ: Mapping[str, str], *patterns: str, keep: Iterable[str] = ()) -> dict[str, str]:
    """The environment less what matches one of the patterns and is not one of the names to keep."""
    taken = re.compile("|".join(patterns))
    names = set(keep)
    return {name: value for name, value in environ.items() if name in names or not taken.fullmatch(name)}


def for_queue(batch_system: str, keep: Iterable[str] = ()) -> dict[str, str]:
    """The environment in which a batch system's commands do what their command line says, and nothing else."""
    return without(os.environ, BATCH_SYSTEMS.get(batch_system, "(?!)"), keep=keep)


def for_program(launch: str = "") -> dict[str, str]:
    """The environment of a program that a worker starts behind `launch`, or by itself.

    A block is one task of the batch system, with many cores: an mpirun that knew of it would find one slot, and refuse.
    """
    if "srun" in launch:  # or jsrun
        return without(os.environ, MPI, WORKFLOWS, SRUN_IN_STEP)
    # aprun and the mpiexec of some vendors start nothing where they see no job
    allocation = [ALLOCATION] if "mpirun" in launch or not launch else []
    return without(os.environ, MPI, WORKFLOWS, BATCH_SYSTEMS["slurm"], *allocation)


def for_blocks(provider: str, keep: Iterable[str] = ()) -> dict[str, str]:
    """The environment in which a provider of this type asks for its blocks, and which they inherit."""
    if provider in BATCH_SYSTEMS:
        return without(
            os.environ, BATCH_SYSTEMS[provider], MPI, WORKFLOWS, BINDING, DEVICES, *_of_this_job(), keep=keep
        )
    # blocks on this host, or srun's on the nodes of the job around this process
    both = _MEMORY if sum(name in os.environ for name in _MEMORY) > 1 else ()
    environment = without(os.environ, MPI, WORKFLOWS, BINDING, SRUN_IN_STEP, *both, keep=keep)
    if re.search(r"[^\w.-]", environment.get("SLURM_JOB_NAME", "")):
        environment["SLURM_JOB_NAME"] = "psiflow"  # Parsl's launcher makes it part of a file's name, without quotes
    return environment


def _of_this_job() -> list[str]:
    """Names of folders for temporary files that a batch system has made for the job around this process alone."""
    ids = [os.environ.get(name, "").split(".")[0] for name in ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")]
    of_a_job = re.compile("|".join(rf"\b{re.escape(job)}\b" for job in ids if job) or "(?!)")
    return [name for name in ("TMPDIR", "TMP", "TEMP", "TEMPDIR") if of_a_job.search(os.environ.get(name, ""))]


@contextlib.contextmanager
def replaced(environment: Mapping[str, str]) -> Iterator[list[str]]:
    """Let this process, and all that it starts, have this environment for a time; gives the names that it lacks.

    Parsl has no other way to say in which environment it is to submit.
    """
    before = dict(os.environ)
    _become(environment)
    try:
        yield sorted(set(before) - set(environment))
    finally:
        _become(before)


def _become(environment: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)


def worth_saying(names: Iterable[str], provider: str) -> str:
    """`SBATCH_ACCOUNT, 41 SLURM_*`: names that a user may have set on purpose, or how many of a kind there are.

    What mpirun, torchrun or the job around this process has set for its own use is not worth a word.
    """
    telling = "|".join((BATCH_SYSTEMS.get(provider, "(?!)"), BINDING, DEVICES, "TE?MP(?:DIR)?"))
    kinds = defaultdict(list)
    for name in names:
        if re.fullmatch(telling, name):
            kinds[name.split("_")[0]].append(name)
    return ", ".join(
        f"{len(group)} {kind}_*" if len(group) > 3 else ", ".join(group) for kind, group in sorted(kinds.items())
    )
