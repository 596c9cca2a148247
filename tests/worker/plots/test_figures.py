"""The figures: what is drawn is what was given, and no data set breaks them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.stages.evaluate.error_table import ErrorTable
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.plots import learning_curve, parity, style

matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")

Wire = dict[str, Any]


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


def compared(frames: list[Wire]) -> Wire:
    """The frames with their errors, as the command gives them."""
    table = ErrorTable()
    for each in frames:
        table.add(each["label"], each["prediction"], each["symbols"], each.get("config_type", ""))
    return {"frames": frames, "errors": table.rows()}


def texts(axis: Any) -> list[str]:
    return [text.get_text() for text in axis.texts]


def is_png(path: Path) -> bool:
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_parity_shows_the_errors_in_their_units(tmp_path: Path, drawn: list[Any]) -> None:
    parity.parity(compared([frame(-10.0, 0.01), frame(-12.0, -0.01)]), str(tmp_path / "parity.png"))
    assert is_png(tmp_path / "parity.png")
    energy, forces, stress = axes = drawn[0].axes[:3]
    assert [axis.get_title(loc="left") for axis in axes] == [
        "energy (2 frames)", "forces (12 components)", "stress (12 components)",
    ]  # fmt: skip
    assert texts(energy) == ["RMSE 5 meV/atom\nMAE 5 meV/atom"], "10 meV over two atoms"
    assert texts(forces) == ["RMSE 10 meV/Å\nMAE 10 meV/Å"]
    assert texts(stress) == ["RMSE 1602 MPa\nMAE 1602 MPa"], "0.01 eV/Å³, in the unit of the table"
    assert energy.collections[0].get_offsets().tolist() == [pytest.approx([0.5, 0.505]), pytest.approx([-0.5, -0.505])]
    assert [text.get_text() for text in forces.get_legend().get_texts()] == ["H", "O"]
    assert list(tmp_path.iterdir()) == [tmp_path / "parity.png"]


def test_axes_are_equal_and_aligned_with_a_panel_for_each_element(tmp_path: Path, drawn: list[Any]) -> None:
    (tmp_path / "data.json").write_text(json.dumps(compared([frame(-10.0 - i, 0.01) for i in range(4)])))
    parity.parity_file(str(tmp_path / "data.json"), str(tmp_path / "parity.png"))
    figure = drawn[0]
    squares = [axis for axis in figure.axes if axis.get_ylabel().startswith("predicted")]
    titles = [axis.get_title(loc="left") for axis in squares]
    assert titles[3:] == ["forces on H", "forces on O"]
    for axis in squares:
        assert axis.get_xlim() == axis.get_ylim()
        box = axis.get_window_extent()
        assert box.width == pytest.approx(box.height)
    for upper, lower in zip(figure.axes[:3], figure.axes[3:6], strict=True):
        assert upper.get_xlim() == lower.get_xlim()
        ends = [axis.get_window_extent() for axis in (upper, lower)]
        assert (ends[0].x0, ends[0].x1) == pytest.approx((ends[1].x0, ends[1].x1)), "one axis below the other"
    assert texts(squares[3]) == ["RMSE 10 meV/Å\nMAE 10 meV/Å"]


def test_parity_leaves_out_what_is_missing(tmp_path: Path, drawn: list[Any]) -> None:
    parity.parity(compared([frame(1.0, 0.1, stress=False), frame(2.0, 0.1)]), str(tmp_path / "a.png"))
    assert [axis.get_title(loc="left").split(" (")[1].split(")")[0] for axis in drawn[0].axes[:3]] == [
        "2 frames", "12 components", "6 components",
    ]  # fmt: skip
    bare: list[Wire] = [{"symbols": ["H"], "label": {"energy": None, "forces": None}, "prediction": {"energy": 1.0}}]
    for frames in (bare, []):
        parity.parity({"frames": frames, "errors": []}, str(tmp_path / "none.png"))
        assert is_png(tmp_path / "none.png")
    constant = frame(1.0, 0.0)
    constant["label"]["forces"] = constant["prediction"]["forces"] = [[0.0] * 3] * 2
    parity.parity(compared([constant]), str(tmp_path / "constant.png"))
    only = {"energy": 1.0, "forces": None, "stress": None}
    alone = {"symbols": ["H"], "label": only, "prediction": {"energy": 1.1, "forces": None, "stress": None}}
    parity.parity(compared([alone]), str(tmp_path / "energies.png"))
    assert len(drawn[-1].axes) == 2


def test_many_points_are_drawn_as_their_density(tmp_path: Path, drawn: list[Any]) -> None:
    many = [frame(float(i), 0.01 * math.sin(i)) for i in range(1 + style.POINTS // 6)]
    data = compared(many)
    for row in data["errors"]:
        row["count"] *= 3  # of all frames, a third of which is drawn
    parity.parity(data, str(tmp_path / "many.png"))
    counts = drawn[0].axes[1].collections[0].get_array()
    assert counts.sum() == 6 * len(many)  # no point is lost
    assert drawn[0].axes[1].get_title(loc="left") == f"forces ({18 * len(many):,} components, {6 * len(many):,} drawn)"
    assert (tmp_path / "many.png").stat().st_size < 600_000


def committee_frame(energy: float, shift: float, kind: str) -> Wire:
    """Predictions that are off by `shift`, of a committee whose spread is half of that."""
    made = frame(energy, shift)
    made["prediction"] |= {"energy_std": shift / 2, "forces_std": [shift / 2, 0.0]}
    return {**made, "config_type": kind}


def test_errors_of_groups_and_the_spread_of_a_committee(tmp_path: Path, drawn: list[Any]) -> None:
    kinds = ["cold", "cold", "hot"]
    frames = [committee_frame(-10.0 - i, 0.01 * (i + 1), kind) for i, kind in enumerate(kinds)]
    parity.parity(compared(frames), str(tmp_path / "parity.png"))
    squares, axes = drawn[0].axes[:9], [*[None] * 6, *drawn[0].axes[9:]]
    assert len(axes) == 12
    # the spread of the force is the norm of three components; errors bars are one standard deviation
    for axis, half in ((squares[0], 0.005 / 2), (squares[1], 0.005 / 3**0.5)):
        bars = [part for part in axis.collections if hasattr(part, "get_segments")]
        low, high = bars[0].get_segments()[0][:, 1]
        assert (high - low) / 2 == pytest.approx(half)
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
    parity.parity(compared(frames), str(tmp_path / "parity.png"))
    energies = drawn[0].axes[-3]
    _, raw, calibrated = energies.lines
    # shifts of 1 to 60 meV, of two atoms
    rms = [math.sqrt(sum((shift / 2) ** 2 for shift in range(low, low + 20)) / 20) for low in (1, 21, 41)]
    assert (list(raw.get_xdata()), list(raw.get_ydata())) == (pytest.approx([x / 2 for x in rms]), pytest.approx(rms))
    assert (list(calibrated.get_xdata()), list(calibrated.get_ydata())) == (pytest.approx(rms), pytest.approx(rms))
    assert energies.get_title(loc="left").endswith("error/spread 2.00, error/expected 1.00")


def test_members_that_do_not_differ_and_very_many_groups(tmp_path: Path, drawn: list[Any]) -> None:
    frames = [committee_frame(-10.0, 0.0, f"kind {i}") for i in range(40)]
    parity.parity(compared(frames), str(tmp_path / "same.png"))
    assert "15 worst of 40" in drawn[0].axes[9].get_title(loc="left")
    assert drawn[0].axes[12].get_title(loc="left") == "the members do not differ"
    assert is_png(tmp_path / "same.png")


def curve(model: str, member: int = 0, epochs: int = 9, **more: int) -> Wire:
    return {
        "model": model,
        "epochs": [
            {"epoch": e, "loss": 8.0 / 2**e, "valid_loss": 4.0 / 2**e, "rmse_f_meV_per_A": 100.0 / (e + member + 1)}
            for e in range(epochs)
        ],
        **more,
    }


def test_learning_curve_of_a_committee(tmp_path: Path, drawn: list[Any]) -> None:
    curves = [curve("water", m, delivered=6 + m, stage_two=5) for m in (0, 1)]
    curves[1]["epochs"][3]["rmse_f_meV_per_A"] = math.nan
    curves[0]["epochs"][0]["loss"] = None  # MACE's own log begins without one where an epoch was resumed
    learning_curve.learning_curve(curves, str(tmp_path / "curve.png"))
    losses, forces = drawn[0].axes
    assert forces.get_ylabel() == "forces RMSE\n(meV/Å)"
    lines = {line.get_label(): line.get_xydata().tolist() for line in forces.lines}
    assert lines[f"member 0: {100 / 7:.3g}"] == [[e, 100.0 / (e + 1)] for e in range(9)]
    assert len(lines[f"member 1: {100 / 9:.3g}"]) == 8
    stars = [line.get_xydata().tolist() for line in forces.lines if line.get_marker() == "*"]
    assert stars == [[[6, 100 / 7]], [[7, 100 / 9]]], "the delivered epochs"
    assert [line.get_xdata() for line in forces.lines if line.get_linestyle() == ":"] == [[5, 5]]
    assert losses.get_xlim() == forces.get_xlim()
    assert [1 / 2**e for e in range(9)] in [list(line.get_ydata()) for line in losses.lines]
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["delivered", "stage two begins"]
    learning_curve.learning_curve(curves, str(tmp_path / "again.png"))
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "curve.png").read_bytes()


def test_learning_curves_of_several_models(tmp_path: Path, drawn: list[Any]) -> None:
    curves = [curve("small", delivered=8), *(curve("large", m, 5, delivered=4) for m in (1, 2))]
    learning_curve.learning_curve(curves, str(tmp_path / "curves.png"))
    forces = drawn[0].axes[1]
    assert [t.get_text() for t in forces.get_legend().get_texts()] == ["small: 11.1", "large: 14.3 to 16.7"]
    drawn_lines = [line for line in forces.lines if line.get_marker() != "*"]
    assert drawn_lines[1].get_color() == drawn_lines[2].get_color() != drawn_lines[0].get_color()


@pytest.mark.parametrize("epochs", [[], [{"epoch": 0, "loss": None, "valid_loss": math.nan}]])
def test_learning_curve_of_nothing(tmp_path: Path, epochs: list[Wire]) -> None:
    learning_curve.learning_curve([{"model": "x", "epochs": epochs}], str(tmp_path / "curve.png"))
    learning_curve.learning_curve([], str(tmp_path / "none.png"))
    assert is_png(tmp_path / "curve.png")


def test_styles_apply_over_our_own(tmp_path: Path, drawn: list[Any]) -> None:
    before = dict(matplotlib.rcParams)
    sheet = tmp_path / "paper.mplstyle"
    sheet.write_text("figure.figsize: 3.3, 2\nfont.size: 7\naxes.prop_cycle: cycler('color', ['red', 'blue'])\n")
    learning_curve.learning_curve([curve("water")], str(tmp_path / "curve.svg"), ["ggplot", str(sheet)])
    assert drawn[0].get_figwidth() == pytest.approx(3.3)
    assert drawn[0].axes[1].lines[0].get_color() == "red"
    assert drawn[0].axes[1].get_facecolor()[:3] == pytest.approx((0xE5 / 255,) * 3), "of ggplot"
    assert b"<text" in (tmp_path / "curve.svg").read_bytes(), "text stays text"
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(("width", "columns"), [(3.4, 1), (7.0, 3)])
def test_panels_are_below_each_other_where_they_would_be_too_narrow(
    tmp_path: Path, drawn: list[Any], width: float, columns: int
) -> None:
    sheet = tmp_path / "paper.mplstyle"
    sheet.write_text(f"figure.figsize: {width}, 2\nfont.size: 8\n")
    data = compared([frame(-10.0 - i, 0.01) for i in range(4)])
    parity.parity(data, str(tmp_path / "parity.png"), [str(sheet)])
    figure = drawn[0]
    assert figure.get_figwidth() == pytest.approx(width)
    shown = [axis for axis in figure.axes if axis.axison]
    assert len({round(axis.get_window_extent().x0) for axis in shown}) == columns
    assert len([axis for axis in shown if axis.get_title(loc="left")]) == 5
    for axis in shown:
        box = axis.get_tightbbox()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width, axis.get_title(loc="left")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (None, "--style ggplt: matplotlib has no such style"),
        ("font.size: 8\nfont.sice: 8\n", "{sheet}:2: Bad key font.sice"),
        ("font.size: big\n", "{sheet}:1: Bad value"),
    ],
)
def test_a_wrong_style_is_named(tmp_path: Path, text: str | None, what: str) -> None:
    sheet = tmp_path / "paper.mplstyle"
    if text:
        sheet.write_text(text)
    with pytest.raises(Fatal) as error:
        learning_curve.learning_curve([], str(tmp_path / "x.png"), [str(sheet) if text else "ggplt"])
    assert what.format(sheet=sheet) in error.value.message
    assert text or "ggplot" in error.value.hint
