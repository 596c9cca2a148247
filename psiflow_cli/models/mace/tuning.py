"""Defaults of a training that starts from a model: its architecture, smaller steps, and not so many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.errors import Refusal, UsageError

if TYPE_CHECKING:
    from psiflow_cli.messages import Config, TrainingData

# What decides the shape of the model: MACE takes it from the model to start from and ignores these without a word.
ARCHITECTURE = """
    model r_max num_channels max_L hidden_irreps num_interactions correlation max_ell MLP_irreps gate radial_type
    radial_MLP num_radial_basis num_cutoff_basis interaction interaction_first distance_transform pair_repulsion
    edge_irreps apply_cutoff use_reduced_cg use_so3 use_agnostic_product use_edge_irreps_first use_embedding_readout
    use_last_readout_only avg_num_neighbors compute_avg_num_neighbors mean std scaling embedding_specs
""".split()  # noqa: SIM905
LR = 5e-3
"""To go on with a model of psiflow's own data, half the rate from scratch: measured, a tenth of it takes as long to
learn what is new as a training from nothing."""
FINE_TUNING: Config = {
    "lr": 1e-3, "ema_decay": 0.999, "clip_grad": 1.0, "weight_decay": 0.0, "energy_weight": 10.0, "forces_weight": 10.0,
}  # fmt: skip
"""For a model file, whose data are others': the advice of MACE's guide to fine-tuning (naive, or with `freeze`), after
Tompa et al., arXiv:2606.12704. A second stage with other weights of the loss would unsettle what is coherent."""
LORA: Config = {"lr": 1e-2, "ema_decay": 0.99, "clip_grad": 10.0, "weight_decay": 0.0}
"""Of the same guide, for `lora`, which starts from nothing beside weights that do not change."""
STRESS_WEIGHT = 100.0
"""With the weights of fine-tuning; see `plan` for the ratio to that of forces."""
NEEDS_MODEL = (
    "freeze", "lora", "lora_rank", "lora_alpha",
    "foundation_model_elements", "foundation_model_readout", "foundation_filter_elements",
)  # fmt: skip
"""Options that have no effect unless the training starts from a model."""
SHORTER = 4  # epochs from scratch for one from a model
PATIENCE = 20  # epochs without a lower validation loss after which the last stage ends


def fine_tuning_refusals(chosen: Config, summary: TrainingData) -> list[Refusal]:
    """Settings of fine-tuning that MACE would leave out, or would take for another model. Raises UsageError."""
    if "init" not in summary:
        if summary["e0s"] in ("init", "estimated"):
            raise UsageError(f"--e0s {summary['e0s']}: this needs a model to start from", "give it with --init")
        hint = "give --init, or leave it out"
        problem = "has no effect without a model to start from"
        return [Refusal(key, f"{key}: {problem}", hint) for key in NEEDS_MODEL if chosen.get(key)]
    if not summary["init"] and chosen.get("foundation_model_elements") and summary["e0s"] != "init":
        problem = "foundation_model_elements: elements that are not in the data would have an atomic energy of 0 eV"
        hint = "leave it out, or take all energies from the model with --e0s init"
        return [Refusal("foundation_model_elements", problem, hint)]
    return []


def contradictions(chosen: Config, old: Config) -> list[Refusal]:
    """What of the user's settings `chosen` contradicts a model with the configuration `old`, empty if unknown."""
    refusals = []
    for key in ARCHITECTURE:
        if chosen.get(key) is not None and chosen[key] != old.get(key):
            relation = f"is {old[key]!r} in" if key in old else "is decided by"
            problem = f"{key} {chosen[key]!r} is not possible: it {relation} the model to start from"
            refusals.append(Refusal(key, problem, "leave it out, or train without --init"))
    return refusals


def tuned(full: Config, chosen: Config, old: Config, as_given: bool) -> Config:
    """The configuration `full` for a model to start from that was made with the configuration `old`, empty if unknown.

    `chosen` is what the user asks for, to which nothing but the architecture is added if it is to be `as_given`.
    """
    merged = {key: value for key, value in full.items() if key not in ARCHITECTURE}
    merged |= {key: old[key] for key in ARCHITECTURE if key in old}
    if as_given:
        return merged
    defaults: Config = {"lr": LR, "patience": PATIENCE, "max_num_epochs": max(10, full["max_num_epochs"] // SHORTER)}
    epochs = chosen.get("max_num_epochs") or defaults["max_num_epochs"]
    defaults["scheduler_patience"] = max(3, epochs // 10)
    if not old:
        defaults |= FINE_TUNING | ({"stress_weight": STRESS_WEIGHT} if "stress_weight" in full else {})
    if chosen.get("lora"):
        defaults |= LORA
    two_stages = defaults["swa"] = full["swa"] if old or "swa" in chosen else "start_swa" in chosen
    if two_stages:
        defaults["start_swa"] = max(1, epochs * 3 // 4)
    if old:  # no element is forgotten that is not in the new data
        defaults |= {"default_dtype": old["default_dtype"], "foundation_model_elements": True}
    merged |= {key: value for key, value in defaults.items() if key not in chosen}
    if two_stages:
        return merged
    return {key: value for key, value in merged.items() if key in chosen or not key.startswith(("swa_", "start_swa"))}
