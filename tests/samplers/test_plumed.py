"""PLUMED itself in every engine: forces, energies and virials, and biases that go on from a checkpoint."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("ase")
pytest.importorskip("ipi")
pytest.importorskip("torch_sim", reason="torch-sim is not installed")

from psiflow_cli.worker.failures import Fatal  # noqa: E402
from psiflow_cli.worker.md.checkpoint import STATE, plumed_folder  # noqa: E402
from psiflow_cli.worker.md.plumed.bias import Bias  # noqa: E402
from psiflow_cli.worker.md.plumed.kernel import BiasForces  # noqa: E402
from psiflow_cli.worker.md.walker import start_atoms  # noqa: E402
from tests.samplers import plumed_systems as systems  # noqa: E402

pytestmark = systems.needs_kernel
SPRING = "RESTRAINT ARG=d AT=1.1 KAPPA=6\nPRINT ARG=d FILE=COLVAR STRIDE=3 FMT=%.12f\n"
HILLS = "m: METAD ARG=d SIGMA=0.05 HEIGHT=0.005 PACE=5 BIASFACTOR=5 TEMP=300\nPRINT ARG=d,m.bias FILE=C STRIDE=3\n"
ECV = "l: ECV_LINEAR ARG=d LAMBDA=0 LAMBDA_MAX=0.5 TEMP=300 LAMBDA_STEPS=4\n"
REMEMBERED = {
    "METAD": HILLS,
    "grid": HILLS.replace("PACE", "GRID_MIN=0 GRID_MAX=3 GRID_WFILE=G GRID_WSTRIDE=10 PACE"),
    "PBMETAD": "PBMETAD ARG=d,e SIGMA=0.02,0.02 HEIGHT=0.005 PACE=5 BIASFACTOR=5 TEMP=300 FILE=A,B\n",
    "OPES": "m: OPES_METAD ARG=d PACE=5 BARRIER=0.1 TEMP=300\n",
    "fixed": "OPES_METAD_EXPLORE ARG=d SIGMA=0.05 PACE=5 BARRIER=0.1 TEMP=300 STATE_WFILE=S STATE_WSTRIDE=3\n",
    "expanded": ECV + "OPES_EXPANDED ARG=l.* PACE=5 OBSERVATION_STEPS=3\n",
}


def bias_of(folder: Path, text: str, **changes: Any) -> tuple[Bias, Any]:
    """A bias without an engine, and the atoms it is about."""
    job: Any = systems.job(folder, "alone", text, **changes)
    Path(job["folder"]).mkdir(parents=True)
    atoms = start_atoms(job["walkers"][0]["start"])
    return Bias(job, job["walkers"][0], atoms, None), atoms


@pytest.mark.parametrize("ensemble", ["nve", "nvt", "npt"])
def test_a_restraint_in_every_engine(tmp_path: Path, ensemble: str) -> None:
    """Its energy is that of the formula; alone, in a batch and by ASE it is the same path; NVE conserves the energy."""
    paths = {}
    for engine in systems.ENGINES:
        job = systems.job(tmp_path, engine, SPRING, ensemble=ensemble, every=5)
        paths[engine] = systems.finish(engine, job)
        for frames in paths[engine]:
            distances = np.array([np.linalg.norm(a.positions[1] - a.positions[0]) for a in frames])
            biases = np.array([a.info["bias_energy"] for a in frames])
            assert biases == pytest.approx(3.0 * (distances - 1.1) ** 2, rel=1e-9, abs=1e-12)
            if ensemble == "nve":
                total = biases + [a.info["model_energy"] + a.info["kinetic_energy"] for a in frames]
                assert np.ptp(total) < 0.02 * np.ptp(biases)
        assert len(systems.rows(job, 1, "COLVAR")) == 21
    single = systems.finish("torchsim", systems.job(tmp_path, "single", SPRING, ensemble=ensemble, every=5, batch=1))
    for frames, others, alone in zip(paths["ase"], paths["torchsim"], single, strict=True):
        for a, b, c in zip(frames, others, alone, strict=True):
            assert a.positions == pytest.approx(b.positions, abs=1e-9)
            assert b.positions == pytest.approx(c.positions, abs=1e-9)
            assert a.info.get("pressure") == pytest.approx(b.info.get("pressure"), rel=1e-9)


def test_forces_and_virial_are_derivatives_of_the_energy(tmp_path: Path) -> None:
    """By finite differences, also of the strain; and `energy_at` leaves no trace."""
    bias, atoms = bias_of(tmp_path, SPRING + "UPPER_WALLS ARG=e AT=0.5 KAPPA=4\n")
    places, cell = atoms.positions + 0.05, atoms.cell.array
    found = bias.apply(0, places, cell)
    small = 1e-5
    for atom, axis in [(0, 0), (1, 0), (2, 1)]:
        ends = []
        for sign in (1, -1):
            moved = places.copy()
            moved[atom, axis] += sign * small
            ends.append(bias.energy_at(moved, cell))
        assert found.forces[atom, axis] == pytest.approx(-(ends[0] - ends[1]) / (2 * small), abs=1e-7)
    for row, column in [(0, 0), (1, 1), (0, 1)]:
        ends = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[row, column] += sign * small
            ends.append(bias.energy_at(places @ strain, cell @ strain))
        assert found.virial[row, column] == pytest.approx((ends[0] - ends[1]) / (2 * small), abs=1e-7)
    assert bias.apply(0, places, cell) is found
    bias.close()


@pytest.mark.parametrize("engine", systems.ENGINES)
@pytest.mark.parametrize("kind", REMEMBERED)
def test_what_remembers_goes_on_from_a_checkpoint(tmp_path: Path, kind: str, engine: str) -> None:
    """In blocks that end anywhere, also where a hill is due: each hill once, the undisturbed path, and the same COLVAR.

    Other files are the same to the digits with which PLUMED reads them again.
    """
    text = REMEMBERED[kind].partition("PRINT")[0] + "PRINT ARG=* FILE=C STRIDE=3\n"
    whole, parts = systems.job(tmp_path, "whole", text), systems.job(tmp_path, "parts", text, block=7)
    paths, pieces = systems.finish(engine, whole), systems.finish(engine, parts)
    for frames, others in zip(paths, pieces, strict=True):
        for a, b in zip(frames, others, strict=True):
            assert a.positions == pytest.approx(b.positions, abs=1e-11)
    printed = [(Path(job["folder"]) / "plumed-00001" / "C").read_text().splitlines() for job in (whole, parts)]
    assert len({"\n".join(line for line in lines if line[0] != "#") for lines in printed}) == 1
    for path in (Path(whole["folder"]) / "plumed-00001").iterdir():
        if not path.name.startswith(("plumed", "psiflow", "bck")) and path.stat().st_size:
            if kind == "expanded" and path.name == "STATE.opes_expanded.4":
                continue  # its columns are texts, too
            one, other = (systems.rows(job, 1, path.name) for job in (whole, parts))
            digits = 1e-12 if kind != "fixed" else 1e-10  # EXPLORE adds up its normalisation again when it restarts
            assert one == pytest.approx(other, rel=digits, abs=digits)
    if kind == "METAD":
        times = systems.rows(parts, 1, "HILLS")[:, 0]
        assert times == pytest.approx(np.arange(5, 65, 5) * 0.5e-3)


@pytest.mark.parametrize("engine", ["ase", "torchsim"])
def test_windows_that_exchange_go_on_from_a_checkpoint(tmp_path: Path, engine: str) -> None:
    """In blocks that end where walkers exchange, and between: the undisturbed path."""
    paths = []
    for block in (60, 7, 5):
        job = systems.job(
            tmp_path, f"in {block}", "RESTRAINT ARG=d AT=@AT@ KAPPA=6\n", 3, block=block, exchange=5, every=5
        )
        for walker, at in zip(job["walkers"], (0.9, 0.95, 1.0), strict=True):
            walker["window"] = {"AT": at}
        paths.append(systems.finish(engine, job))
    assert {frame.info["AT"] for frame in paths[0][0]} > {0.9}, "nothing was exchanged"
    for others in paths[1:]:
        for frames, pieces in zip(paths[0], others, strict=True):
            for a, b in zip(frames, pieces, strict=True):
                assert a.info["AT"] == b.info["AT"]
                assert a.positions == pytest.approx(b.positions, abs=1e-11)
                assert a.info["bias_energy"] == pytest.approx(
                    3.0 * (a.get_distance(0, 1) - a.info["AT"]) ** 2, abs=1e-9
                )


def test_a_ratchet_keeps_how_far_it_has_come(tmp_path: Path) -> None:
    """PLUMED's ABMD keeps the last force where it comes nearer: not the same path, but the same ratchet."""
    job = systems.job(
        tmp_path, "ratchet", "a: ABMD ARG=d TO=1.5 KAPPA=50\nPRINT ARG=a.d_min FILE=M FMT=%.12f\n", block=7
    )
    systems.finish("torchsim", job)
    minima = systems.rows(job, 0, "M")[:, 1]
    assert (np.diff(minima) <= 1e-11).all()
    assert minima[-1] < 0.8 * minima[0]


def test_the_energy_as_a_collective_variable(tmp_path: Path) -> None:
    """A bias of k/2 (E - E0)² multiplies the model's forces by 1 + k (E - E0)."""
    bias, atoms = bias_of(tmp_path, "u: ENERGY\nRESTRAINT ARG=u AT=0.5 KAPPA=2\n")
    forces = np.arange(9.0).reshape(3, 3)
    found = bias.apply(0, atoms.positions, atoms.cell.array, BiasForces(0.8, forces, np.eye(3)))
    assert found.energy == pytest.approx(0.3**2)
    assert found.forces == pytest.approx(0.6 * forces, abs=1e-12)
    bias.close()
    job = systems.job(tmp_path, "energy", "u: ENERGY\nRESTRAINT ARG=u AT=0.1 KAPPA=2\n", ensemble="npt")
    assert systems.finish("ase", job)[0][-1].positions == pytest.approx(
        systems.finish("torchsim", {**job, "folder": str(tmp_path / "batch")})[0][-1].positions, abs=1e-9
    )
    with pytest.raises(Fatal, match="ENERGY cannot be used with this engine"):
        systems.finish("ipi", {**job, "folder": str(tmp_path / "ipi")})


def test_named_values_are_there_where_a_frame_is_recorded(tmp_path: Path) -> None:
    bias, atoms = bias_of(tmp_path, "c: COM ATOMS=1,2\nf: DISTANCE ATOMS=c,3 COMPONENTS\n" + SPRING, every=2)
    for step in range(3):
        bias.apply(step, atoms.positions + np.outer([1, 0, 0], [0.1 * step, 0, 0]), atoms.cell.array)
        bias.update()
    values = bias.values()
    assert sorted(values) == ["d", "e", "f.x", "f.y", "f.z"]
    assert values["d"] == pytest.approx(0.76, rel=1e-14)
    bias.close()


def test_a_slab_has_no_images_across_the_vacuum(tmp_path: Path) -> None:
    """Along what is periodic the nearest image counts; across the vacuum atoms may be as far as they are."""
    start = {
        **{"id": "0" * 16, "symbols": ["O", "H", "H"], "positions": [[0, 0, 0], [8, 0, 8], [0, 0, 1]]},
        **{"cell": [[9.0, 0, 0], [0, 9.0, 0], [0, 0, 9.0]], "pbc": [True, True, False]},
    }
    job: Any = systems.job(tmp_path, "slab", SPRING)
    job["walkers"][0]["start"] = start
    Path(job["folder"]).mkdir(parents=True)
    atoms = start_atoms(job["walkers"][0]["start"])
    bias = Bias(job, job["walkers"][0], atoms, None)
    bias.apply(0, atoms.positions, atoms.cell.array)
    bias.update()
    assert bias.values()["d"] == pytest.approx(np.hypot(1.0, 8.0))
    bias.close()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("EXTENDED_LAGRANGIAN ARG=d KAPPA=1 TAU=1", "EXTENDED_LAGRANGIAN depends on"),
        ("INCLUDE FILE=more.dat", "EXTENDED_LAGRANGIAN depends on"),
        ("RESTRAINT ARG=nobody AT=1 KAPPA=1", "nobody"),
    ],
)
def test_what_plumed_parses_decides(tmp_path: Path, text: str, reason: str) -> None:
    files = {"more.dat": "EXTENDED_LAGRANGIAN ARG=d KAPPA=1 TAU=1\n"}
    with pytest.raises(Fatal, match=reason):
        systems.finish("torchsim", systems.job(tmp_path, "refused", text, plumed_files=files))


def sharing(folder: Path, number: int, state: Any, **changes: Any) -> tuple[Bias, Any]:
    """A walker of three that share a METAD with a hill at every second step, each in a group of its own."""
    job: Any = systems.job(folder, f"group-{number}", HILLS.replace("PACE=5", "PACE=2"), walkers=3, **changes)
    job["shared_bias"] = {str(n): str(folder / f"group-{n}" / f"plumed-{n:05d}") for n in range(3)}
    Path(job["folder"]).mkdir(parents=True, exist_ok=True)
    atoms = start_atoms(job["walkers"][number]["start"])
    return Bias(job, job["walkers"][number], atoms, state), atoms


def move(bias: Bias, atoms: Any, first: int, last: int) -> None:
    for step in range(first, last + 1):
        bias.apply(step, atoms.positions, atoms.cell.array)
        bias.update(checkpoint=step == last)


def test_walkers_whose_hills_are_cut_back_while_others_read_them(tmp_path: Path) -> None:
    """One goes on although another has not begun; hills that are lost are read by none that begins after that."""
    bias, atoms = sharing(tmp_path, 0, None)
    move(bias, atoms, 0, 4)
    state = bias.close()
    bias, atoms = sharing(tmp_path, 0, state)  # METAD does not restart where HILLS.1 is missing
    reader, _ = sharing(tmp_path, 1, None)
    move(bias, atoms, 4, 9)
    bias.close()  # and its worker is lost: no checkpoint counts this
    move(reader, atoms, 0, 8)
    bias, atoms = sharing(tmp_path, 0, state)
    move(bias, atoms, 4, 6)
    bias, atoms = sharing(tmp_path, 0, bias.close())
    move(bias, atoms, 6, 13)
    move(reader, atoms, 9, 20)
    hills = {
        number: systems.rows({"folder": str(tmp_path / f"group-{number}")}, number, f"HILLS.{number}")
        for number in (0, 1)
    }
    assert hills[0][:, 0] == pytest.approx(np.arange(2, 14, 2) * 0.5e-3)
    assert hills[1][:, 0] == pytest.approx(np.arange(2, 22, 2) * 0.5e-3)
    reader.close()
    log = (tmp_path / "group-1" / "plumed-00001" / "plumed.log").read_text()
    assert [int(n) for n in re.findall(r"HILLS\.0: +(\d+) G", log) if int(n)] == [
        2,
        2,
    ]  # none twice, until it begins again
    last, _ = sharing(tmp_path, 2, None)
    felt = last.apply(0, atoms.positions, atoms.cell.array).energy
    assert felt == pytest.approx(0.8 * sum(hills[0][:, 3]) + 0.8 * sum(hills[1][:, 3]), rel=1e-6)
    last.close()


@pytest.mark.parametrize("engine", systems.ENGINES)
@pytest.mark.parametrize("kind", ["METAD", "PBMETAD"])
def test_walkers_share_a_bias_in_every_engine(tmp_path: Path, kind: str, engine: str) -> None:
    """In two groups, one of which loses a block: each hill is there once, also for a walker that begins later."""
    jobs: list[Any] = [systems.job(tmp_path, f"group-{n}", REMEMBERED[kind], 5, steps=30, block=7) for n in range(3)]
    for job, members in zip(jobs, (slice(0, 2), slice(2, 4), slice(4, 5)), strict=True):
        job["walkers"] = job["walkers"][members]
    folders = {w["walker"]: plumed_folder(Path(job["folder"]), w["walker"]) for job in jobs for w in job["walkers"]}
    for job in jobs:
        job["shared_bias"] = {str(number): str(folder) for number, folder in folders.items()}
    state = tmp_path / "group-0" / STATE
    while any(report["step"] < 30 for report in [advance(engine, job) for job in jobs[:2]]):
        if state.read_bytes().count(b'"step":14') and not (tmp_path / "kept").exists():
            (tmp_path / "kept").write_bytes(state.read_bytes())
            advance(engine, jobs[0])
            state.write_bytes((tmp_path / "kept").read_bytes())  # as if the worker had been lost before
    names = ("HILLS",) if kind == "METAD" else ("A", "B")
    for number in range(4):
        for name in names:
            times = np.loadtxt(folders[number] / f"{name}.{number}")[:, 0]
            assert times == pytest.approx(np.arange(5, 35, 5) * 0.5e-3)
    atoms = start_atoms(jobs[2]["walkers"][0]["start"])
    reader = Bias(jobs[2], jobs[2]["walkers"][0], atoms, None)
    reader.apply(0, atoms.positions, atoms.cell.array)
    log = (folders[4] / "plumed.log").read_text()
    assert sorted(map(int, re.findall(r"Restarting from .*: +(\d+) G", log))) == [0] * len(names) + [6] * 4 * len(names)
    reader.close()


def advance(engine: str, job: Any) -> Any:
    """The report of the walker that is furthest behind after a block."""
    return min(systems.ENGINES[engine].advance(job, systems.CONTEXT)["walkers"], key=lambda each: each["step"])  # type: ignore[arg-type]
