"""Every model family through all that one does with a model, on 3BPA or on water, with errors and times:

    python benchmarks/families.py [FAMILY ...] [--data 3bpa|water] [--epochs N] [--site FILE]

Train, kill and go on, the trainer's own command with the same configuration, evaluate, sample, a committee,
fine-tuning, compile, export. The site file says in which environment each family's workers run.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import water

DATA = Path(__file__).parents[2] / "shared" / "data"
SETS = {
    "3bpa": ("3bpa-train-300K.xyz", (60, 20, 20), ["3bpa-isolated-atoms.xyz"], [], 100),
    "water": ("water-192-dft.xyz", (12, 4, 4), [], ["--e0s", "average"], 20),
}
"""File, frames to train on, validate with and test with, more files, more options, steps of each walker."""
EPOCHS_KEY = {"mace": "max_num_epochs", "nequip": "max_epochs", "allegro": "max_epochs"}
SMALL: dict[str, list[str]] = {
    "mace": ["num_channels=16", "batch_size=5"],
    "nequip": ["batch_size=5", "num_features=16", "num_layers=2"],
    "allegro": ["batch_size=5", "num_scalar_features=32", "num_tensor_features=8"],
}
_COMPILED = {"nequip": "x.nequip.zip", "ase": "x-ase", "lammps": "l.nequip.pt2", "torchsim": "t.nequip.pt2"}
EXPORTS = {
    "mace": {"mace": "x.model", "ase": "x-ase", "lammps": "x-lammps.pt", "torchsim": "t.model"},
    "nequip": _COMPILED,
    "allegro": _COMPILED,
}
ROWS: list[tuple[str, str, str, str]] = []


def main() -> None:
    """Print a table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", default=list(SMALL))
    parser.add_argument("--data", choices=SETS, default="3bpa")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--site", default="local")
    given = parser.parse_args()
    if not DATA.is_dir():
        sys.exit("no data sets in ../shared/data")
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    site = str(Path(given.site).absolute()) if Path(given.site).is_file() else given.site
    for family in given.families or SMALL:
        with tempfile.TemporaryDirectory() as name:
            Family(family, Path(name), given.data, given.epochs, site).go_through()
    print("\n| family | what | seconds | result |\n|---|---|---|---|")
    for row in ROWS:
        print("| " + " | ".join(row) + " |")


class Family:
    """One family, in a folder of its own."""

    def __init__(self, family: str, folder: Path, data: str, epochs: int, site: str) -> None:
        self.family, self.folder, self.epochs = family, folder, epochs
        self.site = ["--site", site]
        file, counts, more, self.options, self.steps = SETS[data]
        for part, text in zip(("train", "valid", "test"), _frames(DATA / file, counts), strict=True):
            (folder / f"{part}.xyz").write_text(text)
        self.frames = ["train.xyz", *(str(DATA / name) for name in more)]

    def go_through(self) -> None:
        """One command after the other."""
        took, _ = self.run("train", self.training("m.model"))
        self.row("train", took, f"{self.epochs} epochs: {self.errors('m.model')}")
        self.row("kill -9 and again", self.killed("k.model"), self.errors("k.model") + self.same("m.model", "k.model"))
        self.row("the trainer's own command", *self.by_hand())
        took, text = self.run("evaluate", ["evaluate", "test.xyz", "--model", "m.model", "-o", "e.xyz"])
        self.row("evaluate", took, _table(text))
        self.sample()
        took, _ = self.run("committee", self.training("c.model", "--members", "2"))
        self.row("committee of 2", took, self.errors("c.model"))
        _, text = self.run("evaluate", ["evaluate", "test.xyz", "--model", "c.model", "-o", "ce.xyz"])
        self.row("evaluate with it", 0.0, _table(text))
        took, _ = self.run("fine-tune", self.training("f.model", "--init", "m.model"))
        self.row("fine-tune", took, self.errors("f.model"))
        took, text = self.run("compile", ["model", "compile", "m.model"], accept=(0, 2, 65, 69, 78))
        self.row("compile", took, text.strip().splitlines()[-1][:90] if text.strip() else "done")
        for target, output in EXPORTS[self.family].items():
            took, _ = self.run("export", ["model", "export", "m.model", "--to", target, "-o", output])
            self.row(f"export --to {target}", took, output)

    def sample(self) -> None:
        """Four walkers from each test frame; a model trained for so short may let some of them explode."""
        md = ["--temperature", "300", "--steps", str(self.steps), "--every", "10", "--walkers", "4", "--json"]
        took, text = self.run("sample", ["sample", "test.xyz", "--model", "m.model", *md, "-o", "t.xyz"], accept=(0, 1))
        said = json.loads(text[text.index('{"command"') :].splitlines()[0])
        how = f"{said['total']} walkers of {self.steps} steps ({said['engine']}, {said['batch']} together)"
        self.row("sample", took, f"{how}: {said['total'] * self.steps / took:.0f} steps/s, {said['failed']} stopped")

    def training(self, output: str, *more: str) -> list[str]:
        """The arguments of a training."""
        settings = [*SMALL[self.family], f"{EPOCHS_KEY[self.family]}={self.epochs}"]
        given = [word for setting in settings for word in ("--set", setting)] if "--init" not in more else []
        if not given:
            given = ["--set", f"{EPOCHS_KEY[self.family]}={self.epochs}"]
        data = [*self.frames, "--valid", "valid.xyz", *self.options, "--arch", self.family]
        return ["train", *data, *given, *more, "-o", output]

    def run(self, what: str, arguments: list[str], accept: tuple[int, ...] = (0,)) -> tuple[float, str]:
        """Seconds, and what it printed."""
        where = [] if arguments[1:2] == ["show"] else self.site
        start = time.perf_counter()
        done = subprocess.run([water.PSIFLOW, *arguments, *where], cwd=self.folder, capture_output=True, text=True)
        if done.returncode not in accept:
            sys.exit(f"{self.family}: {what} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return time.perf_counter() - start, done.stdout + done.stderr

    def killed(self, output: str) -> float:
        """Seconds of a training that is killed with all its processes when it is under way, and of its second half."""
        start = time.perf_counter()
        command = [water.PSIFLOW, *self.training(output), *self.site]
        process = subprocess.Popen(command, cwd=self.folder, stderr=subprocess.DEVNULL, start_new_session=True)
        while process.poll() is None and self.journalled(output) < max(2, self.epochs // 2):
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(2)  # its children notice
        self.run("again", self.training(output))
        return time.perf_counter() - start

    def journalled(self, output: str) -> int:
        """How many epochs the run knows of."""
        journal = self.folder / f"{output}.run" / "journal.jsonl"
        return journal.read_text().count('"unit"') if journal.is_file() else 0

    def by_hand(self) -> tuple[float, str]:
        """What psiflow gave to the trainer, given to the trainer's own command."""
        (work,) = self.folder.glob("m.model.run/work/*/member-0")
        alone = self.folder / "alone"
        alone.mkdir()
        for path in work.iterdir():
            if path.suffix in (".xyz", ".yaml"):
                shutil.copy(path, alone)
        start = time.perf_counter()
        if self.family == "mace":
            command = [str(Path(self.python()).with_name("mace_run_train")), "--config", "mace.yaml"]
        else:
            log = "trainer.logger={_target_:lightning.pytorch.loggers.CSVLogger,save_dir:csv}"
            command = [str(Path(self.python()).with_name("nequip-train")), "-cn", "nequip", "hydra.run.dir=hydra", log]
        with (alone / "log").open("w") as log:
            done = subprocess.run(command, cwd=alone, stdout=log, stderr=log, check=False)
        took = time.perf_counter() - start
        if done.returncode:
            sys.exit((alone / "log").read_text()[-2000:])
        return took, f"validation loss {self.trainers_loss(alone)} against {self.losses('m.model')[-1]:.8g}"

    def python(self) -> str:
        """The Python of the family's workers."""
        run = json.loads((self.folder / "m.model.run" / "run.json").read_text())
        return str(run["site"]["python"])

    def trainers_loss(self, alone: Path) -> str:
        """Of the last epoch, from the trainer's own files."""
        for path in alone.glob("results/*_train.txt"):
            epochs = [json.loads(line) for line in path.read_text().splitlines()]
            return f"{[e['loss'] for e in epochs if e.get('mode') == 'eval' and e.get('epoch') is not None][-1]:.8g}"
        (table,) = alone.glob("csv/**/metrics.csv")
        with table.open() as stream:
            losses = [row["val0_epoch/weighted_sum"] for row in csv.DictReader(stream)]
        return f"{float([loss for loss in losses if loss][-1]):.8g}"

    def losses(self, model: str) -> list[float]:
        """The validation loss of every epoch of the first member."""
        metrics = json.loads((self.folder / model / "metrics.json").read_text())
        return [epoch["valid_loss"] for epoch in metrics["curves"][0]]

    def same(self, one: str, other: str) -> str:
        """Whether two trainings have the same loss curve."""
        return ", the same loss curve" if self.losses(one) == self.losses(other) else ", ANOTHER loss curve"

    def errors(self, model: str) -> str:
        """Validation errors of the delivered weights."""
        found: dict[str, Any] = json.loads((self.folder / model / "metrics.json").read_text())["metrics"]
        said = [
            f"{m.get('rmse_e_meV_per_atom', float('nan')):.1f} meV/atom, {m['rmse_f_meV_per_A']:.0f} meV/Å"
            for m in found.values()
        ]
        return "; ".join(said)

    def row(self, what: str, took: float, result: str) -> None:
        """Print it, and keep it."""
        ROWS.append((self.family, what, f"{took:.1f}" if took else "", result))
        print(*ROWS[-1], sep=" | ", flush=True)


def _frames(path: Path, counts: tuple[int, ...]) -> list[str]:
    """The first frames of a file whose frames are all of one size, in parts."""
    lines = path.read_text().splitlines(keepends=True)
    size, at, parts = int(lines[0]) + 2, 0, []
    for count in counts:
        parts.append("".join(lines[at * size : (at + count) * size]))
        at += count
    return parts


def _table(text: str) -> str:
    """The overall errors in the table that `evaluate` prints."""
    wanted = [line.split() for line in text.splitlines() if line.startswith(("energy", "forces", "stress"))]
    return ", ".join(f"{words[0]} RMSE {words[1]} {words[-1]}" for words in wanted)


if __name__ == "__main__":
    main()
