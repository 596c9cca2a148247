"""A real sshd on the loopback interface, whose users have another home and another working directory."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
SITE = """[providers.here]
type = "local"
[resources.task]
[executors.default]
type = "threads"
provider = "here"
resources = "task"
tasks_per_node = 1
[use]
default = "default"
[remote]
host = "tier1"
folder = "$FAR/it's scratch"
"""


def missing() -> str:
    """Why no sshd can be started here; "" if one can."""
    absent = [name for name in ("ssh", "ssh-keygen", "rsync") if shutil.which(name) is None]
    return ", ".join([*absent, *([] if SSHD else ["sshd"])])


class Far:
    """The far machine; `bin` has the `ssh` with which it is reached, and `scratch` is the folder of `SITE`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home, self.bin = folder / "home", folder / "bin"
        self.scratch = folder / "it's scratch"
        for each in (self.home, self.bin):
            each.mkdir()
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        where = os.path.dirname(sys.executable)
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n"
            f"SetEnv HOME={self.home} FAR={folder}\n"
        )
        (folder / "ssh_config").write_text(
            f"Host tier1\n HostName 127.0.0.1\n Port {self.port}\n User {getpass.getuser()}\n"
            f" IdentityFile {folder}/user\n IdentitiesOnly yes\n UserKnownHostsFile {folder}/known\n"
            " StrictHostKeyChecking accept-new\nHost nowhere\n HostName 127.0.0.1\n Port 1\n"
        )
        # a login shell that talks, and that alone knows where psiflow is
        (self.home / ".bash_profile").write_text(f"echo 'Welcome to tier1 {{\"psiflow\"}}'\nPATH={where}:$PATH\n")
        ssh = self.bin / "ssh"
        self.down = folder / "down"  # as long as it exists, there is no network
        ssh.write_text(
            f"#!/bin/sh\ntest -e {self.down} && {{ echo 'no route to host' >&2; exit 255; }}\n"
            f'exec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n'
        )
        ssh.chmod(0o755)

    def __enter__(self) -> Far:
        Path("/run/sshd").mkdir(exist_ok=True) if os.geteuid() == 0 else None
        command = [str(SSHD), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        self._process = subprocess.Popen(command, stderr=(self.folder / "log").open("w"))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text())

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def mirror(self, path: Path) -> Path:
        """Where a file of this machine is there."""
        return Path(f"{self.scratch.resolve()}{path.absolute()}")


def connections(pid: int) -> list[int]:
    """The ssh processes that a command has started."""
    listed = subprocess.run(["pgrep", "-x", "-P", str(pid), "ssh"], capture_output=True, text=True, check=False)
    return [int(each) for each in listed.stdout.split()]
