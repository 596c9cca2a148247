"""`train`, `evaluate`, `compare`, `model`: models, and how good they are. Nothing that moves an atom."""
