"""What ssh asks at the terminal reaches the user, and is asked once."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

PSIFLOW = str(Path(sys.executable).with_name("psiflow"))
ANSWERS = {rb"\(yes/no.*\)\? ": b"yes\n", rb"passphrase for key.*: ": b"secret\n"}


@pytest.fixture
def asking(far, tmp_path):
    """The machine is not known yet, and the key has a passphrase."""
    key, config, keys = tmp_path / "key", far.folder / "ssh_config", far.folder / "user.pub"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", key], check=True)
    before = config.read_text(), keys.read_text()
    text = re.sub(r"IdentityFile .*", f"IdentityFile {key}", before[0])
    config.write_text(
        re.sub(r"KnownHostsFile .*", f"KnownHostsFile {tmp_path}/known", text).replace("accept-new", "ask")
    )
    keys.write_text(before[1] + key.with_suffix(".pub").read_text())
    yield far
    config.write_text(before[0]), keys.write_text(before[1])


def at_a_terminal(*command):
    """Run a command at a terminal of its own, answering ssh; returns its exit code and what was seen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    seen, answered = b"", 0
    while True:
        try:
            text = os.read(terminal, 4096)
        except OSError:  # it was closed
            text = b""
        if not text:
            break
        seen += text
        for question, answer in ANSWERS.items():
            if re.search(question, seen[answered:]):
                answered = len(seen)
                os.write(terminal, answer)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()


def test_ssh_asks_once(asking):
    Path("in.xyz").write_text('2\nProperties=species:S:1:pos:R:3 pbc="F F F"\nH 0.0 0.0 0.0\nH 0.0 0.0 1.0\n')
    Path("input").write_text("INCLUDE one.txt\nBASIS one.txt\n")
    Path("one.txt").write_text("1")
    code, seen = at_a_terminal(
        PSIFLOW, "label", "in.xyz", "--reference", "./gate.py", "--input", "input", "-o", "out.xyz"
    )
    assert code == 0, seen
    assert "1 of 1 labelled" in seen
    assert len(re.findall("passphrase for key", seen)) == 1, seen
    assert Path("out.xyz").exists()
