"""Free energies against what is known exactly, against pymbar's own profiles, and against PLUMED's sum_hills."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
from pathlib import Path

import pytest

np = pytest.importorskip("numpy", reason="needs NumPy")

from psiflow_cli.worker.failures import Fatal  # noqa: E402
from psiflow_cli.worker.free_energy import grid, reweighting, windows  # noqa: E402
from psiflow_cli.worker.free_energy.compute import compute  # noqa: E402
from psiflow_cli.worker.free_energy.hills import Hills, projected  # noqa: E402

KT = 0.025852
AXIS = {"name": "s", "low": None, "high": None, "bins": 10, "period": None}


def umbrella(seed, count=300, k0=0.5, kappa=2.0):
    """Independent samples of harmonic windows in a harmonic well, and the exact probabilities of 10 bins."""
    rng = np.random.default_rng(seed)
    centres = np.linspace(-0.6, 0.6, 7)
    width = math.sqrt(KT / (k0 + kappa))
    s = np.concatenate([rng.normal(kappa * at / (k0 + kappa), width, count) for at in centres])
    reduced = np.array([0.5 * kappa * (s - at) ** 2 / KT for at in centres])
    edges = np.linspace(-0.5, 0.5, 11)
    cumulative = np.array([0.5 * math.erf(edge / math.sqrt(2 * KT / k0)) for edge in edges])
    return s, reduced, np.full(7, count), edges, -KT * np.log(np.diff(cumulative))


def solved(seed):
    from psiflow_cli.worker.free_energy import mbar

    s, reduced, counts, edges, exact = umbrella(seed)
    groups = grid.Grid(["s"], [edges], [None]).bins(s[:, None])
    solution = mbar.solve(reduced, counts, np.zeros(len(s)))
    p = solution.probabilities(groups, 10)
    return solution, groups, grid.above_lowest(p, KT), KT * solution.errors(groups, 10, 4), exact


def test_mbar_of_exact_windows():
    pymbar = pytest.importorskip("pymbar", reason="needs pymbar, the extra free-energy")
    solution, groups, free, errors, exact = solved(1)
    score = (free - free[4] - (exact - exact[4])) / np.where(errors, errors, 1)
    assert np.abs(score).max() < 4
    assert 0 < errors.max() < 0.01
    s, reduced, counts, edges, _ = umbrella(1)
    assert np.allclose(solution.overlap(), pymbar.MBAR(reduced, counts).compute_overlap()["matrix"], atol=1e-6)
    own = pymbar.FES(reduced, counts)
    inside = groups >= 0
    weighed = {"histogram_parameters": {"bin_edges": [edges]}}
    own.generate_fes(np.zeros(len(s)), s, fes_type="histogram", **weighed)
    middle = 0.5 * (edges[1:] + edges[:-1])
    theirs = own.get_fes(middle, reference_point="from-specified", fes_reference=middle[4],
                         uncertainty_method="analytical")  # fmt: skip
    assert inside.sum() < len(s)
    assert np.allclose(KT * theirs["f_i"], free - free[4], atol=1e-6)
    assert np.allclose(KT * theirs["df_i"], errors, rtol=1e-3, atol=1e-9)


@pytest.mark.full
def test_errors_of_mbar_are_calibrated():
    pytest.importorskip("pymbar", reason="needs pymbar, the extra free-energy")
    scores = []
    for seed in range(50):
        _, _, free, errors, exact = solved(seed)
        scores.append(np.delete((free - free[4] - (exact - exact[4])) / np.where(errors, errors, 1), 4))
    assert 0.85 < np.std(scores) < 1.15
    assert abs(np.mean(scores)) < 0.2


def biased_double_well(seed, count=20_000):
    """Samples of a double well under a bias that takes off most of its barrier, and the exact difference of wells."""
    s = np.linspace(-2, 2, 4001)
    free = 8 * KT * ((s**2 - 1) ** 2 + 0.1 * s)
    bias = -0.8 * free
    p = np.exp(-(free + bias) / KT)
    drawn = np.random.default_rng(seed).choice(len(s), count, p=p / p.sum())
    weights = np.exp(-free / KT)
    return s[drawn], bias[drawn], -KT * math.log(weights[s > 0].sum() / weights[s < 0].sum())


def test_reweighting_of_a_double_well():
    scores = []
    for seed in range(20):
        s, bias, exact = biased_double_well(seed)
        estimate = reweighting.weigh(bias, KT, [5000, 15000], 20)
        assert estimate.block_of.max() == 19
        groups = np.where(s < 0, 0, 1)
        p = estimate.probabilities(groups, 2)
        scores.append((-KT * math.log(p[1] / p[0]) - exact) / (KT * estimate.errors(groups, 2, 0)[1]))
    assert 0.6 < np.std(scores) < 1.5
    assert abs(np.mean(scores)) < 0.7


def test_a_bin_of_one_block_has_no_error():
    estimate = reweighting.weigh(np.zeros(100), KT, [100], 20)
    errors = estimate.errors(np.array([0] * 97 + [1] * 3), 2, 0)
    assert np.isnan(errors[1])


def test_periodic_cvs_wrap():
    space = grid.of_samples([{**AXIS, "period": [-math.pi, math.pi]}], np.array([[3.2], [-3.0], [0.0]]))
    assert list(space.bins(np.array([[3.2], [3.2 - 2 * math.pi], [math.pi], [-math.pi]]))) == [0, 0, 0, 0]
    basin = {"name": "A", "ranges": [[2.5, -2.5]]}
    inside = grid.in_basin(basin, np.array([[3.0], [-3.0], [0.0]]), [[-math.pi, math.pi]])
    assert list(inside) == [True, True, False]


def test_a_restraint_follows_from_its_bias():
    period = [-math.pi, math.pi]
    axis = {**AXIS, "period": period}
    s = np.random.default_rng(0).normal(3.1, 0.2, 200)
    s = np.where(s > math.pi, s - 2 * math.pi, s)  # around the end of the period
    state = {"name": "w", "kT": KT, "at": [3.1], "kappa": [2.5]}
    bias = windows.harmonic(state, s[:, None], [axis])
    fitted = windows.fit({"name": "w", "kT": KT}, s[:, None], np.round(bias, 6), [axis])
    assert fitted["kappa"] == pytest.approx([2.5], rel=1e-3)
    assert np.mod(fitted["at"][0], 2 * math.pi) == pytest.approx(3.1, abs=1e-3)
    windows.check(state, s[:, None], bias, [axis])
    with pytest.raises(Exception, match="was recorded"):
        windows.check({**state, "at": [2.9]}, s[:, None], bias, [axis])
    with pytest.raises(Exception, match="not one harmonic restraint"):
        windows.fit(state, s[:, None], bias**2, [axis])


def hills(path, rows, cvs=("s",), periods=(None,), multivariate=False, factor=1.0):
    np.array(rows, dtype=float).tofile(path)
    return {"source": str(path), "counts": [len(rows)], "cvs": list(cvs), "periods": list(periods),
            "multivariate": multivariate, "kernel": "stretched-gaussian", "bias_factor": factor}  # fmt: skip


def test_two_hills_by_hand(tmp_path):
    """One around the end of a period; PLUMED's Gaussian ends at (s/sigma)²/2 = 6.25."""
    file = hills(tmp_path / "h", [[0, 0.0, 0.3, 1.0], [1, 3.0, 0.4, 0.5]], periods=[[-math.pi, math.pi]])
    summed = Hills(file, [{**AXIS, "bins": 200, "period": [-math.pi, math.pi]}])
    total = np.zeros(summed.shape)
    summed.add(total, 0, 2)

    def gaussian(x, height, sigma):
        cut = math.exp(-6.25)
        x = (x + math.pi) % (2 * math.pi) - math.pi
        half = 0.5 * (x / sigma) ** 2
        return height * (math.exp(-half) - cut) / (1 - cut) if half < 6.25 else 0.0

    exact = [gaussian(s, 1.0, 0.3) + gaussian(s - 3.0, 0.5, 0.4) for s in summed.points[0]]
    assert np.allclose(total, exact, atol=1e-12)
    assert len(exact) == 200


def test_correlated_hills(tmp_path):
    factor = np.array([[0.3, 0.0], [0.1, 0.2]])
    file = hills(tmp_path / "h", [[0, 0.1, -0.2, 0.3, 0.2, 0.1, 1.0]], ("s", "t"), (None, None), True)
    summed = Hills(file, [{**AXIS, "low": -1, "high": 1, "bins": 20}] * 2)
    total = np.zeros(summed.shape)
    summed.add(total, 0, 1)
    inverse = np.linalg.inv(factor @ factor.T)
    away = np.stack(np.meshgrid(summed.points[0] - 0.1, summed.points[1] + 0.2, indexing="ij"), axis=-1)
    half = 0.5 * np.einsum("...i,ij,...j", away, inverse, away)
    cut = math.exp(-6.25)
    assert np.allclose(total, np.where(half < 6.25, (np.exp(-half) - cut) / (1 - cut), 0))


@pytest.mark.parametrize("multivariate", [False, True])
@pytest.mark.parametrize("factor", [1.0, 4.0])
def test_a_recorded_bias_is_compared_with_the_hills_before(tmp_path, multivariate, factor):
    """The sum on the grid, which has its own tests, is what the samples have felt; at other times they have not."""
    widths = [0.3, 0.2, 0.1] if multivariate else [0.3, 0.2]
    rows = [[time, 3.0 - 0.2 * time, 0.1 * time, *widths, 0.3] for time in range(1, 11)]
    file = hills(tmp_path / "h", rows, ("s", "t"), ([-math.pi, math.pi], None), multivariate, factor)
    file |= {"is_recorded": True, "is_shared": False, "names": "HILLS"}
    summed = Hills(file, [{**AXIS, "bins": 40, "period": period} for period in file["periods"]])
    total, places = np.zeros(summed.shape), (35, 25)
    s, t = (points[place] for points, place in zip(summed.points, places, strict=True))
    bias = [0.0]
    for number in range(10):
        summed.add(total, number, number + 1)
        bias.append(total[places] * (1 if factor == 1 else 1 - 1 / factor))
    assert max(bias) > 2 * KT
    columns = {"s": np.full(11, s), "t": np.full(11, t), "time": np.arange(11) + 0.5, "bias": np.array(bias)}
    samples = [{"name": "COLVAR", "state": 0, "count": 11}]
    summed.compare(samples, columns, KT)
    summed.compare(samples, columns, 1e-9)  # kT is the tolerance: they are the same numbers
    with pytest.raises(Fatal, match="COLVAR: the recorded bias differs by"):
        summed.compare(samples, {**columns, "time": columns["time"] + 100}, 0.1 * KT)
    file["is_shared"] = True
    with pytest.raises(Fatal) as caught:
        summed.compare(samples, {**columns, "time": columns["time"] + 100}, 0.1 * KT)
    assert caught.value.hint.startswith("walkers of --share-bias do not record when they felt")
    assert np.allclose(projected(-total, ["s", "t"], ["t"], KT), -KT * np.log(np.exp(total / KT).sum(axis=0)))
    assert projected(total, ["s", "t"], ["t", "s"], KT)[3, 5] == total[5, 3]


def metadynamics(seed, walkers, count=400, factor=8.0, height=0.01, sigma=0.15):
    """HILLS of walkers with a bias each, by samples drawn from the biased double well itself; [walkers, rows]."""
    s, rng = np.linspace(-2, 2, 101), np.random.default_rng(seed)
    free, bias, rows = 0.15 * (s**2 - 1) ** 2, np.zeros((walkers, 101)), np.zeros((walkers, count, 5))
    for time in range(count):
        p = np.exp(-(free + bias) / KT).cumsum(axis=1)
        place = (p < rng.random((walkers, 1)) * p[:, -1:]).sum(axis=1)
        heights = height * np.exp(-bias[np.arange(walkers), place] / (KT * (factor - 1)))
        bias += heights[:, None] * np.exp(-0.5 * ((s - s[place, None]) / sigma) ** 2)
        rows[:, time] = np.stack([np.full(walkers, time), s[place], np.full(walkers, sigma), heights, heights], axis=1)
    rows[:, :, 3] *= factor / (factor - 1)  # as PLUMED writes them
    return rows[:, :, :4]


def of_hills(file, basins=()):
    axis = {"name": "s", "low": -2, "high": 2, "bins": 40, "period": None}
    return compute({
        "by": "hills", "axes": [axis], "basins": list(basins), "kT": KT, "pressure": 0.0, "convergence": False,
        "blocks": 20, "discard": {"kind": "share", "value": 0.0}, "hills": file,
    })  # fmt: skip


@pytest.mark.parametrize("walkers", [1, 4])
def test_the_error_of_a_sum_of_hills(tmp_path, walkers):
    """Of one bias, or of the mean of several: the exact difference is within it as often as it should be."""
    wells = [{"name": "A", "ranges": [[-2, 0]]}, {"name": "B", "ranges": [[0, 2]]}]
    scores, errors, count = [], [], 400
    for rows in metadynamics(0, 24, count).reshape(-1, count * walkers, 4):
        file = {**hills(tmp_path / "h", rows, factor=8.0), "counts": [count] * walkers}
        result = of_hills(file, wells)
        barrier = result["free_energies"][20] - result["free_energies"][10]
        basin = result["basins"][1]
        scores.append((basin["free_energy"] / basin["error"], (barrier - 0.15) / result["errors"][20]))
        errors.append(basin["error"])
    assert (np.std(scores, axis=0) > 0.4).all()
    assert (np.std(scores, axis=0) < 1.3).all()
    assert np.mean(errors) < 0.02 / walkers**0.5
    few = {**hills(tmp_path / "h", rows[:30], factor=8.0)}
    assert of_hills(few)["errors"] == [None] * 41


def test_the_constant_of_well_tempered_metadynamics(tmp_path):
    """c(t) is 0 before the first hill; for a bias that is flat, it is that bias."""
    rows = [[t, c, 0.5, 0.01] for t in range(3) for c in np.arange(-6, 6.1, 0.25)]
    axis = {**AXIS, "low": -3, "high": 3, "bins": 60}
    constants = Hills(hills(tmp_path / "h", rows, factor=5.0), [axis]).constants(np.array([0.0, 1.0, 5.0]), KT)
    summed = Hills(hills(tmp_path / "h", rows, factor=5.0), [axis])
    total = np.zeros(summed.shape)
    summed.add(total, 0, len(rows))
    assert constants[0] == 0
    assert constants[2] == pytest.approx(0.8 * total.mean(), rel=1e-3)
    assert constants[1] == pytest.approx(constants[2] / 3, rel=1e-2)


def test_weak_links_name_the_gap():
    from psiflow_cli.worker.free_energy import mbar

    overlap = np.eye(4) * 0.5
    overlap[0, 2] = overlap[2, 0] = 0.3
    overlap[1, 3] = overlap[3, 1] = 0.2
    overlap[0, 1] = overlap[1, 0] = 0.01
    assert mbar.weak_links(overlap, list("abcd")) == [{"first": "a", "second": "b", "overlap": 0.01}]


def plumed(folder, *words):
    kernel = Path(os.environ["PLUMED_KERNEL"])
    env = {**os.environ, "LD_LIBRARY_PATH": str(kernel.parent)}
    program = kernel.parent.parent / "bin" / "plumed"
    subprocess.run([program, *map(str, words)], cwd=folder, env=env, check=True, capture_output=True)


@pytest.mark.skipif("PLUMED_KERNEL" not in os.environ, reason="needs PLUMED's program: no PLUMED_KERNEL is set")
@pytest.mark.parametrize("multivariate", [False, True])
def test_sums_equal_those_of_plumed(tmp_path, multivariate):
    """Of correlated hills the bias of METAD without a grid; on its grids, PLUMED leaves out ends of their ellipses."""
    rng, bins = np.random.default_rng(0), (50, 60)
    widths = ("0.35", "0.3", "0.2") if multivariate else ("0.35", "0.3")
    rows = [[t, *rng.uniform(-3.1, 3.1, 2), *map(float, widths), rng.random()] for t in range(40)]
    names = "sigma_phi_phi sigma_psi_psi sigma_psi_phi" if multivariate else "sigma_phi sigma_psi"
    head = f"#! FIELDS time phi psi {names} height biasf\n#! SET multivariate {str(multivariate).lower()}\n"
    head += "#! SET kerneltype stretched-gaussian\n"
    head += "".join(f"#! SET min_{cv} -pi\n#! SET max_{cv} pi\n" for cv in ("phi", "psi"))
    (tmp_path / "HILLS").write_text(head + "".join(" ".join(map(str, [*row, 8])) + "\n" for row in rows))
    periods = [[-math.pi, math.pi]] * 2
    file = hills(tmp_path / "h", rows, ("phi", "psi"), periods, multivariate, factor=8.0)
    summed = Hills(file, [{**AXIS, "bins": count, "period": periods[0]} for count in bins])
    total = np.zeros(summed.shape)
    summed.add(total, 0, len(rows))
    plumed(tmp_path, "sum_hills", "--hills", "HILLS", "--bin", ",".join(map(str, bins)))
    theirs = -np.loadtxt(tmp_path / "fes.dat")[:, 2].reshape(bins[::-1]).T
    if not multivariate:
        assert np.allclose(total, theirs, atol=1e-8)
        return
    factor = np.array([[0.35, 0.0], [0.2, 0.3]])
    sizes, axes = np.linalg.eigh(factor @ factor.T)
    steps = np.ceil(np.sqrt(12.5 * sizes[-1]) * np.abs(axes[:, -1]) / (2 * math.pi / np.array(bins)))
    cut = np.zeros(summed.shape)  # as if each hill ended where PLUMED's grid does: with its longest axis
    for number, row in enumerate(rows):
        alone = np.zeros(summed.shape)
        summed.add(alone, number, number + 1)
        for axis, count in enumerate(bins):
            place = math.floor((row[1 + axis] + math.pi) / (2 * math.pi / count))
            far = np.abs((np.arange(count) - place + count // 2) % count - count // 2) > steps[axis]
            np.moveaxis(alone, axis, 0)[far] = 0.0
        cut += alone
    assert np.allclose(cut, theirs, atol=1e-8)
    assert np.abs(total - theirs).max() > 1e-3
    points = "".join(f"{n} {x} {y}\n" for n, (x, y) in enumerate(itertools.product(*summed.points)))
    (tmp_path / "points").write_text(f"#! FIELDS time phi psi\n{head[head.index('#! SET min') :]}{points}")
    (tmp_path / "metad.dat").write_text("""RESTART
phi: READ FILE=points VALUES=phi IGNORE_FORCES
psi: READ FILE=points VALUES=psi IGNORE_FORCES
m: METAD ARG=phi,psi ADAPTIVE=DIFF SIGMA=10 HEIGHT=1 PACE=1000000 BIASFACTOR=8 TEMP=300 FILE=HILLS
PRINT ARG=m.bias FILE=BIAS FMT=%.9f
""")
    plumed(tmp_path, "driver", "--noatoms", "--plumed", "metad.dat")
    bias = np.loadtxt(tmp_path / "BIAS")[:, 1].reshape(bins) * 8 / 7  # HILLS has heights of minus the free energy
    assert np.allclose(bias, total, atol=1e-7)
