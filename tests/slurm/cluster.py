"""An emulated SLURM cluster: nodes on this host in two partitions, one with GPUs, as a laptop can run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

# any device file will do: nothing on this host can tell
GRES = "".join(f"NodeName=n[{{gpu}}-{{last}}] Name=gpu File=/dev/{device}\n" for device in ("null", "zero"))
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "squeue")
# cred_expire is also how long a job that was put back into the queue waits, else two minutes.
CONF = """\
ClusterName=emulated
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=30
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/slurmd.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
KillWait=5
MinJobAge=300
SlurmctldTimeout=30
SlurmdTimeout=30
GresTypes=gpu
NodeName=DEFAULT CPUs=16 RealMemory=16000
NodeName=n[1-{cpu}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first_port}-{last_port_of_cpu}]
NodeName=n[{gpu}-{last}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first_port_of_gpu}-{last_port}] Gres=gpu:2
PartitionName=cpu Nodes=n[1-{cpu}] Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=n[{gpu}-{last}] MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no cluster can be started here, or an empty string."""
    if os.getuid() != 0:
        return "an emulated SLURM needs root"
    absent = [name for name in NEEDED if not shutil.which(name, path=_path())]
    return f"not installed: {', '.join(absent)}" if absent else ""


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _numbers(port: int, nodes: int) -> dict[str, int]:
    """The numbers of nodes and ports in the configuration: the last two nodes have GPUs."""
    return {
        "port": port, "cpu": nodes - 2, "gpu": nodes - 1, "last": nodes,
        "first_port": port + 1, "last_port_of_cpu": port + nodes - 2,
        "first_port_of_gpu": port + nodes - 1, "last_port": port + nodes,
    }  # fmt: skip


class Cluster:
    """The running daemons, on `port` and one more for each node; `environment` is what a command needs to find them."""

    def __init__(self, folder: Path, port: int, nodes: int = 8) -> None:
        self.folder, self._numbers = folder, _numbers(port, nodes)
        self._nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Cluster:
        (self.folder / "state").mkdir(parents=True)
        self.folder.chmod(0o755)
        host = os.uname().nodename
        (self.folder / "slurm.conf").write_text(CONF.format(host=host, folder=self.folder, **self._numbers))
        (self.folder / "gres.conf").write_text(GRES.format(**self._numbers))
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        shutil.chown(self.folder, "munge")
        shutil.chown(key, "munge")
        self._start(
            "runuser", "-u", "munge", "--", "munged", "--foreground", f"--socket={self.folder}/munge.socket",
            f"--key-file={key}", f"--log-file={self.folder}/munged.log", f"--pid-file={self.folder}/munged.pid",
            f"--seed-file={self.folder}/munged.seed",
        )  # fmt: skip
        self._wait(lambda: (self.folder / "munge.socket").exists(), "munged")
        self._start("slurmctld", "-D", "-i", "-f", str(self.folder / "slurm.conf"))
        for name in self._nodes:
            self.start_node(name)
        self._wait(lambda: self._idle() == set(self._nodes), f"{len(self._nodes)} idle nodes")
        return self

    def _idle(self) -> set[str]:
        return set(self.run("sinfo", "-h", "-t", "idle", "-N", "-o", "%N").split())

    def start_node(self, name: str) -> None:
        """Start the daemon of one node."""
        self._start("slurmd", "-D", "-N", name, "-f", str(self.folder / "slurm.conf"))

    def _start(self, *command: str) -> None:
        log = (self.folder / "daemons.log").open("ab")
        environment = {**os.environ, **self.environment}
        self._daemons.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd="/"))

    def run(self, *command: str) -> str:
        """Run a SLURM command; returns what it printed."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60).stdout

    def _wait(self, ready: object, what: str) -> None:
        deadline = time.monotonic() + 60
        while not ready():  # type: ignore[operator]
            if time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"no {what} after 60 s; logs in {self.folder}")
            time.sleep(0.2)

    def __exit__(self, *_: object) -> None:
        self.run("scancel", "--user=root")
        time.sleep(1)
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
