"""Why a trainer failed, from its log: that of one process, or that of a process for each GPU.

With several, the one that fails first (a rank, as torch counts them) takes the others with it, whose own errors say
that a connection was closed; and the last word has torchrun, or Lightning. Seen in torch 2.13 and lightning 2.6.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from psiflow_cli.errors import BUG, NO_RESOURCES
from psiflow_cli.worker.failures import AGAIN, BrokenDevice, Fatal, environment_code, is_broken_device, is_out_of_memory
from psiflow_cli.worker.process import subprocesses

_MEMORY_HINT = "use a smaller batch_size, a smaller model or more memory"
_SHARE_HINT = "for a committee, set tasks_per_node = 1 in the site's [executors] to train one member at a time"
_TELLING = re.compile(r"(?:\[rank(\d+)\]:\s)?((?:\S*(?:Error|Exception|Interrupt)\b|\S+: error: ).*)")
_LAUNCHER = re.compile(r"^[WE]\d{4} .*torch/distributed/elastic/multiprocessing/", re.MULTILINE)
_RANK_ENDED = re.compile(
    r"rank +: (\d+) \(local_rank: \d+\)\s+exitcode +: -(\d+)|"
    r"\[rank: (\d+)\] Child process with PID \d+ terminated with code -(\d+)"
)
_FOLLOWS = re.compile(
    r"Connection (?:closed|reset|refused)|closed by peer|remote (?:process|worker)|NCCL|ProcessGroup|"
    r"DistBackendError|DistNetworkError|DistStoreError|SignalException|KeyboardInterrupt",
)
"""What a process says when another one is gone."""
_AT_EXIT = re.compile(r"^Exception ignored in.*\n(?:Traceback .*\n(?:  .*\n)*)?\S.*\n", re.MULTILINE)
"""What Python says of objects that are torn down when it ends, and never of the cause."""
_SIGTERM = 15  # by which torchrun ends the ranks that are left

Causes = Iterable[tuple[str, int, str]]
"""What a line says of the cause: pattern, exit code, hint."""


def failure(log: Path, outcome: subprocesses.Outcome, causes: Causes) -> Fatal:
    """The line of the log that says most, with the rank that wrote it, and what to do about it."""
    if outcome.out_of_memory:
        problem = "the trainer needed more memory than the task has"
        return Fatal(problem, f"{_MEMORY_HINT}; {_SHARE_HINT}; its log: {log}", NO_RESOURCES)
    text = _AT_EXIT.sub("", log.read_text(encoding="utf-8", errors="replace"))
    by_rank = _telling(text)
    alone = set(by_rank) <= {""} and not _LAUNCHER.search(text)
    first_hand = {
        rank: own
        for rank, lines in by_rank.items()
        if (own := [line for line in lines if alone or not _FOLLOWS.search(line)])
    }
    if first_hand:
        rank = min(first_hand, key=lambda each: not is_out_of_memory(first_hand[each][-1]))
        return _judged(first_hand[rank], f" in rank {rank}" if rank else "", text, log, causes)
    if how := _signal(text, outcome):
        # A training that runs out of the node's memory is killed by the kernel.
        problem = f"the trainer was killed or ended without a message ({how})"
        return Fatal(problem, f"its log: {log}", NO_RESOURCES if how.endswith("signal 9") else BUG)
    if by_rank:
        line = next(iter(by_rank.values()))[-1][:300]
        return Fatal(f"the trainer's processes lost contact: {line}", f"its log: {log}", NO_RESOURCES)
    problem = f"the trainer was killed or ended without a message (exit code {outcome.returncode})"
    return Fatal(problem, f"its log: {log}", BUG)


def _telling(text: str) -> dict[str, list[str]]:
    """The lines that name an error, by the rank that wrote them (empty: not known), in the order of their first."""
    end = _LAUNCHER.search(text)
    by_rank: dict[str, list[str]] = {}
    for line in text[: end.start() if end else None].splitlines():
        if match := _TELLING.match(line):
            by_rank.setdefault(match[1] or "", []).append(match[2].strip())
    return by_rank


def _judged(lines: list[str], where: str, text: str, log: Path, causes: Causes) -> Fatal:
    last = lines[-1]
    if is_out_of_memory(last):
        return Fatal(f"the trainer failed{where}: {last[:300]}", f"{_MEMORY_HINT}; its log: {log}", NO_RESOURCES)
    if is_broken_device(last):
        return BrokenDevice(f"the trainer failed{where}: {last[:300]}; its log: {log}")
    for cause, code, hint in causes:
        if re.search(cause, last):
            return Fatal(f"the trainer failed{where}: {last[:300]}", f"{hint}; its log: {log}", code)
    chain = lines[-2:] if "was the direct cause of the following exception" in text else [last]
    for line in chain:
        if code := environment_code(line):
            return Fatal(f"the trainer failed{where}: {line[:300]}", f"{AGAIN}; its log: {log}", code)
    return Fatal(f"the trainer failed{where}: {last[:300]}", f"its log: {log}", BUG)


def _signal(text: str, outcome: subprocesses.Outcome) -> str:
    """By which signal the process, or the first rank that nobody else ended, was killed; empty if by none."""
    for torchrun, number, lightning, code in _RANK_ENDED.findall(text):
        if int(number or code) != _SIGTERM:
            return f"rank {torchrun or lightning}: signal {number or code}"
    return f"signal {-outcome.returncode}" if outcome.returncode < 0 else ""
