"""How long tests take, file by file: shown after a run, stored by `tests/run.sh --durations`, and what orders them.

A run starts with the files that take longest, so that none of them is alone at the end.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

STORED = Path(__file__).with_suffix(".json")
"""Seconds that each file takes, where it is more than a few."""
BRIEF = 2.0
TOGETHER = {
    "the emulated cluster": ("tests/slurm/",),
    "MACE, imported": ("tests/models/", "tests/contracts/test_models.py", "tests/samplers/test_torchsim"),
}
"""Files by what each process would otherwise make for itself; no group may take longer than its share of the run."""


def group(nodeid: str) -> str:
    """What runs in one process: a file, since its tests share fixtures, or all files that share what takes longer."""
    return next((name for name, files in TOGETHER.items() if nodeid.startswith(files)), nodeid.partition("::")[0])


def longest_first(items: list[pytest.Item]) -> None:
    """Sort by what the groups took when it was stored; a file that is not known counts as brief."""
    seconds: dict[str, float] = defaultdict(float)
    for file, taken in json.loads(STORED.read_text(encoding="utf-8")).items():
        seconds[group(file)] += taken
    items.sort(key=lambda item: -seconds.get(group(item.nodeid), 0.0))


class Clock:
    """A plugin that adds up the reports of a run; with xdist, those of all processes."""

    def __init__(self) -> None:
        self.processor = _processor_seconds()

    def pytest_runtest_logstart(self) -> None:
        """What the collection took belongs to no test."""
        self.processor = _processor_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        """Note the processor time, since the last report, of this process and of those it waited for."""
        report = yield
        before, self.processor = self.processor, _processor_seconds()
        report.user_properties.append(("processor", self.processor - before))
        return report

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """Print the files that took longest, as many as `--durations` asks for, and store all if asked to."""
        wall: dict[str, float] = defaultdict(float)
        processor: dict[str, float] = defaultdict(float)
        for reports in terminalreporter.stats.values():
            for report in reports:
                if isinstance(report, pytest.TestReport):
                    file = report.nodeid.partition("::")[0]
                    wall[file] += report.duration
                    processor[file] += sum(value for name, value in report.user_properties if name == "processor")
        slowest = sorted(wall, key=lambda file: -wall[file])[: config.option.durations or 0]
        if slowest:
            terminalreporter.section("slowest files: seconds, and those of a processor")
        for file in slowest:
            terminalreporter.write_line(f"{wall[file]:7.1f} {processor[file]:7.1f}  {file}")
        if slowest:
            terminalreporter.write_line(f"{sum(wall.values()):7.1f} {sum(processor.values()):7.1f}  all {len(wall)}")
        if config.option.store_durations:
            self._store(wall)

    def _store(self, wall: dict[str, float]) -> None:
        """Files that did not run keep what is known of them, if they are still there."""
        known = json.loads(STORED.read_text(encoding="utf-8")) | {
            file: round(seconds) for file, seconds in wall.items()
        }
        root = STORED.parents[1]
        stored = {file: known[file] for file in sorted(known) if known[file] >= BRIEF and (root / file).exists()}
        STORED.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def _processor_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
