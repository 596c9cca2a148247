"""What a laptop and the far end of a `[remote]` site tell each other, and the laptop's record of a run over there."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired

    from psiflow_cli.messages.status import RunStatus


class Request(TypedDict, total=False):
    """A line to the far end."""

    do: str  # open, plan, start, follow, signal, forget, status
    folder: str  # of the site
    cwd: str  # the working directory here; below the mirror it is the one there
    id: str  # of the job
    site: str  # the site file, below the mirror
    round: str  # of a loop, whose settings in psiflow.toml hold; or empty
    argv: list[str]
    texts: dict[str, str | None]  # files to write, by their paths here; None: to remove
    make: list[str]  # folders that outputs may go to, as they are called here
    absent: list[str]  # outputs that do not exist here
    at: int  # how many bytes of stderr are known already; below zero: all but the last so many
    number: int  # of a signal
    runs: list[str]  # run directories there


class PlannedCommand(TypedDict):
    """What a command is about, known before its stage runs; paths as the command has them."""

    command: str
    run_dir: str
    output: str  # `-`: frames on stdout
    outputs: list[str]


class Reply(TypedDict, total=False):
    """A line from the far end; each kind of answer has its own keys."""

    psiflow: str  # the version there, in the first line
    mirror: str  # the folder of the site there, as a real path
    state: str  # of the job: none, running, ended
    ended_with: int  # its exit code
    asked: PlannedCommand | None
    error: str
    hint: str
    code: int  # exit code of an error
    stderr: str  # what the command has said
    at: int  # how many bytes of stderr that makes in all
    status: RunStatus
    exit: int  # the command has ended
    stdout: str  # if it is short
    fetch: list[str]  # files and folders to fetch, below the mirror
    listed: list[RunStatus | None]  # None: no such run


class RemoteRun(TypedDict):
    """remote.json in a run directory here: the run itself is on another machine."""

    host: str
    folder: str  # of the site
    site: str  # the site file here
    psiflow: str  # of the site: the command there
    mirror: str
    run: str  # the run directory there
    command: str
    started: float  # seconds since 1970
    ended: bool  # and everything was fetched
    as_of: float  # when `status` was true
    status: RunStatus | None
    asked: NotRequired[float]  # when it was last asked for without an answer
    vanished: NotRequired[bool]  # there was no such run when it was asked for
    outputs: dict[str, list[str]]  # sha256 of what was fetched, the last two by path here
