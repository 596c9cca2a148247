"""Changes of an input that a user declares, such as `FORCE_EVAL/DFT/SCF/MAX_SCF=200`."""

from __future__ import annotations

from psiflow_cli.errors import UsageError
from psiflow_cli.references.cp2k import method, template
from psiflow_cli.references.cp2k.template import Settings

_EXAMPLE = "as in FORCE_EVAL/DFT/SCF/MAX_SCF=200; without a value the keyword or section is removed"


def changed(settings: Settings, changes: dict[str, str]) -> Settings:
    """The settings with keywords set, or keywords and sections removed where the value is empty. Raises UsageError."""
    root = template.parse(settings["template"], "template")
    for path, value in changes.items():
        where, _, name = path.upper().strip("/").rpartition("/")
        if not name or where.split("/")[0] not in ("FORCE_EVAL", "GLOBAL"):
            raise UsageError(f"{path!r} is no path of a CP2K keyword", _EXAMPLE)
        if name in method.CONTROLLED.get(where, "").split():
            raise UsageError(f"{path}: is decided by the frame or by psiflow", _EXAMPLE)
        if value:
            root.ensure(where).put(name, value)
        elif not (section := root.find(where)) or not section.drop(name):
            raise UsageError(f"{path}: is not in the template, so it cannot be removed", _EXAMPLE)
    return {**settings, "template": root.render()}
