"""What a batch system says against a submission, and whether that may pass."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

_SHOWN = 400  # characters


class Answer(NamedTuple):
    """What a program of a batch system answered."""

    exit_code: int
    out: str
    err: str
    command: str = ""


class Kind(Enum):
    PASSING = "may pass by itself"
    LASTING = "stays as long as nobody changes anything"
    UNCLEAR = "in words that psiflow does not know"


_OF_THE_JOB = re.compile(
    r"per_?job|per_?node|wall_?(time|clock|dur)|time ?limit|min_?gres|exceeds queue", re.IGNORECASE
)
"""A limit that this job exceeds by itself, whatever else the user has in the queue."""
_SLURM_SAYS_ALWAYS = "(job submit limit, user's size and/or time limits)"  # whichever limit it is
_PASSING = re.compile(
    # how many jobs a user may have: SLURM, LSF, PBS, Grid Engine, HTCondor
    r"submit ?jobs?|submit limit|max_?jobs|jobs? (count|submit) limit|maximum number of (active |queued )?jobs"
    r"|too many jobs|would exceed|violates accounting/qos policy|jobs are allowed|job threshold|job slot limit"
    # a controller, a server or a network that is away for some time
    r"|unable to (contact|connect|reach|send|communicate|accept)|(cannot|could not|can't|failed to) (contact|connect"
    r"|reach|communicate|find address|send)|connection|communication|timed? ?-?out|no answer within|temporar|try again"
    r"|retry|unavailable|unreachable|network|socket|transport|zero bytes|broken pipe|munge|authentication|credential"
    r"|no route to host|name or service not known|name resolution|is down|shutting down|not running|not enabled"
    r"|not started|stopped|has been closed|is closed|inactive|drain|starting|restart|backup controller|standby|busy"
    r"|cannot fork|cannot allocate memory|no space left|quota|i/o error|stale file|interrupted",
    re.IGNORECASE,
)
_LASTING = re.compile(
    r"invalid|unknown|unrecogni[sz]ed|no such|illegal|not permitted|permission|denied|unauthori[sz]ed|not allowed"
    r"|forbidden|does ?n[o']?t exist|not exist|not found|bad (option|resource|project|queue|user|uid|syntax|argument)"
    r"|not available|(can ?not|can't) be satisfied|not satisf|violates|syntax|parse error|ambiguous|unsupported"
    r"|must (specify|be specified)|missing|requires|required|not a member|rejected|exceeds",
    re.IGNORECASE,
)


def kind(words: str) -> Kind:
    """Whether a refusal may pass, by its words; those about the job itself come before those about other jobs."""
    words = words.replace(_SLURM_SAYS_ALWAYS, "")
    if _OF_THE_JOB.search(words):
        return Kind.LASTING
    if _PASSING.search(words):
        return Kind.PASSING
    return Kind.LASTING if _LASTING.search(words) else Kind.UNCLEAR


def may_have_arrived(words: str) -> bool:
    """Whether a submission may have been accepted nevertheless: nobody waited for the answer."""
    return re.search(r"timed? ?-?out|no answer within", words, re.IGNORECASE) is not None


def words(answers: Iterable[Answer], otherwise: str) -> str:
    """The telling lines of a refusal, in the batch system's own words; `otherwise` where it said nothing."""
    output = "\n".join(answer.err.strip() or answer.out.strip() for answer in answers)
    lines = list(dict.fromkeys(line.strip() for line in output.splitlines() if line.strip()))
    errors = [line for line in lines if re.search(r"error|fail|reject|den(y|ied)", line, re.IGNORECASE)]
    return "; ".join((errors or lines)[-3:])[:_SHOWN] or otherwise.strip() or "no reason was given"
