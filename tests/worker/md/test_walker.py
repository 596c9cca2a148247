"""What every engine has of a walker: its temperatures, what a checkpoint keeps of it, and its atoms for a model."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from psiflow_cli.messages import WalkerStart

np = pytest.importorskip("numpy")
pytest.importorskip("ase")

from psiflow_cli.worker.md.checkpoint import WalkerState  # noqa: E402
from psiflow_cli.worker.md.walker import MovingWalker, start_atoms  # noqa: E402

START: dict[str, Any] = {
    "symbols": ["O", "H"],
    "positions": [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0]],
    "cell": None,
    "pbc": [False] * 3,
}


def walker(temperature: tuple[float, float] = (300.0, 300.0), start: Any = None, **settings: Any) -> MovingWalker:
    job: Any = {"ensemble": "nvt", "thermostat": "langevin", "seed": 3, "steps": 20, **settings}
    return MovingWalker(job, {"walker": 4, "start": start or START, "temperature": list(temperature)})


def test_a_ramp_is_linear_and_then_constant() -> None:
    ramp = walker((100.0, 500.0), ramp_steps=100)
    assert [ramp.target_temperature(step) for step in (0, 25, 100, 900)] == [100.0, 200.0, 500.0, 500.0]
    assert walker().target_temperature(50) == 300.0


def test_a_walker_goes_on_from_its_state() -> None:
    """With the conditions that an exchange gave it, and the noise that it has not used yet."""
    hot = {"walker": 5, "start": START, "temperature": [400.0, 400.0]}
    first, again = walker(exchange=5, walkers=[hot]), walker(exchange=5, walkers=[hot])
    first.step, first.conditions, first.more = 10, cast("WalkerStart", hot), {"p_eps": 0.5}
    first.rng.random(3)
    state = first.state(np.zeros((2, 3)), np.ones((2, 3)), None)
    again.restore(WalkerState(**json.loads(json.dumps(asdict(state)))))
    assert (again.step, again.temperatures, again.more) == (10, [400.0, 400.0], {"p_eps": 0.5})
    assert again.rng.random() == first.rng.random()
    assert "conditions_of" not in walker().state(np.zeros((2, 3)), np.ones((2, 3)), None).more


def test_a_walker_goes_on_from_a_state_of_before_conditions() -> None:
    state = walker(exchange=5).state(np.zeros((2, 3)), np.ones((2, 3)), None)
    state.more.pop("conditions_of")
    state.more["temperatures"] = [400.0, 400.0]
    again = walker(exchange=5, walkers=[])
    again.restore(state)
    assert again.temperatures == [400.0, 400.0]


def test_a_walker_lives_until_its_end_or_its_stop() -> None:
    one = walker()
    assert one.live
    one.step = 7
    one.stop({"reason": "too hot", "kind": "temperature"})
    assert one.stopped == {"reason": "too hot", "kind": "temperature", "step": 7}
    assert not one.live
    other = walker()
    other.step = 20
    assert not other.live


def test_atoms_that_do_not_move_and_a_momentum_that_stays_have_no_degrees_of_freedom() -> None:
    assert walker().degrees_of_freedom == 6
    assert walker(thermostat="csvr").degrees_of_freedom == 3
    assert walker(thermostat="csvr", start={**START, "fixed": [0]}).degrees_of_freedom == 3


def test_atoms_of_a_start_have_what_a_model_asks_for() -> None:
    atoms = start_atoms({**START, "masses": {"H": 2.0}, "charge": -1, "multiplicity": 2})
    assert atoms.info == {"charge": -1, "multiplicity": 2, "spin": 2}
    assert atoms.get_masses().tolist() == pytest.approx([15.999, 2.0])
    assert start_atoms(START).info == {}
