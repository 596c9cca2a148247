"""A training as the worker sees it: prepare the folder, run the trainer, judge how it ended."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.elements import SYMBOLS
from psiflow_cli.errors import BAD_DATA, counted
from psiflow_cli.models.mace.files import CONFIG, LOG, MODELS, RESULTS
from psiflow_cli.models.mace.inference import describe, weights_file
from psiflow_cli.models.mace.labels import relabel
from psiflow_cli.models.mace.mace_internals import CAUSES
from psiflow_cli.models.mace.options import FILES, FLAGS
from psiflow_cli.models.mace.progress import progress
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import hardware
from psiflow_cli.worker.training import trainer_process
from psiflow_cli.worker.training.trainer_process import Trainer

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, TrainedMember, TrainingJob

_TRAINER = Trainer(
    module="psiflow_cli.models.mace.trainer", log=LOG, causes=CAUSES,
    leftovers=("checkpoints", RESULTS, "logs", MODELS),
    launcher=("-m", "torch.distributed.run", "--standalone", "--nproc_per_node={gpus}"),
)  # fmt: skip


def train(job: TrainingJob, context: Context) -> TrainedMember:
    """*worker*: train in `job["workdir"]`, or go on after the last finished epoch; see `Trainer.train`."""
    init = weights_file(job["init"]) if job.get("init") else None
    return _TRAINER.train(job, context, init, _prepare, delivered)


def delivered(workdir: Path, latest: bool = True) -> TrainedMember | None:
    """The best model so far of the training in this folder, which is always ready; see `protocols.Delivers`."""
    logs = [*sorted(workdir.glob("logs/*[0-9].log")), workdir / CONFIG]
    return trainer_process.delivered(workdir, progress(workdir), logs)


def _prepare(folder: Path, job: TrainingJob, context: Context) -> None:
    """Write the data and the configuration: the plan with all that depends on where and on what it runs."""
    heads: dict[str, dict[str, str]] = ast.literal_eval(job["config"].get("heads", "{}"))
    frames = {}
    for part, source in trainer_process.data(job).items():
        frames[part] = relabel(source, folder / f"{part}.xyz")
        if not frames[part]:
            raise Fatal(f"{source}: no frames besides isolated atoms", "give labelled frames", BAD_DATA)
        for number, name in enumerate(heads):
            relabel(source, folder / f"{part}-{number}.xyz", name)
            heads[name][f"{part}_file"] = f"{part}-{number}.xyz"
    config = {key: value for key, value in job["config"].items() if key not in FLAGS or value}
    gpus = hardware.gpus(context)
    batch, share = config.get("batch_size", 10), frames["train"] // max(1, gpus)
    if batch > share:
        whose = f"the share of each of {gpus} GPUs in the training set" if gpus > 1 else "the training set"
        problem = f"batch_size {batch} is larger than {whose} ({counted(share, 'frame')})"
        raise Fatal(problem, "MACE drops incomplete batches: use a smaller batch_size", BAD_DATA)
    if job.get("init"):
        start = weights_file(job["init"])
        config |= {"foundation_model": str(start), "multiheads_finetuning": False}
        if config["E0s"] == "foundation":  # MACE takes them from the first head, and fails with one element
            config["E0s"] = str(_energies(start, config.get("foundation_head")))
    config |= {key: job["files"][config[key]] for key in FILES if config.get(key) in job.get("files", {})}
    config |= {
        "name": "mace", "work_dir": ".", "model_dir": MODELS, "train_file": "train.xyz",
        "valid_file": "valid.xyz", "energy_key": "REF_energy", "forces_key": "REF_forces",
        "stress_key": "REF_stress", "seed": job["seed"], "device": hardware.device(context),
    }  # fmt: skip
    if heads:
        config["heads"] = str(heads)
    if gpus > 1:
        config |= {"distributed": True, "launcher": "torchrun"}
    # A JSON value on each line is YAML, and needs no package to write.
    (folder / CONFIG).write_text("".join(f"{key}: {json.dumps(config[key])}\n" for key in sorted(config)))


def _energies(model: Path, head: str | None) -> dict[int, float]:
    """Energies of isolated atoms (eV) by atomic number, as a model file has them."""
    facts = describe(model)
    energies = facts["head_energies"][head] if head else facts["atomic_energies"]
    return {SYMBOLS.index(symbol) + 1: energy for symbol, energy in energies.items()}
