"""PLUMED's input as actions, the text to go on with, what cannot go on, and the files that a checkpoint counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.worker.md.plumed import effective_input, memory
from psiflow_cli.worker.md.plumed.files import WalkerFiles

TEXT = """# METAD in a comment
UNITS LENGTH=A
INCLUDE FILE=cvs.dat
opes: OPES_METAD ...
  ARG=d,e  PACE=5 # every 5
  STATE_WSTRIDE=100 STATE_RFILE=of.before RESTART=YES
... OPES_METAD
METAD ARG=d LABEL=m FILE=H
CUSTOM ...
 ARG={d,
  e} FUNC={x * y} PERIODIC=NO
...
PRINT ARG=* FILE=COLVAR RESTART=NO
ENDPLUMED
nonsense
"""
FILES = {"cvs.dat": "d: DISTANCE ATOMS=1,2\ne: DISTANCE ATOMS=1,3\nENDPLUMED\nmore nonsense\n"}


def test_the_actions_of_an_input() -> None:
    actions = effective_input.actions(TEXT, FILES)
    names = [(action.name, action.label) for action in actions if action.label[0] in "demo"]
    assert names == [("DISTANCE", "d"), ("DISTANCE", "e"), ("OPES_METAD", "opes"), ("METAD", "m")]
    assert [action.name for action in actions] == [
        *("UNITS", "DISTANCE", "DISTANCE", "OPES_METAD", "METAD", "CUSTOM", "PRINT")
    ]
    assert actions[5].get("FUNC") == "x * y"
    assert actions[5].get("ARG") == "d, e"
    assert effective_input.appended_files(actions) == {"H", "COLVAR", "KERNELS"}


def test_the_text_to_start_and_to_go_on_with() -> None:
    actions = effective_input.actions(TEXT, FILES)
    first = effective_input.text_of(actions, None, {}).splitlines()
    assert first[3] == "opes: OPES_METAD ARG=d,e PACE=5 STATE_RFILE=of.before RESTART=YES STATE_WFILE=STATE.opes"
    assert first[6] == "PRINT ARG=* FILE=COLVAR RESTART=NO"
    later = effective_input.text_of(actions, {"opes": True}, {}).splitlines()
    assert later[3] == "opes: OPES_METAD ARG=d,e PACE=5 STATE_WFILE=STATE.opes STATE_RFILE=STATE.opes"
    assert later[6] == "PRINT ARG=* FILE=COLVAR"
    assert "STATE_WFILE=STATE.opes RESTART=NO" in effective_input.text_of(actions, {"opes": False}, {})
    ratchet = effective_input.actions("a: ABMD ARG=d,e TO=1,2 KAPPA=3,4", {})
    assert "MIN=0.1,0.25\n" in effective_input.text_of(ratchet, {}, {"a": [0.1, 0.25]})


LOG = """PLUMED: Action DISTANCE
PLUMED:   with label d
PLUMED: Action {name}
PLUMED:   with label m
PLUMED:   added component to this action:  m.bias
"""


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("METAD ARG=d PACE=1", ""),
        ("RESTRAINT ARG=d", ""),
        ("m: MOVINGRESTRAINT ARG=d\nPRINT ARG=d,m.bias FILE=C", ""),
        ("EXTENDED_LAGRANGIAN ARG=d", "EXTENDED_LAGRANGIAN depends on"),
        ("EDS ARG=d", "EDS depends on"),
        ("OF_A_PLUGIN ARG=d", "OF_A_PLUGIN depends on"),
        ("METAD ARG=d GRID_RFILE=g", "GRID_RFILE"),
        ("METAD ARG=d ACCELERATION", "ACCELERATION"),
        ("METAD ARG=d ADAPTIVE=DIFF", "ADAPTIVE=DIFF"),
        ("OPES_METAD ARG=d STORE_STATES", "STORE_STATES"),
        ("METAD ARG=d FILE=H.gz", "compressed"),
        ("METAD ARG=d FILE=../H", "outside"),
        ("m: MOVINGRESTRAINT ARG=d\nPRINT ARG=d,m.d_work FILE=C", "work"),
        ("m: MOVINGRESTRAINT ARG=d\nPRINT ARG=* FILE=C", "work"),
    ],
)
def test_what_cannot_go_on_is_refused(line: str, reason: str) -> None:
    """By the action that PLUMED has made, whatever its name, and by what it is asked to do."""
    actions = effective_input.actions(line, {})
    refused = memory.refused(memory.parsed(LOG.format(name=actions[0].name)), actions)
    assert reason in refused
    assert bool(reason) == bool(refused)


def test_an_action_that_is_no_bias_need_not_be_known() -> None:
    log = LOG.replace("m.bias", "m.value").format(name="OF_A_PLUGIN")
    assert memory.refused(memory.parsed(log), []) == ""
    assert "AVERAGE" in memory.refused(memory.parsed("Action AVERAGE\n"), [])


def test_files_are_cut_back_to_what_a_checkpoint_counts(tmp_path: Path) -> None:
    """What only grows is cut, what is written anew is brought back, what came later is gone; a change is told."""

    def files() -> WalkerFiles:
        return WalkerFiles(tmp_path / "plumed-00000", {"HILLS"}, {"in.dat"})

    here: Any = files()
    here.restore(None)
    folder = here.folder
    (folder / "HILLS").write_text("one\n")
    (folder / "STATE").write_text("first")
    (folder / "in.dat").write_text("an input")
    counted = here.count(7)
    assert {name: file["bytes"] for name, file in counted.items()} == {"HILLS": 4, "STATE": 5}
    (folder / "HILLS").write_text("one\ntwo\n")
    (folder / "STATE").write_text("second")
    (folder / "later").write_text("x")
    here.count(9)
    files().restore(counted)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"HILLS": "one\n", "STATE": "first"}
    assert [path.name for path in (tmp_path / "plumed-00000-copies").iterdir()] == ["7"]
    for broken in ("uno\n", ""):
        (folder / "HILLS").write_text(broken)
        with pytest.raises(RuntimeError, match="HILLS: does not match its checkpoint"):
            files().restore(counted)
