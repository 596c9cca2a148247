"""Asks a warm server for a process; as a script it stands for that process, with as few imports as can be."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence


def run(
    path: str, argv: Sequence[str], streams: Sequence[int], cwd: str, env: Mapping[str, str], umask: int = -1,
    timeout: float | None = None, forwarded: Sequence[int] = (),
) -> int:  # fmt: skip
    """The exit code of `argv`, which ends by SIGKILL with this call or after `timeout` (s), with TimeoutError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        server.connect(path)
        request = {"argv": list(argv), "cwd": cwd, "env": dict(env), "umask": umask}
        socket.send_fds(server, [json.dumps(request).encode()], streams)
        server.settimeout(timeout)
        for number in forwarded:
            signal.signal(number, lambda sent, _: send(server, sent))
        return int(server.recv(32))


def send(server: socket.socket, number: int) -> None:
    """Send the process a signal."""
    server.send(str(number).encode())


if __name__ == "__main__":
    _, path, *argv = sys.argv
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
    code = run(path, argv, (0, 1, 2), os.getcwd(), os.environ, forwarded=signals)
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)
