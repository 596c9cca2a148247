"""What run directories say of evaluations, trainings and failures; nothing but files is asked."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from psiflow_cli.runtime.jsonfile import read_run
from psiflow_cli.stages.runs import report_dynamics, run_folders, status
from psiflow_cli.stages.runs.report_dynamics import Sampling

if TYPE_CHECKING:
    from psiflow_cli.messages import ReportedRun, RunRecord

_OF_NOW = ("rate_per_s", "eta_s", "blocks", "waiting", "pid", "info", "phase")
EXAMPLES = 3  # so many failures of a class are shown


class ErrorRow(TypedDict):
    """The error of a quantity over all frames; see `stages.evaluate.error_table`."""

    rmse: float
    mae: float


@dataclass(frozen=True)
class Evaluation:
    """What `psiflow evaluate` found of one model."""

    name: str
    frames: int
    errors: dict[str, ErrorRow]  # by quantity
    test_set: tuple[str, ...]  # checksums of what was evaluated
    file: Path | None  # the frames with their predictions
    keys: str | None
    plot: Path | None


@dataclass(frozen=True)
class Training:
    name: str
    curve: Path  # the picture of its learning curve


@dataclass
class Failures:
    """Failed units of one run."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class DataSet:
    """A file that runs have read, by its contents."""

    file: str
    sha256: str
    size: int  # bytes
    used_by: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Facts:
    """All that the page shows of runs, in the order of their paths."""

    runs: list[ReportedRun]
    evaluations: list[Evaluation]
    trainings: list[Training]
    samplings: list[Sampling]
    data: list[DataSet]
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
    facts = Facts([], [], [], [], [], [])
    folders = [each for each in run_folders.find([folder]) if each.absolute() != without.absolute()]
    for run_folder in sorted(folders, key=lambda path: _natural(str(path))):
        status_now = status.describe(run_folder)
        if status_now["command"] == "report":
            continue  # two of them would make each other out of date
        if status_now["command"] == "check" and run_folder.parent.name == ".psiflow":
            continue  # nothing was written; `status` does not show it either
        name = str(run_folder.relative_to(folder) if run_folder != folder else run_folder.name).removesuffix(".run")
        lasting = {**{key: value for key, value in status_now.items() if key not in _OF_NOW}, "name": name}
        facts.runs.append(cast("ReportedRun", lasting))
        record = read_run(run_folder)
        if status_now["command"] == "evaluate":
            facts.evaluations.extend(_evaluation(run_folder, name, record))
        if status_now["command"] == "train":
            curves = [bundle / "learning-curve.png" for bundle in _outputs(run_folder, record)]
            facts.trainings.extend(Training(name, curve) for curve in curves if curve.is_file())
        if status_now["command"] == "sample":
            result = record.get("result")
            summary = result.get("summary", {}) if result else {}
            files = {path.name: path for path in _outputs(run_folder, record)}
            file, plot = (files.get(Path(summary.get(key) or "").name) for key in ("output", "plot"))
            facts.samplings.append(
                report_dynamics.of_run(name, record, file, plot if plot and plot.suffix == ".png" else None)
            )
        _note_data(facts.data, name, record)
        if failures := _failures(run_folder, name):
            facts.failures.append(failures)
    return facts


def _note_data(known: list[DataSet], name: str, record: RunRecord) -> None:
    """Take down the files that a run has read."""
    for read in record.get("inputs", ()):
        same = next((each for each in known if each.sha256 == read["sha256"]), None)
        if same is None:
            same = DataSet(os.path.basename(read["path"]), read["sha256"], read["size"])
            known.append(same)
        same.used_by.append(name)


def _natural(path: str) -> list[int | str]:
    """For sorting: round-2 before round-10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path)]


def _outputs(folder: Path, record: RunRecord) -> Iterator[Path]:
    """What a run has made, where it is now: beside the run directory, or as far from it as then.

    The place that it was made in comes last: of a folder that was copied, it is that of the original.
    """
    result = record.get("result")
    for path in map(Path, result.get("outputs", {}) if result else ()):
        tails = [folder.parent.joinpath(*path.parts[-count:]) for count in range(1, len(path.parts) + 1)]
        yield from [place for place in (*tails, path) if place.exists()][:1]


def _evaluation(folder: Path, name: str, record: RunRecord) -> Iterator[Evaluation]:
    result = record.get("result")
    summary = result.get("summary", {}) if result else {}
    rows = {row["quantity"]: row for row in summary.get("errors", ()) if row["by"] == "all"}
    if not rows:
        return
    outputs = list(_outputs(folder, record))
    plot = Path(summary.get("plot") or "").name
    yield Evaluation(
        name=name, frames=int(summary["total"]) - int(summary["failed"]), errors=rows,
        test_set=tuple(each["sha256"] for each in record.get("inputs", ())),
        file=next((path for path in outputs if path.name == Path(summary.get("output") or "").name), None),
        keys=cast("str | None", record.get("settings", {}).get("keys")),
        plot=next((path for path in outputs if path.name == plot and path.suffix == ".png"), None),
    )  # fmt: skip


def _failures(folder: Path, name: str) -> Failures | None:
    failures = Failures(name)
    for failure in status.failures(folder):
        kind = failure["failure"]
        failures.counts[kind] += 1
        examples = failures.examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(f"{failure['id']}: {failure['message']}")
    return failures if failures.counts else None
