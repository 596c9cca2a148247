"""What run directories say of evaluations, trainings and failures; nothing but files is asked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psiflow_cli.runtime.jsonfile import read_json
from psiflow_cli.stages.runs import status

_OF_NOW = ("rate_per_s", "eta_s", "blocks", "waiting", "pid", "info")
EXAMPLES = 3
"""So many failures of a class are shown."""


@dataclass(frozen=True)
class Evaluation:
    """What `psiflow evaluate` found of one model."""

    name: str
    frames: int
    errors: dict[str, dict[str, Any]]
    """The row over all frames of each quantity; see `errors.ErrorTable.rows`."""
    test_set: tuple[str, ...]
    """Checksums of what was evaluated."""
    file: Path | None
    """The frames with their predictions."""
    keys: str | None
    plot: Path | None


@dataclass(frozen=True)
class Training:
    """A model bundle."""

    name: str
    curve: Path
    """The picture of its learning curve."""


@dataclass
class Failures:
    """Failed units of one run."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """All that the page shows of runs, in the order of their paths."""

    runs: list[dict[str, Any]]
    evaluations: list[Evaluation]
    trainings: list[Training]
    failures: list[Failures]

    def comparable(self) -> list[Evaluation]:
        """Those on the test set that most have in common."""
        sets = Counter(each.test_set for each in self.evaluations)
        return [each for each in self.evaluations if each.test_set == sets.most_common(1)[0][0]]

    def newest(self) -> Evaluation | None:
        """The last evaluation with its frames."""
        return next((each for each in reversed(self.evaluations) if each.file), None)


def gather(folder: Path, without: Path) -> Facts:
    """Look at every run at or below a folder, except for one."""
    facts = Facts([], [], [], [])
    found = [each for each in status.find([folder]) if each.absolute() != without.absolute()]
    for each in sorted(found, key=lambda path: _natural(str(path))):
        run = {k: v for k, v in status.describe(each).items() if k not in _OF_NOW}
        if run["command"] == "report":
            continue  # two of them would make each other out of date
        name = str(each.relative_to(folder) if each != folder else each.name).removesuffix(".run")
        facts.runs.append({**run, "name": name})
        stored = read_json(each / "run.json")
        if run["command"] == "evaluate":
            facts.evaluations.extend(_evaluation(each, name, stored))
        if run["command"] == "train":
            curves = [made / "learning-curve.png" for made in _outputs(each, stored)]
            facts.trainings.extend(Training(name, curve) for curve in curves if curve.is_file())
        if failures := _failures(each, name):
            facts.failures.append(failures)
    return facts


def _natural(path: str) -> list[Any]:
    """For sorting: round-2 before round-10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path)]


def _outputs(folder: Path, stored: dict[str, Any]) -> Iterator[Path]:
    """What a run has made, where it is now: beside the run directory, if it was moved since."""
    for path in map(Path, (stored.get("result") or {}).get("outputs", {})):
        beside = folder.parent / path.name
        if path.exists() or beside.exists():
            yield path if path.exists() else beside


def _evaluation(folder: Path, name: str, stored: dict[str, Any]) -> Iterator[Evaluation]:
    summary = (stored.get("result") or {}).get("summary", {})
    rows = {row["quantity"]: row for row in summary.get("errors", ()) if row["by"] == "all"}
    if not rows:
        return
    outputs = list(_outputs(folder, stored))
    plot = Path(summary.get("plot") or "").name
    yield Evaluation(
        name=name,
        frames=int(summary["total"]) - int(summary["failed"]),
        errors=rows,
        test_set=tuple(each["sha256"] for each in stored.get("inputs", ())),
        file=next((path for path in outputs if path.name == Path(summary.get("output") or "").name), None),
        keys=stored.get("settings", {}).get("keys"),
        plot=next((path for path in outputs if path.name == plot and path.suffix == ".png"), None),
    )


def _failures(folder: Path, name: str) -> Failures | None:
    found = Failures(name)
    for failure in status.failures(folder):
        kind = failure["failure"]
        found.counts[kind] += 1
        examples = found.examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(f"{failure['id']}: {failure['message']}")
    return found if found.counts else None
