"""A Python file as a model, in the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from psiflow_cli import registry
from psiflow_cli.errors import BAD_DATA
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
        ("from ase.calculators.emt import EMT\ndef calculator():\n    return EMT\n", "returned the class EMT itself"),
        ("from ase.calculators.emt import EMT\ncalculator = EMT()\n", "calculator is a EMT, not a function"),
        ("calculator = None\nx = 1/0\n", "mine.py:2: ZeroDivisionError"),
        ("x = 1\nimport no_such_package\n", "mine.py:2: .*No module named 'no_such_package'"),
        ("x = 1\nfrom .helper import y\n", "mine.py:2: a relative import"),
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


RESULTS = """
class Mine(EMT):
    implemented_properties = ["energy", "forces", "stress"]
    def calculate(self, atoms, *args):
        super().calculate(atoms, *args)
        self.results.update(stress=[0.0] * 6)
        self.results.update({results})
"""


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ("forces=[0.0] * 6", r"forces has the shape \(6,\) for 2 atoms, not \(2, 3\)"),
        ("forces=[[0.0] * 3]", r"forces has the shape \(1, 3\)"),
        ("energy=[1.0, 2.0]", r"energy has the shape \(2,\)"),
        ("stress=[0.0] * 5", r"stress has the shape \(5,\)"),
        ("energy=1j", "energy is a complex"),
        ("energy=None", "it gives no energy"),
        ("forces=None", "it gives no forces"),
    ],
)
def test_results_that_fit_no_structure_end_the_run(tmp_path: Path, results: str, words: str) -> None:
    text = EMT.replace("return EMT()", "return Mine()") + RESULTS.format(results=results)
    with pytest.raises(Fatal, match=words) as raised:
        predicted(written(tmp_path, text), cell=[[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]], pbc=[True] * 3)
    assert raised.value.exit_code == BAD_DATA


def test_numbers_that_fit_no_frame_are_a_failure(tmp_path: Path) -> None:
    text = EMT.replace("return EMT()", "return Mine()") + (
        "class Mine(EMT):\n    def calculate(self, *args):\n        super().calculate(*args)\n"
        "        self.results['energy'] = float('nan')\n"
    )
    assert predicted(written(tmp_path, text))["failure"] == "inconsistent"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("out.pop('energy')", "returned no energy"),
        ("out['energy'] = out['energy'].repeat(2)", r"energy of shape \(2,\) for 1 system of 2 atoms"),
        ("out['forces'] = out['forces'][1:]", r"forces of shape \(1, 3\)"),
    ],
)
def test_results_of_a_model_of_torch_sim_that_fit_no_structure(tmp_path: Path, change: str, words: str) -> None:
    pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    text = (
        "from torch_sim.models.lennard_jones import LennardJonesModel\nclass Mine(LennardJonesModel):\n"
        f"    def forward(self, state):\n        out = super().forward(state)\n        {change}\n        return out\n"
        "def torchsim(device, dtype):\n    return Mine(sigma=2.3, epsilon=0.2, cutoff=5.0, dtype=dtype)\n"
    )
    with pytest.raises(Fatal, match=words):
        predicted(written(tmp_path, text))


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
