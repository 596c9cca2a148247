"""The user's own `ssh`, with all that their configuration says of the host; psiflow never reads that."""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, cast

from psiflow_cli import __version__, console
from psiflow_cli.errors import BadConfig, NoResources, PsiflowError
from psiflow_cli.remote import sharing
from psiflow_cli.remote.agent import GREETING

if TYPE_CHECKING:
    from typing import IO

    from psiflow_cli.messages import Reply, Request
    from psiflow_cli.site.schema import Remote

SILENCE_S = 60.0
"""The far end says something every few seconds; after this time without a word the connection is given up."""
_POLL_S = 0.5
_BRIEFLY_S = 2.0
_NOT_FOUND = 127
_FAILED = 255


class Cut(Exception):
    """The connection has ended before the command has."""


def options() -> list[str]:
    """To share the command's connection; where nobody can be asked for a password, ssh must not wait for one."""
    return [*sharing.options(), *([] if _can_ask() else ["-o", "BatchMode=yes"])]


def _can_ask() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return bool(os.environ.get("SSH_ASKPASS"))
    return True


def line(program: str, arguments: list[str]) -> str:
    """What the shell of the far end gets: psiflow with its arguments, from a login shell, so that its PATH is known.

    Of the program's name, `~/` and `$VARIABLES` mean what they mean there; nothing else is read by a shell.
    """
    home = '"$HOME"/' if program.startswith("~/") else ""
    parts = re.split(r"(\$\w+|\$\{\w+\})", program.removeprefix("~/"))
    quoted = home + "".join(f'"{part}"' if part.startswith("$") else shlex.quote(part) for part in parts if part)
    return f"exec bash -lc {shlex.quote(f'exec {quoted} {shlex.join(arguments)}')}"


class Connection:
    """A running `psiflow remote` at the far end; requests go out, replies come in."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        command = ["ssh", *options(), remote.host, line(remote.psiflow, ["remote"])]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                preexec_fn=_ignore_signals,
            )  # fmt: skip
        except FileNotFoundError:
            raise BadConfig("ssh is not installed here", "a site with [remote] needs ssh and rsync") from None
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._words: deque[str] = deque(maxlen=8)
        self._readers = [
            threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        try:
            self._greet()
        except BaseException:
            self.close()
            raise

    def _read(self, stream: IO[bytes]) -> None:
        for text in stream:
            self._lines.put(text)
        self._lines.put(b"")

    def _listen(self, stream: IO[bytes]) -> None:
        """What ssh says, such as the instructions of a second factor, is for the user at the terminal at once."""
        shown = sys.stderr.isatty() and _can_ask()
        for text in stream:
            words = text.decode(errors="replace").strip()
            if words:
                self._words.append(words)
            if shown and words:
                console.print_line(words)

    def _greet(self) -> None:
        """Wait for the first line of psiflow there, past what a login shell prints, and compare the versions."""
        while text := self._lines.get():
            words = text.decode(errors="replace").strip()
            if words.startswith(GREETING):
                version = json.loads(words.removeprefix(GREETING))["psiflow"]
                break
            self._words.append(words)
        else:
            raise self._refused()
        if version != __version__:
            raise _other_version(self._remote, version)

    def _refused(self) -> PsiflowError:
        """Why there is no psiflow at the other end."""
        code = self._process.wait()
        self._readers[1].join(timeout=1)
        complaint, host, program = "; ".join(self._words), self._remote.host, self._remote.psiflow
        if code == _FAILED:
            return NoResources(f"ssh {host}: {complaint or 'no connection'}", f"try it yourself: ssh {host}")
        if code in (_NOT_FOUND, 126):
            problem = f"{host}: {program!r} cannot be run there: {complaint}"
            return BadConfig(problem, 'give its path in the site file: [remote] psiflow = "/path/to/bin/psiflow"')
        if "no command 'remote'" in complaint:
            return _other_version(self._remote, "an older one")
        return NoResources(f"{host}: {program} ended with {code}: {complaint}", f"try: ssh {host} {program} --version")

    def send(self, request: Request) -> None:
        """Raises Cut."""
        stream = cast("IO[bytes]", self._process.stdin)
        try:
            stream.write(json.dumps(request).encode() + b"\n")
            stream.flush()
        except (OSError, ValueError):
            raise Cut from None

    def poll(self) -> Reply | None:
        """The next reply, None if there is none within half a second; raises as `receive`."""
        try:
            return self._parsed(self._lines.get(timeout=_POLL_S))
        except queue.Empty:
            return None

    def _parsed(self, text: bytes) -> Reply:
        try:
            reply: Reply = json.loads(text)
        except ValueError:
            raise Cut from None
        if "error" in reply:
            raise PsiflowError(f"{self._remote.host}: {reply['error']}", reply["hint"], reply["code"])
        return reply

    def ask(self, request: Request, patience_s: float = math.inf) -> Reply:
        """The reply to a request; raises NoResources if there is none."""
        try:
            self.send(request)
            return self.receive(patience_s)
        except Cut:
            raise self._refused_later() from None

    def receive(self, patience_s: float = SILENCE_S) -> Reply:
        """The next reply; raises Cut, and the error that a reply tells of."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if (reply := self.poll()) is not None:
                return reply
        raise Cut

    def _refused_later(self) -> PsiflowError:
        self.close()
        complaint = "; ".join(self._words) or "the connection is lost"
        return NoResources(f"ssh {self._remote.host}: {complaint}", "nothing is lost: run the same command again")

    def wait(self, patience_s: float) -> None:
        """Until the far end has closed it, or says nothing for so long."""
        with contextlib.suppress(Cut):
            while True:
                self.receive(patience_s)

    def close(self) -> None:
        """End it, in order if it can be, for connections that share it (ControlMaster); what it has started goes on."""
        with contextlib.suppress(OSError):
            cast("IO[bytes]", self._process.stdin).close()
        try:
            self._process.wait(_BRIEFLY_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _ignore_signals() -> None:
    """Ctrl-C at the terminal, and what else reaches a whole process group, is passed on through the connection."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _other_version(remote: Remote, version: str) -> BadConfig:
    problem = f"{remote.host}: psiflow is {version} there, and {__version__} here"
    return BadConfig(problem, "install the same version at both ends, or choose another with [remote] psiflow")
