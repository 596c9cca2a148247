"""Variables of the shell that would overrule a site, and those without which nothing works."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from psiflow_cli import registry
from psiflow_cli.runtime.providers import slurm
from psiflow_cli.site import schema, unused
from psiflow_cli.worker.process import inherited_variables as inherited

TAKEN = {
    "slurm": "SBATCH_PARTITION SBATCH_EXPORT SALLOC_ACCOUNT SQUEUE_FORMAT SQUEUE_STATES SACCT_FORMAT SINFO_PARTITION "
    "SCANCEL_INTERACTIVE SLURM_CLUSTERS SLURM_JOB_ID SLURM_MEM_PER_CPU SLURM_EXPORT_ENV SLURM_TIME_FORMAT "
    "SRUN_CPUS_PER_TASK SLURMD_NODENAME SLURM_CONF_OUT",
    "pbspro": "PBS_JOBID PBS_NODEFILE PBS_O_WORKDIR PBS_DPREFIX PBS_ENVIRONMENT PBS_ARRAY_INDEX",
    "torque": "PBS_JOBID PBS_NODEFILE PBS_DPREFIX QSUB_SLEEP PBS_ARRAYID",
    "lsf": "LSB_DEFAULTQUEUE LSB_JOBID LSB_HOSTS LSB_SUB_USER BSUB_QUIET LSB_BJOBS_FORMAT LS_SUBCWD",
    "grid_engine": "JOB_ID NSLOTS PE_HOSTFILE SGE_TASK_ID SGE_O_WORKDIR QRSH_PORT",
    "condor": "_CONDOR_JOB_AD _CONDOR_SLOT _CONDOR_SCRATCH_DIR",
}
STAY = {
    "slurm": "SLURM_CONF SLURM_CONF_SERVER SLURM_JWT SLURM_MPI_TYPE MY_SLURM_JOB_ID",
    "pbspro": "PBS_CONF_FILE PBS_DEFAULT PBS_SERVER PBS_PRIMARY PBS_EXEC PBS_BATCH_SERVICE_PORT",
    "torque": "PBS_DEFAULT",
    "lsf": "LSF_ENVDIR LSF_BINDIR LSF_LIBDIR LSF_SERVERDIR LSB_CONFDIR XLSF_UIDDIR",
    "grid_engine": "SGE_ROOT SGE_CELL SGE_QMASTER_PORT SGE_EXECD_PORT SGE_CLUSTER_NAME",
    "condor": "CONDOR_CONFIG _CONDOR_SCHEDD_HOST _CONDOR_SEC_TOKEN_DIRECTORY",
}
ALWAYS_TAKEN = "PMI_RANK PMIX_RANK PMIX_SERVER_URI2 OMPI_COMM_WORLD_RANK OMPI_MCA_ess PALS_RANKID MPI_LOCALRANKID RANK "
ALWAYS_TAKEN += "WORLD_SIZE MASTER_ADDR PARSL_CORES I_MPI_PIN_DOMAIN OMPI_MCA_rmaps_base_mapping_policy "
ALWAYS_TAKEN += "OMP_PLACES OMP_PROC_BIND GOMP_CPU_AFFINITY KMP_AFFINITY"
ALWAYS_STAY = "PATH HOME OMP_NUM_THREADS OMP_STACKSIZE OMPI_MCA_btl OMPI_MCA_rmaps_base_oversubscribe PMIX_MCA_gds "
ALWAYS_STAY += "UCX_TLS I_MPI_FABRICS HYDRA_FULL_ERROR PYTHONPATH LD_LIBRARY_PATH PSIFLOW_SITE"


def test_every_batch_system_is_listed():
    """One that is not would count as blocks on this host."""
    modules = {name: registry.load("runtime.providers", name) for name in registry.names("runtime.providers")}
    systems = {name for name, module in modules.items() if issubclass(module.Provider, schema.BatchProvider)}
    assert systems == set(inherited.BATCH_SYSTEMS) == set(unused._LINES)


@pytest.mark.parametrize("kind", TAKEN)
def test_blocks_inherit_what_finds_the_queue_and_nothing_that_overrules_the_site(monkeypatch, kind: str) -> None:
    taken, stay = f"{TAKEN[kind]} {ALWAYS_TAKEN}".split(), f"{STAY[kind]} {ALWAYS_STAY}".split()
    for name in (*taken, *stay):
        monkeypatch.setenv(name, "1")
    environment = inherited.for_blocks(kind)
    assert not set(taken) & set(environment)
    assert set(stay) <= set(environment)
    assert set(TAKEN[kind].split()) & set(inherited.for_queue(kind)) == set()
    assert {"OMP_PLACES", "RANK", *stay} <= set(inherited.for_queue(kind)), "the queue does not care"
    first = TAKEN[kind].split()[0]
    assert first in inherited.for_blocks(kind, keep=[first, "OMP_PLACES"])


def test_what_one_host_or_one_job_has_is_not_what_another_has(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("SLURM_JOB_ID", "123")
    monkeypatch.setenv("TMPDIR", "/local/me/123")
    monkeypatch.setenv("TMP", "/scratch/me/1234")
    assert {"CUDA_VISIBLE_DEVICES", "TMPDIR", "TMP"} & set(inherited.for_blocks("slurm")) == {"TMP"}
    assert {"CUDA_VISIBLE_DEVICES", "TMPDIR", "TMP"} <= set(inherited.for_blocks("local"))


def test_a_local_block_keeps_the_job_that_it_is_in(monkeypatch) -> None:
    job = ["SLURM_JOB_ID", "SLURM_JOB_NODELIST", "SLURM_CPUS_ON_NODE", "SLURM_STEP_ID", "PBS_NODEFILE"]
    of_srun = {"SLURM_EXPORT_ENV", "SRUN_CPUS_PER_TASK", "SLURM_LABELIO", "SLURM_CPU_BIND_TYPE", "SLURM_HOSTFILE"}
    for name in (*job, *of_srun, "SLURM_MEM_PER_CPU"):
        monkeypatch.setenv(name, "1")
    assert {*job, "SLURM_MEM_PER_CPU"} <= set(inherited.for_blocks("local"))
    assert not of_srun & set(inherited.for_blocks("local"))
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1")
    assert not {"SLURM_MEM_PER_CPU", "SLURM_MEM_PER_NODE"} & set(inherited.for_blocks("local"))


def test_a_program_sees_of_the_job_what_its_launcher_needs(monkeypatch) -> None:
    names = {"SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_CPU_BIND_TYPE", "PBS_NODEFILE", "LSB_JOBID", "PMI_RANK", "JOB_NAME"}
    for name in names:
        monkeypatch.setenv(name, "1")

    def left(launch: str) -> set[str]:
        return names & set(inherited.for_program(launch))

    assert left("") == left("mpirun -np {ranks}") == left("env A=1 /opt/bin/mpirun -np 2") == {"JOB_NAME"}
    assert (
        left("/usr/bin/srun -n {ranks}")
        == left("jsrun -n 1")
        == names - {"SLURM_NTASKS", "SLURM_CPU_BIND_TYPE", "PMI_RANK"}
    )
    assert left("mpiexec -n 4") == {"PBS_NODEFILE", "LSB_JOBID", "JOB_NAME"}


def test_the_shell_is_as_before_once_the_blocks_have_ended(monkeypatch) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "debug")
    before = dict(os.environ)
    with inherited.replaced(inherited.for_blocks("slurm")) as taken:
        assert "SBATCH_PARTITION" in taken
        assert "SBATCH_PARTITION" not in os.environ
    assert dict(os.environ) == before


def test_what_is_said_is_short_and_about_what_a_user_may_have_meant() -> None:
    names = [*(f"SLURM_{letter}" for letter in "ABCDE"), "SBATCH_QOS", "PMIX_RANK", "OMP_PLACES", "TMPDIR"]
    assert inherited.worth_saying(names, "slurm") == "OMP_PLACES, SBATCH_QOS, 5 SLURM_*, TMPDIR"
    assert inherited.worth_saying(names, "local") == "OMP_PLACES, TMPDIR"
    assert inherited.worth_saying(["PMIX_RANK"], "slurm") == ""


def test_a_cluster_is_named_by_its_own_key() -> None:
    table = {"type": "slurm", "cores_per_node": 1, "keep_variables": ["SLURM_CLUSTERS"]}
    with pytest.raises(msgspec.ValidationError, match="write clusters"):
        msgspec.convert(table, slurm.Provider)


def test_every_question_to_a_queue_is_asked_in_a_clean_environment(root: Path) -> None:
    files = [*(root / "psiflow_cli" / "runtime").rglob("*.py"), root / "psiflow_cli" / "site" / "cluster.py"]
    calls = [
        (path, node)
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("subprocess.")
        if ast.unparse(node.func).split(".")[1] in ("run", "Popen", "check_output", "call")
    ]
    assert calls
    bare = [f"{path}:{node.lineno}" for path, node in calls if "env" not in [word.arg for word in node.keywords]]
    assert not bare, "env=inherited_variables.for_queue(...) is missing"


@pytest.mark.skipif(not shutil.which("mpirun"), reason="no mpirun")
def test_mpirun_starts_below_another_one() -> None:
    script = (
        "import json, subprocess, sys; from psiflow_cli.worker.process import launcher; "
        "context = {'ranks': 2, 'launch': 'mpirun -np 2 --oversubscribe'}; "
        "argv = launcher.command(context, 'printenv', 'OMPI_COMM_WORLD_SIZE'); "
        "done = subprocess.run(argv, env=launcher.environment(context), capture_output=True, text=True); "
        "print(json.dumps([done.stdout, done.stderr]))"
    )
    outer = ["mpirun", "-np", "1", sys.executable, "-c", script]
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    done = subprocess.run(outer, env={**os.environ, **root}, capture_output=True, text=True, timeout=60, check=True)
    printed, complaints = json.loads(done.stdout)
    assert printed.split() == ["2", "2"], complaints
