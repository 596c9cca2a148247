"""A potential in a Python file of the user's own: an ASE calculator, a model of torch-sim, or both.

The file has `calculator(device, dtype)`, which returns an ASE calculator, and/or `torchsim(device, dtype)`, which
returns a `ModelInterface` of torch-sim. Either may leave parameters out.
"""

from __future__ import annotations

from psiflow_cli.potentials.python.own_file import calculator, predict, torchsim

SUMMARY = "a Python file of your own with calculator(device, dtype) or torchsim(device, dtype)"
REQUIRES = ("ase",)
FILES = (".py",)
FUNCTIONS = ("calculator", "torchsim")
"""What a file may have."""

__all__ = ["FILES", "FUNCTIONS", "REQUIRES", "SUMMARY", "calculator", "predict", "torchsim"]
