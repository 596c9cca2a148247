"""Write the manual pages of the commands from the commands themselves: `python man/generate.py [FOLDER]`.

click-man makes the pages; what it omits (verbatim examples, exit status, see also) is added here.
"""

from __future__ import annotations

import copy
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from click_man.core import write_man_pages

from psiflow_cli import __version__
from psiflow_cli.main import main

DATE = "2026-11-22"  # of the last change of the pages
EXIT_STATUS = r"""
.SH EXIT STATUS
.TP
.B 0
Done; failed frames, if any, are within
.BR \-\-max\-failed .
.TP
.B 1
Finished and outputs written, but more frames failed than allowed.
.TP
.B 2
Wrong usage.
.TP
.B 65
Bad data; the message starts with the file and the line.
.TP
.B 66
An input is missing or unreadable.
.TP
.B 69
The resources were not available: no worker connected, a submission was refused, or too many blocks failed.
.TP
.B 70
A bug in psiflow.
.TP
.B 73
An output cannot be written, or would overwrite a file that psiflow did not write.
.TP
.B 74
Input or output error, such as a full disk; nothing finished is lost.
.TP
.B 75
Stopped before the end, or another run holds the output: run the same command again.
.TP
.B 78
A site file or a configuration is wrong.
.TP
.B 130
Interrupted by Ctrl\-C; otherwise like 75.
.SH SEE ALSO
.BR psiflow (1),
.BR psiflow\-site (5),
.BR psiflow\-files (7)
"""


def improve(page: str, summary: str) -> str:
    """One page with the complete summary, its own section for examples, and the common sections."""
    name = re.match(r'\.TH "(.*?)"', page)[1].replace(" ", r"\-")  # type: ignore[index]
    page = f'.TH "{name}" "1" "{DATE}" "psiflow {__version__}" "psiflow manual"' + page[page.index("\n") :]
    page = page.replace(".SH COMMANDS\n.PP\n", ".SH COMMANDS\n")
    page = re.sub(r"(\.SH NAME\n\S+ \\- ).*", lambda m: m[1] + summary.replace("-", r"\-"), page, count=1)
    page = re.sub(
        r"\.PP\n\x08\nExamples?:\n((?:  .*\n)+)",
        lambda m: ".SH EXAMPLES\n.nf\n" + re.sub(r"(?m)^  ", "", m[1]).replace("-", r"\-") + ".fi\n",
        page,
    )
    page = re.sub(  # other text to keep as it is typed
        r"\.PP\n\x08\n((?:(?!\.).*\n)+)", lambda m: ".PP\n.nf\n" + m[1].replace("-", r"\-") + ".fi\n", page
    )
    body, options, rest = page.partition(".SH OPTIONS\n")
    return body + options + rest.rstrip("\n") + EXIT_STATUS


def summaries() -> dict[str, str]:
    """The first sentence of each command's help, by the name of its page."""
    found = {"psiflow": main}
    for name, command in main.commands.items():
        if command.hidden:
            continue
        found[f"psiflow-{name}"] = command
        found.update({f"psiflow-{name}-{sub}": c for sub, c in getattr(command, "commands", {}).items()})
    return {name: " ".join((c.help or "").split("\n\n")[0].split()).rstrip(".") for name, c in found.items()}


def pages() -> dict[str, str]:
    """Every page's text by its file name."""
    listed = copy.copy(main)
    listed.commands = {name: command for name, command in main.commands.items() if not command.hidden}
    with TemporaryDirectory() as folder:
        write_man_pages("psiflow", listed, version=__version__, target_dir=folder)
        made = {path.stem: path.read_text() for path in Path(folder).glob("*.1")}
    return {f"{name}.1": improve(made[name], said) for name, said in summaries().items()}


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, text in sorted(pages().items()):
        (target / name).write_text(text)
