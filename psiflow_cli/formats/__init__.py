"""File formats by the names of files: what commands write, what each format can hold. Names only; nothing is read."""

from psiflow_cli.formats.kinds import (
    ARRAYS,
    BUNDLE,
    CSV,
    EXPORT,
    EXPORTED_FOLDER,
    FIGURE,
    FRAMES,
    FRAMES_IN_FILE,
    HOLDS_ALL,
    PAGE,
    RELAXED,
    SITE,
    STRUCTURES,
    STRUCTURES_IN_FILE,
    TABLE,
    Kind,
    is_file,
    is_text,
    of_ase,
)
from psiflow_cli.formats.naming import beside

__all__ = [
    "ARRAYS", "BUNDLE", "CSV", "EXPORT", "EXPORTED_FOLDER", "FIGURE", "FRAMES", "FRAMES_IN_FILE", "HOLDS_ALL",
    "PAGE", "RELAXED", "SITE", "STRUCTURES", "STRUCTURES_IN_FILE", "TABLE", "Kind", "beside", "is_file",
    "is_text", "of_ase",
]  # fmt: skip
