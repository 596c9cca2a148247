"""Whatever a user's own reference returns, a label or a failure in builtins leaves the worker."""

from __future__ import annotations

import pytest

from psiflow_cli.worker.models import label

CELL = [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]]
FRAME = {"id": "0" * 16, "symbols": ["H", "H"], "positions": [[0.0, 0.0, 0.0], [0.0, 0.0, 0.7]], "cell": CELL}
FRAME["pbc"] = [True] * 3
GOOD = {"energy": -1.0, "forces": [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]], "stress": None, "code": "mine 1"}


def checked(**changes):
    return label.checked(FRAME, {**GOOD, **changes}, "mine")


def test_a_label_is_left_as_it_is():
    assert checked() == GOOD
    assert checked(dipole=[0.0, 0.1, 0.2])["dipole"] == [0.0, 0.1, 0.2]
    assert label.checked(FRAME, {k: v for k, v in GOOD.items() if k != "code"}, "mine")["code"] == "mine"


def test_numpy_becomes_builtins():
    np = pytest.importorskip("numpy", reason="needs numpy")
    found = checked(energy=np.float64(-1), forces=np.array(GOOD["forces"]), stress=np.zeros(6), charges=np.ones(2))
    assert found == {**GOOD, "stress": [0.0] * 6, "charges": [1.0, 1.0]}
    assert type(found["energy"]) is float
    assert type(found["charges"]) is list


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"energy": float("nan")}, "finite"),
        ({"forces": [[0.0, 0.0, float("inf")], [0.0] * 3]}, "finite"),
        ({"stress": [float("nan")] * 6}, "finite"),
        ({"forces": [[0.0] * 3]}, "1 force for 2 atoms"),
        ({"forces": [[0.0] * 2] * 2}, "forces"),
        ({"forces": None}, "no label"),
        ({"energy": None}, "no label"),
        ({"energy": "high"}, "no label"),
        ({"stress": [[0.0] * 3] * 3}, "stress"),
        ({"stress": 1.0}, "no label"),
        ({"more": object()}, "object"),
    ],
)
def test_what_is_no_label_is_inconsistent(changes, said):
    found = checked(**changes)
    assert found["failure"] == "inconsistent"
    assert said in found["message"]


@pytest.mark.parametrize("result", [None, 3, "label", [], {}, {"energy": 1.0}])
def test_what_is_nothing_like_a_label_is_inconsistent(result):
    assert label.checked(FRAME, result, "mine")["failure"] == "inconsistent"


def test_failures_are_kept_and_unknown_classes_are_crashes():
    kept = label.checked(FRAME, {"failure": "unconverged", "message": "after\n 50 steps", "log": "a.out"}, "mine")
    assert kept == {"failure": "unconverged", "message": "after 50 steps", "log": "a.out"}
    assert label.checked(FRAME, {"failure": "boom"}, "mine")["failure"] == "crashed"


@pytest.mark.parametrize(("returned", "said"), [("[]", "0 results for 1"), ("None", "NoneType"), ("{}", "dict")])
def test_another_number_of_results_is_said(tmp_path, returned, said):
    (tmp_path / "mine.py").write_text(f"def label(frames, settings, context): return {returned}\n")
    with pytest.raises(TypeError, match=said):
        label.label([FRAME], str(tmp_path / "mine.py"), {}, {})
