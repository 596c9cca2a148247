"""Former place of what `structures` holds: references that users wrote for it keep working."""

from psiflow_cli.voigt import from_matrix as voigt
from psiflow_cli.worker.structures.conversion import to_ase as atoms
from psiflow_cli.worker.structures.labels import label
from psiflow_cli.worker.structures.validity import beyond, invalid, not_a_molecule

__all__ = ["atoms", "beyond", "invalid", "label", "not_a_molecule", "voigt"]
