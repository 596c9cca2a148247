"""A model family that takes its time and learns nothing: for what the stage makes of trainings, whoever does them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.training import stop_request

Wire = dict[str, Any]
SUMMARY = "sleeps"
REQUIRES = ()


def plan(config: Wire, options: dict[str, str], summary: Wire) -> Wire:
    """As long as there is a file `hold`, the command does not get beyond this."""
    while Path("hold").exists():
        Path("hold").write_text("held")
        time.sleep(0.1)
    return {"epochs": int(options.get("epochs", 5)), "pause": float(options.get("pause", 0.05)),
            "die": int(options.get("die", -1)), "always": "always" in options, "ready": "ready" in options,
            "e0s": summary["e0s"], "from": "init" in summary}  # fmt: skip


def epochs(config: Wire) -> int:
    return int(config["epochs"])


def progress(workdir: Path) -> list[Wire]:
    path = Path(workdir, "epochs.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def train(job: Wire, context: Wire) -> Wire:
    """A line for each epoch; member `die` takes its worker along after its second one, once or always.

    With `ready` its model is there after every epoch, as MACE's, and else is made at the end, as NequIP's.
    """
    folder, config, start = Path(job["workdir"]), job["config"], time.time()
    (folder / "job.json").write_text(json.dumps(job))
    done = len(progress(folder))
    while done < config["epochs"] and not stop_request.is_there(folder):
        if done == 2 and config["die"] == job["seed"] and config["always"]:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(config["pause"])
        with (folder / "epochs.jsonl").open("a") as file:
            file.write(json.dumps({"epoch": done, "loss": 1.0, "valid_loss": 1.0}) + "\n")
        done += 1
        if config["ready"]:
            _make(folder)
        if done == 2 and config["die"] == job["seed"] and not config["always"]:
            os.kill(os.getpid(), signal.SIGKILL)
        if job["seconds"] is not None and time.time() - start + config["pause"] > job["seconds"]:
            break
    if not done:
        raise Fatal("stopped before the first model was written", "run it again", 75)
    _make(folder)
    return delivered(folder)  # type: ignore[return-value]


def _make(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text())
    weights = {"epochs": len(progress(folder)), "seed": job["seed"], "init": "init" in job and Path(job["init"]).name}
    weights |= {name: hashlib.sha256(Path(job[name]).read_bytes()).hexdigest() for name in ("train", "valid")}
    (folder / "weights.json").write_text(json.dumps(weights))


def delivered(workdir: Path, latest: bool = True) -> Wire | None:
    if not (workdir / "weights.json").is_file():
        return None
    config = json.loads((workdir / "job.json").read_text())["config"]
    done = json.loads((workdir / "weights.json").read_text())["epochs"]
    return {
        "weights": [str(workdir / "weights.json")], "logs": [], "metrics": {}, "trainer": "none 1", "cutoff": 1.0,
        "elements": ["H", "O"], "dtype": "float64", "atomic_energies": config["e0s"],
        "finished": done == config["epochs"],
    }  # fmt: skip


def main() -> None:
    """`psiflow train` with this family: FRAMES OUTPUT and a JSON object of more (members, seed, deadline, …)."""
    import sys

    from psiflow_cli import bundle, main
    from psiflow_cli.commands.shared import runner
    from psiflow_cli.options import Common
    from psiflow_cli.stages.core.workspace import Job
    from psiflow_cli.stages.train import initial_model, stage
    from psiflow_cli.stages.train.request import Training

    frames, output, more = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    deadline = time.time() + more["deadline"] if "deadline" in more else None
    common = Common(output, more["site"], None, False, deadline, False, False)
    init = bundle.load(more["init"]) if "init" in more else None
    of = "output" if init and initial_model.is_output(init, output) else init and init.fingerprint
    settings = {**{k: v for k, v in more.items() if k != "deadline"}, "init": of}
    try:
        job = runner.on_site(Job("train", (frames,), output, settings), common, "mace", "train")
        given: Wire = {name: more[name] for name in ("members", "seed", "bootstrap") if name in more}
        training = Training(
            __file__, sys.modules[__name__], "0.25", {"H": -1.0, "O": -2.0},  # type: ignore[arg-type]
            settings=more.get("set", {}), init=init, **given,
        )  # fmt: skip
        runner.perform(job, common, lambda s: stage.run(training, s), lambda s: "trained", lambda s: {})
    except Exception as error:
        sys.exit(main.explain(error))


if __name__ == "__main__":
    main()
