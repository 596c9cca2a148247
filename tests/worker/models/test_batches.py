"""How many frames a model gets at once, and the graphs that threads make for a GPU."""

from __future__ import annotations

import threading
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("ase", reason="ASE is not installed")
pytest.importorskip("torch", reason="torch is not installed")

from psiflow_cli.worker.models import batches  # noqa: E402
from psiflow_cli.worker.models.batching import batch_size  # noqa: E402
from psiflow_cli.worker.models.batching.batch_size import BatchSize  # noqa: E402

GIB = 2**30
GPU: Any = {"device": "cuda", "threads": 3}
THREADS: Any = {"device": "cpu", "threads": 2}


def test_a_batch_grows_with_the_memory_that_the_last_ones_took() -> None:
    size = BatchSize("cuda")
    size.learn(4000, used=4000 * 10_000, free=100 * GIB)
    assert size.most == 8 * 4000, "what was measured with few pairs is not trusted for all memory at once"
    size.learn(32_000, used=32_000 * 100_000, free=8 * GIB)
    assert size.most == int(0.8 * 8 * GIB / 100_000)
    before = size.most
    size.learn(1000, used=1000, free=100 * GIB)
    assert size.most == before, "a smaller batch says less"
    size.learn(before, used=1, free=10**6 * GIB)
    assert size.most == min(8 * before, 1_000_000)


def test_a_batch_that_did_not_fit_halves_all_that_follow() -> None:
    size = BatchSize("cuda")
    size.learn(100_000, used=GIB, free=100 * GIB)
    size.was_too_large(400_000)
    assert size.most == 200_000
    size.learn(300_000, used=1, free=100 * GIB)
    assert size.most == 200_000, "it is remembered"


def frame(atoms: int, number: int) -> Any:
    rows = [[2.0 * index, float(number), 0.0] for index in range(atoms)]
    return {"id": str(number), "symbols": ["H"] * atoms, "positions": rows, "cell": None, "pbc": [False] * 3}


class Stub:
    """A model whose graphs have ten pairs for an atom, on a GPU of so many bytes; each pair takes one."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, memory: int, device: str = "cuda", graphs: object = None
    ) -> None:
        self.sizes: list[list[int]] = []
        self.threads: set[str] = set()
        self.released = 0
        self._memory, self._device = memory, device
        self.model = batches.Model(
            calculator=None,  # type: ignore[arg-type]
            elements=frozenset("H"),
            graph=self.graph,
            forward=self.forward,
            describe=self.forward,
            size=BatchSize(device),
            graphs=graphs,
        )
        peaks = iter([0, 0] * 1000)
        monkeypatch.setattr(batch_size, "_allocated", lambda reset: next(peaks) if reset else self._used)
        monkeypatch.setattr(batch_size, "_free", lambda: memory)
        monkeypatch.setattr(batch_size, "_release", self._release)

    def _release(self) -> None:
        self.released += 1

    def graph(self, frame: Any) -> Any:
        self.threads.add(threading.current_thread().name)
        atoms = len(frame["symbols"])
        return {"atoms": np.zeros(atoms), "edge_index": np.zeros((2, 10 * atoms))}

    def forward(self, frames: Any, graphs: Any) -> Any:
        assert [len(each["symbols"]) for each in frames] == [len(each["atoms"]) for each in graphs]
        self._used = sum(each["edge_index"].shape[1] for each in graphs)
        if self._used > self._memory:
            if self._device == "cpu":
                pytest.importorskip("torch").empty(2**50)  # more than any machine has: what PyTorch itself says of it
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.sizes.append([len(each["symbols"]) for each in frames])
        return [{"energy": float(each["id"])} for each in frames]


def test_threads_make_graphs_and_frames_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Stub(monkeypatch, memory=10**9)
    frames = [frame(1 + (7 * number) % 5, number) for number in range(1500)]
    (found,) = batches.predict(frames, [stub.model], GPU)
    assert [each["energy"] for each in found] == [float(number) for number in range(1500)]
    assert threading.current_thread().name not in stub.threads
    assert len(stub.threads) > 1
    sizes = [size for batch in stub.sizes for size in batch]
    assert sizes == sorted(sizes), "batches are even"
    assert 11 * sum(stub.sizes[0]) <= batch_size.FASTEST < 11 * (sum(stub.sizes[0]) + stub.sizes[1][0])
    assert sum(stub.sizes[0]) * 7 < sum(stub.sizes[1]) <= sum(stub.sizes[0]) * 8, "memory is there for more"
    assert len(stub.sizes) == 3


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_memory_that_runs_out_halves_a_batch_and_a_frame_that_is_too_large_fails_alone(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    stub = Stub(monkeypatch, memory=1000, device=device)
    stub.model.size.most = 2200
    frames = [frame(10, number) for number in range(20)] + [frame(101, 20)]
    (found,) = batches.predict(frames, [stub.model], {**GPU, "device": device})
    assert [each.get("energy") for each in found[:20]] == [float(number) for number in range(20)]
    assert found[20] == {
        "failure": "out-of-memory",
        "message": "a frame of 101 atoms does not fit into memory",
        "log": "",
    }
    assert stub.model.size.most <= 1100
    assert stub.released >= (device == "cuda")
    assert all(sum(batch) * 10 <= 1000 for batch in stub.sizes)


def test_an_error_that_is_not_of_memory_is_raised_and_ends_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Stub(monkeypatch, memory=10**9)

    def broken(frame: Any) -> Any:
        raise ValueError("no graph")

    object.__setattr__(stub.model, "graph", broken)
    before = threading.active_count()
    with pytest.raises(ValueError, match="no graph"):
        batches.predict([frame(2, number) for number in range(100)], [stub.model], GPU)
    assert threading.active_count() == before


@pytest.mark.parametrize(("graphs", "made"), [("shared", 6), (None, 12)])
def test_members_of_a_committee_share_graphs(monkeypatch: pytest.MonkeyPatch, graphs: object, made: int) -> None:
    count = 0
    stubs = [Stub(monkeypatch, 10**9, "cpu", graphs) for _ in range(2)]
    for stub in stubs:

        def graph(frame: Any, make: Any = stub.graph) -> Any:
            nonlocal count
            count += 1
            return make(frame)

        object.__setattr__(stub.model, "graph", graph)
    first, second = batches.predict([frame(3, n) for n in range(6)], [stub.model for stub in stubs], THREADS)
    assert first == second
    assert count == made


def test_one_thread_of_a_cpu_takes_one_frame_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Stub(monkeypatch, 10**9, "cpu")
    batches.predict([frame(3 - n, n) for n in range(3)], [stub.model], {"device": "cpu", "threads": 1})
    assert stub.sizes == [[3], [2], [1]]
