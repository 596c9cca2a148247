"""What others on the machine can see and do: file modes, strangers at the ports, names that a shell would run."""

from __future__ import annotations

import contextlib
import os
import pickle
import stat
import time
from pathlib import Path

import pytest

from tests.commands import inputs
from tests.commands.conftest import psiflow, start, trained
from tests.commands.inputs import WATER, alive, copper
from tests.commands.test_label import SLOW

__all__ = ["psiflow", "start", "trained"]  # fixtures

SHELL = "a b;touch pwned; $(touch pwned) `touch pwned` 'q\" {x} %s \\"


def open_to_others(folder):
    """What below a run directory is not 0700 or, for files, 0600."""
    found = {}
    for path in [Path(folder), *Path(folder).rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if not path.is_symlink() and mode != (0o700 if path.is_dir() else 0o600):
            found[str(path)] = oct(mode)
    return found


@pytest.mark.full
def test_a_run_directory_is_private_whatever_the_umask(psiflow, trained):
    Path("in.xyz").write_text(copper(2))
    Path("start.xyz").write_text(WATER)
    psiflow("label", "in.xyz", "--reference", SLOW, "-o", "out.xyz", umask=0)
    short = [str(word).replace("max_num_epochs=30", "max_num_epochs=1") for word in trained.arguments]
    psiflow(*short, "-o", "out.model", umask=0)
    psiflow(
        "sample", "start.xyz", "--model", trained.model, "--steps", 4, "--temperature", 300, "-o", "moved.xyz", umask=0
    )
    for run in ("out.xyz.run", "out.model.run", "moved.xyz.run"):
        assert open_to_others(run) == {}
    assert stat.S_IMODE(Path("out.xyz").stat().st_mode) == 0o666, "outputs are the user's, as the umask says"


class Touch:
    """What a stranger would send: unpickled, it runs a command."""

    def __reduce__(self):
        return os.system, ("touch pwned",)


def strangers(context, port, server_key):
    """Sockets as somebody without the run's keys could open them: plain, with a wrong key, with a key of his own."""
    import zmq

    for key in (None, zmq.curve_keypair()[0], server_key):
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        if key:
            socket.curve_serverkey = key
            socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
        socket.connect(f"tcp://127.0.0.1:{port}")
        yield socket


def test_a_stranger_at_the_ports_gets_no_task_and_disturbs_nothing(start, tmp_path):
    import psutil
    import zmq
    from zmq.auth import load_certificate

    Path("in.xyz").write_text(copper(30))
    process = start("label", "in.xyz", "--reference", SLOW, "--set", "seconds=0.4", "-o", "out.xyz")
    journal = Path("out.xyz.run/journal.jsonl")
    deadline = time.monotonic() + 60
    while not journal.exists() or '"kind":"unit"' not in journal.read_text():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    ports = {c.laddr.port for p in family for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert len(ports) >= 4, "three of the command, one of the interchange"
    (certificate,) = Path("out.xyz.run").rglob("certificates/server.key")
    server_key, _ = load_certificate(certificate)
    registration = {"type": "registration", "block_id": "0", "worker_count": 8, "max_capacity": 8, "uid": "x"}
    with zmq.Context() as context:
        sockets = [socket for port in ports for socket in strangers(context, port, server_key)]
        poller = zmq.Poller()
        for socket in sockets:
            poller.register(socket, zmq.POLLIN)
            for message in ({"type": "connection_probe"}, registration, Touch()):
                with contextlib.suppress(zmq.Again):  # that port takes no connection of this kind
                    socket.send(pickle.dumps(message), zmq.NOBLOCK)
        assert poller.poll(timeout=2000) == [], "a stranger was answered"
        _, said = process.communicate(timeout=100)
        assert poller.poll(timeout=0) == [], "a stranger was given a task"
        for socket in sockets:
            socket.close()
    assert process.returncode == 0, said
    assert journal.read_text().count('"kind":"unit"') == 30
    assert not list(tmp_path.rglob("pwned"))
    assert not alive(f"{os.getcwd()}/out.xyz.run")


def test_names_of_files_are_no_shell_text(psiflow, tmp_path):
    inputs = [f"{SHELL}.xyz", "$(touch pwned).xyz", "-n.xyz", "|touch pwned.xyz"]
    for number, name in enumerate(inputs):
        Path(name).write_text(copper(number + 1))
    psiflow("label", "--reference", "emt", "-o", f"out {SHELL}.xyz", "--run-dir", f"run {SHELL}", "--", *inputs)
    psiflow("split", f"out {SHELL}.xyz", "--parts", "train=0.5,test=0.5")
    psiflow("rattle", "-n", 2, "-o", "rattled;touch pwned.xyz", "--", inputs[0])
    assert Path(f"out {SHELL}.xyz").read_text().count("psiflow_id=") == 10
    assert not list(tmp_path.rglob("pwned*"))


SITE = """
[providers.here]
{provider}
[resources.task]
{resources}
[environments.place]
{environment}
[executors."{label}"]
provider = "here"
resources = "task"
environment = "place"
[use]
default = "{label}"
"""
ECHO = (
    '''"""Says in its label what it finds in its environment."""
import json
import os
from pathlib import Path
'''
    + inputs.REFERENCE
    + """def label(frames, settings, context):
    Path(settings["said"]).write_text(json.dumps([os.environ.get("VALUE"), context]))
    zero = [[0.0, 0.0, 0.0] for _ in frames[0]["symbols"]]
    return [{"energy": 1.0, "forces": zero, "stress": None, "code": "none"} for _ in frames]
"""
)


@pytest.mark.parametrize(
    ("place", "line", "code"),
    [
        ("resources", "env = {{ VALUE = {value} }}", 0),
        ("resources", "scratch = {value}", 0),
        ("resources", "launch = {value}", 0),
        ("resources", "executable = {value}", 0),
        ("environment", "modules = [{value}]", 0),
        ("environment", "source = [{value}]", 0),
        ("environment", "prefix = {value}", 78),
        ("label", "{plain}", 78),
    ],
)
def test_values_of_a_site_are_no_shell_text(psiflow, tmp_path, place, line, code):
    import json

    Path("mine.py").write_text(ECHO)
    Path("in.xyz").write_text(WATER)
    tables = {"provider": "", "resources": "", "environment": "", "label": "default"}
    tables[place] = line.format(value=json.dumps(SHELL), plain="x;touch pwned")
    Path("mine.toml").write_text(SITE.format(**tables))
    said = tmp_path / "said"
    arguments = ("label", "in.xyz", "--reference", "./mine.py", "--set", f"said={said}", "--site", "./mine.toml")
    done = psiflow(*arguments, code=code)
    assert not list(tmp_path.rglob("pwned*"))
    assert code == 0 or "mine.toml" in done.stderr
    if "VALUE" in line:
        assert json.loads(said.read_text())[0] == SHELL
