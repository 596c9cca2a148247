"""The table of averages: whose they are, what is averaged with what, and how it reads."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from psiflow_cli.stages.sample.averages import QUANTITIES, Averages, Label, Row, as_text, of_paths, title
from psiflow_cli.stages.sample.blocking import Discard, Estimate, Series
from tests.stages.sample.recorded import START, frame, recorded


def sampling(walkers: int, **settings: Any) -> Any:
    """As much of a `Sampling` as averages ask for."""
    usual = {"ensemble": "nvt", "exchange": None, **settings}
    return SimpleNamespace(walkers=walkers, dynamics=usual, outputs=SimpleNamespace(discard=Discard(0.0)))


def noise(mean: float, seed: int, count: int = 64) -> Series:
    draw, series = random.Random(seed), Series()
    for step in range(count):
        series.add(float(step), {"temperature": draw.gauss(mean, 10.0), "volume": 125.0})
    return series


def test_equivalent_paths_are_averaged() -> None:
    found = Averages(Discard(0.0))
    for number in range(4):
        target = [300.0, 300.0] if number % 2 else [400.0, 400.0]
        found.add({"walker": number, "target": target}, "water", noise(target[0], number, 64 * (1 + number)))
    means = {mean.label["target"][0]: mean for mean in found.means()}
    assert [means[t].label["paths"] for t in (300.0, 400.0)] == [2, 2]
    one, three = found.rows[1], found.rows[3]
    assert means[300.0].frames == 128 + 256
    expected = (one.estimates["temperature"].mean + 2 * three.estimates["temperature"].mean) / 3
    assert means[300.0].estimates["temperature"].mean == pytest.approx(expected)
    error = (one.estimates["temperature"].error ** 2 + 4 * three.estimates["temperature"].error ** 2) ** 0.5 / 3
    assert means[300.0].estimates["temperature"].error == pytest.approx(error)


def test_an_average_does_not_replace_the_condition_that_it_is_compared_with() -> None:
    assert not Label.__annotations__.keys() & QUANTITIES.keys()
    label: Label = {"walker": 0, "target": [300.0, 300.0], "target_pressure": 1000.0}
    row = Row(label, 8, {"pressure": Estimate(990.0, 5.0, 5.0)}).message
    assert (row["target_pressure"], row["pressure"]) == (1000.0, {"mean": 990.0, "error": 5.0, "at_least": 5.0})
    assert title(label, several=False) == "walker 0, 1000 bar"


def test_many_paths_tell_the_error_by_their_scatter() -> None:
    """Each is too short by itself: eight and more are enough together."""
    found = Averages(Discard(0.0))
    for number in range(50):
        found.add({"walker": number, "target": [300.0, 300.0]}, "water", noise(300.0, number, 4))
    assert all(row.estimates["temperature"].error is None for row in found.rows)
    (mean,) = found.means()
    assert mean.estimates["temperature"].error == pytest.approx(10.0 / 200**0.5, rel=0.3)
    assert abs(mean.estimates["temperature"].mean - 300) < 3 * mean.estimates["temperature"].error


def test_the_table_fits_and_is_short() -> None:
    found = Averages(Discard(0.2))
    for number in range(33):
        series, draw = Series(), random.Random(number)
        for step in range(1000):
            values = {name: draw.gauss(mean, width) for name, (mean, width) in WIDE.items()}
            series.add(float(step), values)
        found.add({"walker": number, "target": [300.0, 300.0]}, "water", series)
    lines = as_text(found).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) == 1 + 20 + 1 + 1
    assert lines[0].split() == ["frames", "T", "(K)", "P", "(bar)", "V", "(Å³)", "E", "(eV)"]
    assert lines[1].startswith("walker 0 ")
    assert lines[-2] == "... 13 more in --json"
    assert lines[-1].startswith("mean of 33 ")
    assert "±" in lines[-1]


WIDE = {
    "temperature": (300.0, 20.0),
    "pressure": (-1000.0, 3000.0),
    "volume": (1728.0, 9.0),
    "model_energy": (-29893.0, 0.6),
}


def test_numbers_have_the_digits_of_their_error() -> None:
    found = Averages(Discard(0.0))
    found.add({"walker": 0, "target": [300.0, 300.0]}, "water", noise(300.0, 1))
    found.add({"walker": 1, "target": [300.0, 900.0]}, "water", noise(300.0, 1, 1))
    found.add({"walker": 2, "target": [300.0, 900.0]}, "water", Series())
    header, first, second, third, legend = as_text(found).splitlines()
    assert header.split() == ["frames", "T", "(K)"], "a volume that stays is no news"
    average = found.rows[0].estimates["temperature"]
    assert average.error is not None
    assert 0.1 < average.error < 1
    assert first.split()[-1] == f"{average.mean:.2f}±{average.error:.2f}"
    assert second.endswith("±?")
    assert legend.startswith("±?: ")
    assert third.split() == ["walker", "2", "0", "-"]
    assert as_text(Averages(Discard())) == ""


def test_walkers_with_their_starts(tmp_path: Path) -> None:
    """Two of each frame; those of another cell are averaged with nobody else's unless the cell moves anyway."""
    wide = {**START, "cell": [[6.0, 0.0, 0.0], [0.0, 6.0, 0.0], [0.0, 0.0, 6.0]]}
    paths = [
        recorded(tmp_path, [frame(n, s, start) for s in (5, 10)], n, start)
        for n, start in enumerate((START,) * 2 + (wide,) * 2)
    ]
    found = of_paths(sampling(2), paths)
    assert [(row.label["walker"], row.label["start"], row.label["atoms"]) for row in found.rows] == [
        (0, 0, 2),
        (1, 0, 2),
        (2, 1, 2),
        (3, 1, 2),
    ]
    assert found.rows[0].estimates["temperature"].mean == 307.5
    assert found.rows[0].estimates["model_energy"].mean == -0.75
    assert [mean.label["paths"] for mean in found.means()] == [2, 2]
    assert [mean.label["paths"] for mean in of_paths(sampling(2, ensemble="npt"), paths).means()] == [4]
    assert of_paths(sampling(2, ensemble="nve"), paths).means() == []


def test_walkers_that_exchange_are_averaged_by_temperature(tmp_path: Path) -> None:
    job, swapped = {"exchange": 5}, {0: (300.0, 400.0, 300.0), 1: (400.0, 300.0, 400.0)}
    paths = [
        recorded(
            tmp_path,
            [frame(n, 5 * (i + 1), START, job, target=t, temperature=t + i) for i, t in enumerate(targets)],
            n,
        )
        for n, targets in swapped.items()
    ]
    found = of_paths(sampling(2, exchange=5), paths)
    assert [(row.label["target"], row.frames) for row in found.rows] == [([300.0, 300.0], 3), ([400.0, 400.0], 3)]
    assert [row.estimates["temperature"].mean for row in found.rows] == [301.0, 401.0]
    assert as_text(found).splitlines()[1].startswith("start 0, 300 K ")
