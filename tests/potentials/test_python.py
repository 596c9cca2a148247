"""A Python file as a model, in the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from psiflow_cli import registry
from psiflow_cli.potentials import python
from psiflow_cli.protocols import Potential
from psiflow_cli.worker.failures import Fatal

pytest.importorskip("ase", reason="the potentials of these tests are ASE's")
COPPER = {
    "id": "", "symbols": ["Cu", "Cu"], "positions": [[0.0, 0.0, 0.0], [2.3, 0.2, 0.1]], "cell": None,
    "pbc": [False] * 3,
}  # fmt: skip
EMT = "from ase.calculators.emt import EMT\ndef calculator(device, dtype):\n    return EMT()\n"


def written(folder: Path, text: str) -> str:
    (folder / "mine.py").write_text(text)
    return str(folder / "mine.py")


def predicted(member: str, **more: Any) -> dict[str, Any]:
    ((found,),) = python.predict([{**COPPER, **more}], [member], {})  # type: ignore[list-item, typeddict-item]
    return dict(found)


def test_all_potentials_have_what_one_has() -> None:
    for name in registry.names("potentials"):
        assert isinstance(registry.load("potentials", name), Potential)


@pytest.mark.parametrize("signature", ["device, dtype", "", "device", "**options", "dtype='float32', device=None"])
def test_parameters_may_be_left_out(tmp_path: Path, signature: str) -> None:
    from ase import Atoms
    from ase.calculators.emt import EMT as ASEs

    member = written(tmp_path, EMT.replace("device, dtype", signature))
    by_hand = Atoms(COPPER["symbols"], COPPER["positions"], calculator=ASEs())
    found = predicted(member)
    assert found["energy"] == by_hand.get_potential_energy()
    assert found["stress"] is None
    assert found["forces"] == by_hand.get_forces().tolist()


def test_the_charge_reaches_it(tmp_path: Path) -> None:
    text = EMT.replace("return EMT()", "return Mine()") + (
        "class Mine(EMT):\n    def calculate(self, atoms, *args):\n        super().calculate(atoms, *args)\n"
        "        self.results['energy'] = float(atoms.info.get('charge', 0))\n"
    )
    member = written(tmp_path, text)
    assert [predicted(member)["energy"], predicted(member, charge=-2)["energy"]] == [0.0, -2.0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def calculator(device, dtype):\n    return nothing\n", "mine.py:2: NameError"),
        ("def calculator(device, dtype):\n    return 3\n", "returned int, not an ASE calculator"),
        ("calculator = None\nx = 1/0\n", "mine.py:2: ZeroDivisionError"),
        ("def calculator(:\n", "mine.py:1: "),
        ("import sys\nsys.exit(3)\n", "mine.py:2: SystemExit"),
    ],
)
def test_a_fault_of_the_file_ends_the_run_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(Fatal, match=words):
        predicted(written(tmp_path, text))


def test_a_file_without_a_model_of_torch_sim(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="has no torchsim"):
        python.torchsim(written(tmp_path, EMT), {}, True)  # type: ignore[typeddict-item]


def test_numbers_that_fit_no_frame_are_a_failure(tmp_path: Path) -> None:
    text = EMT.replace("return EMT()", "return Mine()") + (
        "class Mine(EMT):\n    def calculate(self, *args):\n        super().calculate(*args)\n"
        "        self.results['energy'] = float('nan')\n"
    )
    assert predicted(written(tmp_path, text))["failure"] == "inconsistent"


def test_a_model_of_torch_sim_is_a_calculator_too(tmp_path: Path) -> None:
    torch_sim = pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    import torch
    from ase import Atoms
    from torch_sim.models.lennard_jones import LennardJonesModel

    options = "sigma=2.3, epsilon=0.2, cutoff=5.0, compute_stress=True"
    text = (
        "from torch_sim.models.lennard_jones import LennardJonesModel\n"
        "class Squeezed(LennardJonesModel):  # as torch-sim's model for ORB does\n    def forward(self, state):\n"
        "        return {name: values.squeeze() for name, values in super().forward(state).items()}\n"
        f"def torchsim(device, dtype):\n    return Squeezed(device=device, dtype=dtype, {options})\n"
    )
    cell = {"cell": [[11.0, 0.0, 0.0], [0.5, 10.5, 0.0], [0.0, 0.0, 12.0]], "pbc": [True] * 3}
    found = predicted(written(tmp_path, text), **cell)
    model = LennardJonesModel(sigma=2.3, epsilon=0.2, cutoff=5.0, dtype=torch.float64, compute_stress=True)
    atoms = Atoms(COPPER["symbols"], COPPER["positions"], **cell)  # type: ignore[arg-type]
    told = model(torch_sim.io.atoms_to_state([atoms], torch.device("cpu"), torch.float64))
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = told["stress"][0].tolist()
    assert found["energy"] == pytest.approx(float(told["energy"][0]), abs=1e-12)
    assert found["forces"] == told["forces"].tolist()
    assert found["stress"] == pytest.approx([xx, yy, zz, yz, xz, xy], abs=1e-15)
