"""The figures: what is drawn is what was given, and no data set breaks them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.worker.plots import learning_curve, parity, style

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

Wire = dict[str, Any]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The matplotlib figures that were saved."""
    kept: list[Any] = []
    save = style.save
    monkeypatch.setattr(style, "save", lambda figure, path: (kept.append(figure), save(figure, path)))
    return kept


def frame(energy: float, shift: float, stress: bool = True) -> Wire:
    label = {"energy": energy, "forces": [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]]}
    label["stress"] = [0.01, 0.02, 0.03, 0.0, 0.001, -0.001] if stress else None
    forces = [[x + shift for x in row] for row in label["forces"]]
    off = [x + shift for x in label["stress"]] if stress else None
    return {
        "symbols": ["H", "O"],
        "label": label,
        "prediction": {"energy": energy + shift, "forces": forces, "stress": off},
    }


def is_png(path: Path) -> bool:
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_parity_shows_the_errors_in_their_units(tmp_path: Path, drawn: list[Any]) -> None:
    parity.parity([frame(-10.0, 0.01), frame(-12.0, -0.01)], str(tmp_path / "parity.png"))
    assert is_png(tmp_path / "parity.png")
    titles = [axis.get_title(loc="left") for axis in drawn[0].axes[:3]]
    assert titles == [
        "energy per atom (2 points)\nRMSE 5, MAE 5 meV/atom",  # 10 meV over two atoms
        "force components (12 points)\nRMSE 10, MAE 10 meV/Å",
        "stress components (12 points)\nRMSE 10, MAE 10 meV/Å³",
    ]
    energies = drawn[0].axes[0].collections[0].get_offsets()
    assert energies.tolist() == [pytest.approx([0.5, 0.505]), pytest.approx([-0.5, -0.505])]
    assert [text.get_text() for text in drawn[0].axes[1].get_legend().get_texts()] == ["H", "O"]
    assert list(tmp_path.iterdir()) == [tmp_path / "parity.png"]


def test_parity_leaves_out_what_is_missing(tmp_path: Path, drawn: list[Any]) -> None:
    (tmp_path / "frames.json").write_text(json.dumps({"frames": [frame(1.0, 0.1, stress=False), frame(2.0, 0.1)]}))
    parity.parity_file(str(tmp_path / "frames.json"), str(tmp_path / "a.png"))
    assert [axis.get_title(loc="left").split(" (")[1].split(")")[0] for axis in drawn[0].axes[:3]] == [
        "2 points", "12 points", "6 points",
    ]  # fmt: skip
    bare: list[Wire] = [{"symbols": ["H"], "label": {"energy": None, "forces": None}, "prediction": {"energy": 1.0}}]
    for frames in (bare, []):
        parity.parity(frames, str(tmp_path / "none.png"))
        assert is_png(tmp_path / "none.png")
    constant = frame(1.0, 0.0)
    constant["label"]["forces"] = constant["prediction"]["forces"] = [[0.0] * 3] * 2
    parity.parity([constant], str(tmp_path / "constant.png"))


def test_many_points_are_drawn_as_their_density(tmp_path: Path, drawn: list[Any]) -> None:
    many = [frame(float(i), 0.01 * math.sin(i)) for i in range(1 + style.POINTS // 6)]
    parity.parity(many, str(tmp_path / "many.png"))
    counts = drawn[0].axes[1].collections[0].get_array()
    assert counts.sum() == 6 * len(many)  # no point is lost
    assert (tmp_path / "many.png").stat().st_size < 500_000


def committee_frame(energy: float, shift: float, kind: str) -> Wire:
    """Predictions that are off by `shift`, of a committee whose spread is half of that."""
    made = frame(energy, shift)
    made["prediction"] |= {"energy_std": shift / 2, "forces_std": [shift / 2, 0.0]}
    return {**made, "config_type": kind}


def test_errors_of_groups_and_the_spread_of_a_committee(tmp_path: Path, drawn: list[Any]) -> None:
    kinds = ["cold", "cold", "hot"]
    frames = [committee_frame(-10.0 - i, 0.01 * (i + 1), kind) for i, kind in enumerate(kinds)]
    parity.parity(frames, str(tmp_path / "parity.png"))
    axes = drawn[0].axes
    assert len(axes) == 12
    named = [[label.get_text() for label in axis.get_yticklabels()] for axis in axes[6:9]]
    assert named == [["all", "cold", "hot"], ["all", "H", "O", "cold", "hot"], ["all", "cold", "hot"]]
    cold = math.sqrt((10.0**2 + 20.0**2) / 2)
    assert [bar.get_width() for bar in axes[6].patches] == pytest.approx([math.sqrt(1400 / 3) / 2, cold / 2, 15.0])
    assert [bar.get_width() for bar in axes[7].patches][3:] == pytest.approx([cold, 30.0])
    energies, forces = axes[9], axes[10]
    assert energies.collections[0].get_offsets().tolist() == [pytest.approx([s / 4, s / 2]) for s in (10, 20, 30)]
    # only atoms with a spread can be drawn: the first of each frame; its error is the norm of three components
    expected = [pytest.approx([s / 2, s * math.sqrt(3)]) for s in (10, 20, 30)]
    assert forces.collections[0].get_offsets().tolist() == expected
    assert energies.get_title(loc="left") == "3 frames, correlation 1.00\nRMS error / RMS spread 2.00"
    assert (energies.get_xscale(), energies.get_yscale()) == ("log", "log")
    assert not axes[11].axison, "there is no spread of the stress"


def test_a_calibrated_committee_has_two_curves(tmp_path: Path, drawn: list[Any]) -> None:
    frames = [committee_frame(-10.0 - i, 0.001 * (i + 1), "kind") for i in range(60)]
    for each in frames:
        spread = each["prediction"]["energy_std"]
        each["prediction"] |= {"energy_expected_error": 2 * spread, "forces_expected_error": [3.46 * spread, 0.01]}
    parity.parity(frames, str(tmp_path / "parity.png"))
    energies = drawn[0].axes[-3]
    _, raw, calibrated = energies.lines
    # shifts of 1 to 60 meV, of two atoms
    rms = [math.sqrt(sum((shift / 2) ** 2 for shift in range(low, low + 20)) / 20) for low in (1, 21, 41)]
    assert (list(raw.get_xdata()), list(raw.get_ydata())) == (pytest.approx([x / 2 for x in rms]), pytest.approx(rms))
    assert (list(calibrated.get_xdata()), list(calibrated.get_ydata())) == (pytest.approx(rms), pytest.approx(rms))
    assert energies.get_title(loc="left").endswith("error/spread 2.00, error/expected 1.00")


def test_members_that_do_not_differ_and_very_many_groups(tmp_path: Path, drawn: list[Any]) -> None:
    frames = [committee_frame(-10.0, 0.0, f"kind {i}") for i in range(40)]
    parity.parity(frames, str(tmp_path / "same.png"))
    assert "15 worst of 40" in drawn[0].axes[6].get_title(loc="left")
    assert drawn[0].axes[9].get_title(loc="left") == "the members do not differ"
    assert is_png(tmp_path / "same.png")


def test_learning_curve_of_a_committee(tmp_path: Path, drawn: list[Any]) -> None:
    members: list[list[Wire]] = [
        [
            {"epoch": e, "loss": 8.0 / 2**e, "valid_loss": 4.0 / 2**e, "rmse_f_meV_per_A": 100.0 / (e + m)}
            for e in range(9)
        ]
        for m in (1, 2)
    ]
    members[1][3]["rmse_f_meV_per_A"] = math.nan
    members[0][0]["loss"] = None  # MACE's own log begins without one where an epoch was resumed
    learning_curve.learning_curve(members, str(tmp_path / "curve.png"))
    losses, forces = drawn[0].axes
    assert forces.get_title() == "forces"
    assert forces.get_ylabel() == "validation RMSE / meV Å$^{-1}$"
    assert forces.lines[0].get_xydata().tolist() == [[e, 100.0 / (e + 1)] for e in range(9)]
    assert len(forces.lines[1].get_xydata()) == 8
    assert losses.lines[2].get_ydata().tolist() == [1 / 2**e for e in range(9)]
    learning_curve.learning_curve(members, str(tmp_path / "again.png"))
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "curve.png").read_bytes()


@pytest.mark.parametrize("members", [[], [[]], [[{"epoch": 0, "loss": None, "valid_loss": math.nan}]]])
def test_learning_curve_of_nothing(tmp_path: Path, members: list[list[Wire]]) -> None:
    learning_curve.learning_curve(members, str(tmp_path / "curve.png"))
    assert is_png(tmp_path / "curve.png")
