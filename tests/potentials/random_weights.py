"""Small models of random weights of families whose packages can make them."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def uma(path: Path) -> None:
    """A UMA of fairchem, with two tasks (tested with fairchem-core 2.24)."""
    import torch
    from fairchem.core.models.base import HydraModel
    from fairchem.core.units.mlip_unit.api.inference import MLIPInferenceCheckpoint

    torch.manual_seed(1)
    tasks, code = ("omat", "omol"), "fairchem.core.models.uma"
    backbone = {
        "model": f"{code}.escn_md.eSCNMDBackbone", "max_num_elements": 20, "sphere_channels": 8, "lmax": 1, "mmax": 1,
        "otf_graph": True, "cutoff": 4.0, "edge_channels": 8, "num_distance_basis": 16, "direct_forces": False,
        "regress_forces": True, "regress_stress": True, "num_layers": 1, "hidden_channels": 8, "ff_type": "spectral",
        "dataset_list": list(tasks), "always_use_pbc": False,
    }  # fmt: skip
    head = {
        "module": f"{code}.escn_moe.DatasetSpecificSingleHeadWrapper", "dataset_names": list(tasks),
        "head_cls": f"{code}.escn_md.MLP_EFS_Head", "head_kwargs": {"wrap_property": False},
    }  # fmt: skip
    parts: dict[str, Any] = {"backbone": backbone, "heads": {"efs": head}, "pass_through_head_outputs": True}
    weights = HydraModel(**parts).state_dict()
    averaged = {**{f"module.{name}": values for name, values in weights.items()}, "n_averaged": torch.tensor(1)}
    unit, scale = "fairchem.core.units.mlip_unit.mlip_unit", "fairchem.core.modules.normalization.normalizer.Normalizer"
    properties = (("energy", "system", [1]), ("forces", "atom", [3]), ("stress", "system", [1, 9]))
    outputs = [
        {
            "_target_": f"{unit}.Task", "name": f"{task}_{name}", "level": level, "property": name, "datasets": [task],
            "out_spec": {"_target_": f"{unit}.OutputSpec", "dim": shape, "dtype": "float32"},
            "normalizer": {"_target_": scale, "mean": 0.0, "rmsd": 2.0},
        }
        for task in tasks for name, level, shape in properties
    ]  # fmt: skip
    model = {"_target_": "fairchem.core.models.base.HydraModel", **parts}
    torch.save(MLIPInferenceCheckpoint(model, weights, averaged, outputs), path)


def grace(folder: Path) -> None:
    """A linear GRACE model in the form that gracemaker saves (tested with tensorpotential 0.6.2)."""
    from tensorpotential.potentials.presets import LINEAR  # before TensorFlow, whose Keras it chooses
    from tensorpotential.tpmodel import TPModel

    import tensorflow  # isort: skip

    tensorflow.random.set_seed(1)
    sizes = {"lmax": 1, "n_rad_base": 3, "n_rad_max": 4, "embedding_size": 4, "max_order": 2}
    model = TPModel(LINEAR(element_map={"Na": 0, "Cl": 1}, rcut=4.0, **sizes).get_instructions())
    model.build(tensorflow.float64)
    model.save_model(str(folder), jit_compile=False)
