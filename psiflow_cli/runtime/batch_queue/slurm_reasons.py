"""Why SLURM lets a job wait, and whether waiting helps: https://slurm.schedmd.com/job_reason_codes.html"""

from __future__ import annotations

import functools
import re

_LASTING = (
    (r"JobHeldUser\b", "held by its user", "run it without --hold, or release its jobs while it waits"),
    (r"JobHeldAdmin\b", "held by an administrator", "ask them why"),
    (r"JobHoldMaxRequeue\b", "requeued too often, and held", "ask the administrators why its nodes fail"),
    (r"(?i:.*(\b|_)held\b)", "", "ask the administrators why it is held"),  # as in launch_failed_requeued_held
    (r"JobLaunchFailure\b", "it could not be launched, and is held", "ask the administrators why"),
    (r"BadConstraints\b", "no node has what it asks for", "ask for less, or for other features or nodes"),
    (r"DependencyNeverSatisfied\b", "what it depends on has failed", "change --dependency in the site's key sbatch"),
    (
        r"Partition(NodeLimit|TimeLimit|Config)\b",
        "more than its partition allows",
        "ask for less, or name another partition",
    ),
    (r"(AccountNotAllowed|InvalidAccount|QOSNotAllowed|InvalidQOS)\b", "not allowed there", "name another in the site"),
    (r"(Assoc|QOS)?Max\w*Per(Job|Node)(Limit)?\b", "more than one job may have", "ask for less, or another account"),
    (r"(Association|Assoc|QOS)TimeLimit\b", "more time than is left", "ask for less"),
    (r"QOSMin\w+", "less than its QOS requires", "ask for more, or name another QOS"),
    (r"(Assoc|QOS)Grp(?!\w*RunMin)\w*Minutes(Limit)?\b", "the budget is used up", "name another account in the site"),
    (
        r"(ReservationDeleted|InvalidReservation|ReservationInvalid)\b",
        "no such reservation",
        "name another in the key sbatch",
    ),
    (r"\w+ \(alone asks for ", "", "ask for less, or name another account or QOS"),
    (r"Dead[Ll]ine\b", "it cannot end before its deadline", "change --deadline in the site's key sbatch"),
)
"""What never passes by itself: pattern, explanation, what to do."""
_PASSING = (
    (r"Priority\b", "others come first"),
    (r"Resources\b", "for free nodes"),
    (r"BeginTime\b", "its time to begin has not come"),
    (r"Dependency\b", "for what it depends on"),
    (r"PartitionDown\b", "its partition is down"),
    (r"PartitionInactive\b", "its partition is inactive"),
    (r"(ReqNodeNotAvail|Nodes required)", "a node it needs is not available"),
    (r"Licenses\b", "for a licence"),
    (r"(Assoc\w*|QOS)?(Grp|Max|JobLimit|ResourceLimit)\w*", "jobs of yours or of your group use up a limit"),
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
