"""A weighted sum of potentials, as `psiflow model combine` makes it: models, references, files of the user's own.

A member is a folder with `sum.json`, which names the terms: a term is a model's weights, or a reference that computes
in the worker's own process. What the members of a committee share is computed once for all of them.
"""

from __future__ import annotations

from psiflow_cli.potentials.sum.addition import calculator, features, predict, torchsim
from psiflow_cli.potentials.sum.export import export

EXPORTS = {"ase": {"folder": ""}, "lammps": {"input": ""}}
WHOLE_COMMITTEES = ("ase",)
SUMMARY = "a sum of models and references, made by psiflow model combine"
REQUIRES = ("ase",)

__all__ = [
    "EXPORTS",
    "REQUIRES",
    "SUMMARY",
    "WHOLE_COMMITTEES",
    "calculator",
    "export",
    "features",
    "predict",
    "torchsim",
]
