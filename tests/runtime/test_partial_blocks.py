"""Nodes of a block that start no worker are told of, once, when the others have been there for a while."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from psiflow_cli.runtime.executors import _partial_blocks
from psiflow_cli.site import schema


def told(monkeypatch, capsys, looks, nodes=2):
    """What is said while the blocks of the connected pools are these, one look after another."""
    resolved = SimpleNamespace(nodes=nodes, run=schema.Run(first_worker="10 s"))
    pools = iter(looks)
    executor = SimpleNamespace(
        connected_managers=lambda: [{"block_id": block} for block in next(pools)], blocks_to_job_id={"0": "71"}
    )
    monkeypatch.setattr(_partial_blocks, "_LOOK_S", 5.0)
    watch = _partial_blocks.PartialBlocks(executor, resolved, Path("out.xyz.run/parsl"))
    for _ in looks:
        watch._next_look = 0.0
        watch.look()
    return capsys.readouterr().err


def test_a_missing_node_is_told_once(monkeypatch, capsys):
    said = told(monkeypatch, capsys, [["0", "1", "1"]] * 6)
    assert said == (
        "psiflow: job 71: workers have connected from 1 of its 2 nodes within 10 s; logs: out.xyz.run/parsl\n"
    )


def test_a_late_node_one_that_leaves_first_and_a_block_of_one_node_are_not_told(monkeypatch, capsys):
    assert told(monkeypatch, capsys, [[], ["0"], ["0", "0"], *[["0"]] * 6]) == ""
    assert told(monkeypatch, capsys, [["0"]] * 6, nodes=1) == ""
