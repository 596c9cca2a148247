"""The plot of a sampling: what is drawn is what was recorded, in lines or in ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.worker.plots import style, time_series

np = pytest.importorskip("numpy")
matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")

Wire = dict[str, Any]
HEADER = "walker,step,time_fs,temperature_K,pressure_bar,volume_A3,model_energy_eV,total_energy_eV"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The matplotlib figures that were saved, which is fast with few dots."""
    kept: list[Any] = []
    save = style.save

    def save_small(figure: Any, path: str) -> None:
        kept.append(figure)
        with matplotlib.rc_context({"savefig.dpi": 25}):
            save(figure, path)

    monkeypatch.setattr(style, "save", save_small)
    return kept


def walkers(count: int, *targets: float) -> list[Wire]:
    """Two atoms each; without targets there is no thermostat."""
    found = []
    for n in range(count):
        target = [targets[n % len(targets)]] * 2 if targets else None
        found.append({"walker": n, "start": 0, "atoms": 2, "target": target, "stopped": n == count - 1 > 0})
    return found


def table(path: Path, count: int, frames: int = 40, header: str = HEADER, volume: float = 0.0) -> Path:
    """Temperatures 300 + walker, energies step / 100 eV; the last walker is stopped halfway."""
    rows = [header]
    for walker in range(count):
        for i in range(1, 1 + (frames if walker < count - 1 else frames // 2)):
            energies = f"{-10 + i / 100},{-9.5}"
            rows.append(f"{walker},{i},{i},{300 + walker},{100 * walker},{125 + volume * i},{energies}")
    path.write_text("\n".join(rows) + "\n")
    return path


def draw(source: Path, members: list[Wire], path: Path, pressure: float | None = None) -> None:
    shown: Wire = {"walkers": members, "pressure": pressure, "duration": 40.0, "discard": 8.0}
    time_series.draw(str(source), str(path), **shown)


def legend(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_line_for_each_walker(tmp_path: Path, drawn: list[Any]) -> None:
    draw(table(tmp_path / "table.csv", 3, 80), walkers(3, 300.0), tmp_path / "plot.png")
    temperature, energy, pressure = drawn[0].axes
    assert [axis.get_ylabel().split()[0] for axis in drawn[0].axes] == ["temperature", "potential", "pressure"]
    lines = {line.get_label(): line for line in temperature.lines}
    assert lines["walker 1"].get_ydata() == pytest.approx(301.0)
    assert temperature.lines[-1].get_ydata() == [300.0, 300.0]
    every = np.concatenate([np.arange(1, 81), np.arange(1, 81), np.arange(1, 41)]) / 100
    thin = energy.lines[0]
    assert thin.get_ydata() == pytest.approx(1e3 * (np.arange(1, 81) / 100 - every.mean()) / 2)
    assert legend(drawn[0]) == [
        "walker 0",
        "walker 1",
        "walker 2",
        "not in the averages",
        "target",
        "1 of 3 stopped",
    ]
    assert [line.get_marker() for line in pressure.lines].count("x") == 1
    assert temperature.get_xlim() == (0.0, 40.0)
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"


def test_crowds_are_ranges(tmp_path: Path, drawn: list[Any]) -> None:
    draw(table(tmp_path / "table.csv", 12), walkers(12, 300.0, 400.0), tmp_path / "plot.png")
    temperature = drawn[0].axes[0]
    assert legend(drawn[0])[:2] == ["300 K", "400 K"]
    assert legend(drawn[0])[-1] == "1 of 12 stopped"
    even, odd = temperature.lines[:2]
    assert even.get_ydata() == pytest.approx(np.median([300, 302, 304, 306, 308, 310]))
    assert odd.get_ydata()[0] == pytest.approx(306.0)
    assert odd.get_ydata()[-1] == pytest.approx(305.0)  # the last walker is no more
    band = temperature.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((300.5, 309.5))


def test_too_many_temperatures_are_one_crowd(tmp_path: Path, drawn: list[Any]) -> None:
    draw(table(tmp_path / "table.csv", 9), walkers(9, *(300.0 + n for n in range(9))), tmp_path / "plot.png")
    assert legend(drawn[0])[0] == "walkers"


def test_without_a_thermostat_energy_should_be_conserved(tmp_path: Path, drawn: list[Any]) -> None:
    draw(table(tmp_path / "table.csv", 2), walkers(2), tmp_path / "plot.png")
    labels = [axis.get_ylabel() for axis in drawn[0].axes]
    assert [label.split()[0] for label in labels] == ["temperature", "potential", "total", "pressure"]
    assert drawn[0].axes[2].lines[0].get_ydata() == pytest.approx(0.0)
    assert "target" not in legend(drawn[0])


def test_a_cell_that_moves_has_its_volume(tmp_path: Path, drawn: list[Any]) -> None:
    draw(table(tmp_path / "table.csv", 2, volume=1.0), walkers(2, 300.0), tmp_path / "plot.png", pressure=50.0)
    *_, pressure, volume = drawn[0].axes
    assert volume.get_ylabel() == "volume (Å³)"
    assert volume.lines[0].get_ydata()[:2] == pytest.approx([126.0, 127.0])
    assert pressure.lines[-1].get_ydata() == [50.0, 50.0]


def test_a_ramp_is_drawn(tmp_path: Path, drawn: list[Any]) -> None:
    members = [{**walker, "target": [100.0, 500.0]} for walker in walkers(2)]
    draw(table(tmp_path / "table.csv", 2), members, tmp_path / "plot.png")
    assert any(list(line.get_ydata()) == [100.0, 500.0] for line in drawn[0].axes[0].lines)


def test_beads_are_drawn_as_their_mean(tmp_path: Path, drawn: list[Any]) -> None:
    rows = [f"0,{bead},{step},{step}.0,{300 + bead},{-5 + bead}" for step in (1, 2, 3) for bead in (0, 1, 2, 3)]
    (tmp_path / "table.csv").write_text(
        "\n".join(["walker,bead,step,time_fs,temperature_K,model_energy_eV", *rows, ""])
    )
    draw(tmp_path / "table.csv", walkers(1, 300.0), tmp_path / "plot.png")
    line = drawn[0].axes[0].lines[0]
    assert line.get_xdata().tolist() == [1.0, 2.0, 3.0]
    assert line.get_ydata() == pytest.approx(301.5)
    assert len(drawn[0].axes) == 2, "without a cell there is no pressure"


def test_an_explosion_does_not_hide_the_rest(tmp_path: Path, drawn: list[Any]) -> None:
    source = table(tmp_path / "table.csv", 3, 400)
    rows = source.read_text().splitlines()
    rows[-1] = rows[-1].replace(",302,", ",9e5,")
    source.write_text("\n".join(rows) + "\n")
    draw(source, walkers(3, 300.0), tmp_path / "plot.png")
    assert drawn[0].axes[0].get_ylim()[1] < 1000


@pytest.mark.parametrize("form", ["png", "pdf", "svg"])
def test_every_format_has_equal_bytes(tmp_path: Path, form: str) -> None:
    source, path = table(tmp_path / "table.csv", 2), tmp_path / f"plot.{form}"
    draw(source, walkers(2, 300.0), path)
    first = path.read_bytes()
    draw(source, walkers(2, 300.0), path)
    assert path.read_bytes() == first
    assert first[:5] == {"png": b"\x89PNG\r", "pdf": b"%PDF-", "svg": b"<?xml"}[form]


def test_nothing_recorded_is_an_empty_page(tmp_path: Path, drawn: list[Any]) -> None:
    (tmp_path / "table.csv").write_text("walker,step,time\n")
    draw(tmp_path / "table.csv", walkers(2, 300.0), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
    assert drawn[0].axes[0].get_title() == "no frames were recorded"
