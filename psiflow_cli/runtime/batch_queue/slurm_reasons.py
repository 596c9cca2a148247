"""Why SLURM lets a job wait, and whether waiting helps: https://slurm.schedmd.com/job_reason_codes.html"""

from __future__ import annotations

import functools
import re

_LASTING = (
    (r"JobHeldUser\b", "held by its user", "run it without --hold, or release its jobs while it waits"),
    (r"JobHeldAdmin\b", "held by an administrator", "ask them why"),
    (r"JobHoldMaxRequeue\b", "requeued too often and now held", "ask the administrators why its nodes fail"),
    (r"(?i:.*(\b|_)held\b)", "", "ask the administrators why it is held"),  # as in launch_failed_requeued_held
    (r"JobLaunchFailure\b", "it could not be launched and is held", "ask the administrators why"),
    (r"BadConstraints\b", "no node has what it requests", "request less, or other features or nodes"),
    (r"DependencyNeverSatisfied\b", "the job it depends on has failed", "change --dependency in the site's key sbatch"),
    (
        r"Partition(NodeLimit|TimeLimit|Config)\b",
        "more than its partition allows",
        "request less, or use another partition",
    ),
    (r"(AccountNotAllowed|InvalidAccount|QOSNotAllowed|InvalidQOS)\b", "not allowed there", "use another in the site"),
    (
        r"(Assoc|QOS)?Max\w*Per(Job|Node)(Limit)?\b",
        "more than a single job may have",
        "request less, or use another account",
    ),
    (r"(Association|Assoc|QOS)TimeLimit\b", "more time than is left", "request less"),
    (r"QOSMin\w+", "less than its QOS requires", "request more, or use another QOS"),
    (r"(Assoc|QOS)Grp(?!\w*RunMin)\w*Minutes(Limit)?\b", "the budget is used up", "use another account in the site"),
    (
        r"(ReservationDeleted|InvalidReservation|ReservationInvalid)\b",
        "no such reservation",
        "use another in the key sbatch",
    ),
    (r"\w+ \(alone asks for ", "", "request less, or use another account or QOS"),
    (r"Dead[Ll]ine\b", "it cannot end before its deadline", "change --deadline in the site's key sbatch"),
)
"""What never passes by itself: pattern, explanation, what to do."""
_PASSING = (
    (r"Priority\b", "other jobs have priority"),
    (r"Resources\b", "for free nodes"),
    (r"BeginTime\b", "its begin time is not reached"),
    (r"Dependency\b", "for the job it depends on"),
    (r"PartitionDown\b", "its partition is down"),
    (r"PartitionInactive\b", "its partition is inactive"),
    (r"(ReqNodeNotAvail|Nodes required)", "a node it needs is not available"),
    (r"Licenses\b", "for a licence"),
    (r"(Assoc\w*|QOS)?(Grp|Max|JobLimit|ResourceLimit)\w*", "your jobs, or those of your group, have reached a limit"),
)


def explained(reason: str, beyond: str = "") -> str:
    """SLURM's word and what it means: `JobHeldUser (held by its user)`; other words as they are.

    `beyond` is what a job exceeds all alone of a limit to all jobs of a user or group.
    """
    if beyond:
        return f"{reason} ({beyond})"
    for pattern, meaning, *_ in (*_LASTING, *_PASSING):
        if re.match(pattern, reason):
            return f"{reason} ({meaning})" if meaning else reason
    return reason


@functools.lru_cache  # every job that waits is looked at every second
def lasting(reason: str) -> str:
    """What to do about a reason that never passes by itself; "" for one that may."""
    return next((remedy for pattern, _, remedy in _LASTING if re.match(pattern, reason)), "")
